"""A probability map is cut at source size as if every pixel had been looked at."""

from __future__ import annotations

import numpy as np
import pytest

from hilum.core.geometry import Letterbox
from hilum.core.prediction import ProbabilityMap

RNG = np.random.default_rng(2)


def blobs(side: int, parts: int) -> np.ndarray:
    """(side, side) logits, below 0 but for some rectangles, some of them at the rim."""
    out = RNG.normal(-3, 1, (side, side))
    for _ in range(parts):
        (x, y), (w, h) = RNG.integers(0, side, 2), RNG.integers(1, side // 3 + 2, 2)
        out[y : y + h, x : x + w] = RNG.normal(2, 1, out[y : y + h, x : x + w].shape)
    return out.astype(np.float32)


def read_linearly(one: ProbabilityMap) -> np.ndarray:
    """(H, W) logits at the centres of pixels, in double precision, beyond the rim its values."""
    column = np.array([one.to_cells @ (x + 0.5, 0.5, 1) for x in range(one.width)])[:, 0] - 0.5
    row = np.array([one.to_cells @ (0.5, y + 0.5, 1) for y in range(one.height)])[:, 1] - 0.5
    places = np.arange(len(one.logits))
    across = np.array([np.interp(column, places, cells) for cells in one.logits])
    return np.array([np.interp(row, places, cells) for cells in across.T]).T


@pytest.mark.parametrize("size", [(300, 200), (200, 300), (64, 64), (37, 512), (1, 9)])
@pytest.mark.parametrize("side", [1, 8, 33])
def test_the_cut_is_that_of_the_whole_map(size: tuple[int, int], side: int) -> None:
    box = Letterbox(*size, 64)
    flipped = np.array([[-1.0, 0, size[0]], [0, 1, 0], [0, 0, 1]])
    for parts in (0, 1, 1, 1, 2, 3, 9):
        plain = ProbabilityMap.of(blobs(side, parts), box)
        for one in (plain, plain.seen_through(flipped, *size)):
            whole = read_linearly(one)
            sure = np.abs(whole) > 1e-4  # beyond what single precision may turn over
            assert sure.mean() > 0.99
            np.testing.assert_array_equal(one.cut()[sure], (whole >= 0)[sure])
