"""A probability map is cut at source size as if every pixel had been looked at."""

from __future__ import annotations

import numpy as np
import pytest

from hilum.core.geometry import Letterbox, resample
from hilum.core.prediction import ProbabilityMap

RNG = np.random.default_rng(2)


def blobs(side: int, parts: int) -> np.ndarray:
    """(side, side) logits, below 0 but for some rectangles, some of them at the rim."""
    out = RNG.normal(-3, 1, (side, side))
    for _ in range(parts):
        (x, y), (w, h) = RNG.integers(0, side, 2), RNG.integers(1, side // 3 + 2, 2)
        out[y : y + h, x : x + w] = RNG.normal(2, 1, out[y : y + h, x : x + w].shape)
    return out.astype(np.float32)


@pytest.mark.parametrize("size", [(300, 200), (200, 300), (64, 64), (37, 512), (1, 9)])
@pytest.mark.parametrize("side", [1, 8, 33])
def test_the_cut_is_that_of_the_whole_map(size: tuple[int, int], side: int) -> None:
    box = Letterbox(*size, 64)
    flipped = np.array([[-1.0, 0, size[0]], [0, 1, 0], [0, 0, 1]])
    for parts in (0, 1, 1, 1, 2, 3, 9):
        plain = ProbabilityMap.of(blobs(side, parts), box)
        for one in (plain, plain.seen_through(flipped, *size)):
            whole = resample(one.logits, one.to_cells, (one.height, one.width)) >= 0
            np.testing.assert_array_equal(one.cut(), whole)
