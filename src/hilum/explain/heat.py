"""A map over one image: how much each place speaks for a score. Knows no network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from hilum.core.geometry import Letterbox

Float32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Heat:
    """`grid` (g, g) covers the network's square; what speaks for the score is above 0."""

    score_name: str
    score: float
    method: str
    grid: Float32
    frame: Letterbox  # of the image in the square

    @property
    def flat(self) -> bool:
        """Nothing speaks for the score."""
        return not float(self.grid.max(initial=0.0)) > 0

    def shown(self) -> Float32:
        """(h, w) in [0, 1] of the image alone, about as fine as the grid: 1 is the strongest."""
        square = cv2.resize(self.grid, (self.frame.size,) * 2, interpolation=cv2.INTER_CUBIC)
        x, y, width, height = self.frame.inner
        own = np.maximum(square[y : y + height, x : x + width], 0)
        top = float(own.max(initial=0.0))
        return np.asarray(own / top if top > 0 else own, np.float32)

    def hottest(self) -> tuple[float, float]:
        """x, y of the strongest place in source pixels; the middle of a flat map."""
        own = self.shown()
        if self.flat:
            return self.frame.width / 2, self.frame.height / 2
        y, x = np.unravel_index(int(np.argmax(own)), own.shape)
        height, width = own.shape
        return (
            (float(x) + 0.5) * self.frame.width / width,
            (float(y) + 0.5) * self.frame.height / height,
        )


def mean_heat(heats: Sequence[Heat]) -> Heat:
    """Of several networks that were asked for one score of one image: the mean score and map."""
    return replace(
        heats[0],
        score=float(np.mean([heat.score for heat in heats])),
        grid=np.mean([heat.grid for heat in heats], axis=0, dtype=np.float32),
    )
