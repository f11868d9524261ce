"""Two percentiles of many values, as NumPy's, in a fraction of its time.

A histogram tells below and above which value the order statistics lie; only the few values beyond
are sorted.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]

LAST = np.float32(1023)  # bin of the value 1
BINS = 1026  # a mean of ones may be a rounding error above 1
FEW = 4096  # below, sorting is as fast


def percentiles(values: Float32, at: tuple[float, float]) -> tuple[np.float64, np.float64]:
    """Linearly interpolated percentiles, the lower one first, of (n,) values in [0, 1], n >= 1.

    To the last bit those of `numpy.percentile`: an int8 network turns a difference in the last
    bit of its input into one of 0.01 in its scores.
    """
    if values.size < FEW:
        low, high = np.percentile(values, at)
        return np.float64(low), np.float64(high)
    # Of whole numbers OpenCV counts four times as fast.
    bins = (values * LAST).astype(np.uint16).reshape(1, -1)
    counts = cv2.calcHist([bins], [0], None, [BINS], [0, BINS])
    below = np.cumsum(counts.reshape(-1), dtype=np.float64)
    last = values.size - 1
    lower, upper = (last * (q / 100) for q in at)
    # A bin more than needed: how values at the edges of bins are counted does not matter.
    edge = int(np.searchsorted(below, lower + 2)) + 2
    low = _between(values[values <= edge / LAST], lower, 0)
    edge = int(np.searchsorted(below, upper - 2)) - 2
    most = values[values >= edge / LAST]
    return low, _between(most, upper, values.size - most.size)


def _between(values: Float32, place: float, passed: int) -> np.float64:
    """Between the order statistics around `place`, `passed` values being smaller than these."""
    first = math.floor(place)
    part = place - first
    second = min(first - passed + 1, values.size - 1)
    ordered = np.partition(values, (first - passed, second))
    a, b = ordered[first - passed], ordered[second]
    step = np.float64(b - a)
    # From the nearer end, as NumPy does.
    return np.float64(b - step * (1 - part) if part >= 0.5 else a + step * part)
