"""What pixels alone tell of an image's past: few grey levels, magnification, wide borders.

Knows no file and no header. Limits lie apart from what 820 radiographs of 13 public sets have,
which stands beside them.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]

SMALLEST = 100  # px; smaller images tell nothing
SIDE = 256  # of the middle that is looked at closely
TOP = 65535
STEPS = 256  # pixels of a side that are looked at roughly
LEVELS = 72  # distinct ones; real: 91 and more
SPREAD = 24.0  # perplexity of 256 stretched grey levels but for the most frequent; real: 50 up
FINE = 0.012  # of the contrast that a fourth of the size does not hold; real: .019 and more
EQUAL = 0.45  # of rows and columns that equal the next; real: up to .1
STEP = 3 / 255  # of grey, from which on a row is not uniform
CONTENT = 0.33  # of the image that is no uniform border; real: .336 and more


def look_warnings(grey: Float32) -> tuple[str, ...]:
    """For `Decoding.warnings`; `grey` is (H, W) in [0, 1]."""
    height, width = grey.shape
    if min(height, width) < SMALLEST:
        return ()
    step = max(1, max(height, width) // STEPS)
    rough = np.ascontiguousarray(grey[::step, ::step])
    top, left = max(0, (height - SIDE) // 2), max(0, (width - SIDE) // 2)
    middle = np.ascontiguousarray(grey[top : top + SIDE, left : left + SIDE])
    oddities = (_levels(rough), _border(rough), _magnified(middle))
    return tuple(words for words in oddities if words)


def _levels(rough: Float32) -> str:
    """Few greys: posterised, or a colour map's. Blank images are another matter."""
    counts = np.bincount((rough * TOP + 0.5).astype(np.uint16).ravel())
    levels = np.count_nonzero(counts)
    low, high = np.searchsorted(np.cumsum(counts), np.array([0.005, 0.995]) * rough.size)
    stretched = ((rough - low / TOP) * (255 * TOP / max(high - low, 1))).clip(0, 255)
    eight = np.bincount(stretched.astype(np.uint8).ravel())
    eight[eight.argmax()] = 0
    share = eight[eight > 0] / max(eight.sum(), 1)
    spread = float(np.exp(-(share * np.log(share)).sum()))
    if levels < 2 or (levels >= LEVELS and spread >= SPREAD):
        return ""
    return (
        f"it has {levels} grey levels, most of it {max(spread, 1):.0f}: was it posterised, or "
        "saved with few colours?"
    )


def _border(rough: Float32) -> str:
    """Pages, screens and contact sheets have wide uniform margins."""
    rows = np.flatnonzero(np.ptp(rough, axis=1) > STEP)
    columns = np.flatnonzero(np.ptp(rough, axis=0) > STEP)
    if not len(rows) or not len(columns):
        return ""
    share = (rows[-1] - rows[0] + 1) * (columns[-1] - columns[0] + 1) / rough.size
    return f"all but {share:.0%} of it is a uniform border" if share < CONTENT else ""


def _magnified(middle: Float32) -> str:
    """Whether a smaller image holds all that this one shows."""
    height, width = middle.shape
    contrast = float(middle.std())
    if min(height, width) < SIDE or contrast < 0.01:
        return ""
    small = cv2.resize(middle, (width // 4, height // 4), interpolation=cv2.INTER_AREA)
    again = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    fine = float((middle - again).std()) / contrast
    rows = (middle[1:] == middle[:-1]).all(axis=1)
    columns = (middle[:, 1:] == middle[:, :-1]).all(axis=0)  # larger by repetition
    if fine >= FINE and min(rows.mean(), columns.mean()) <= EQUAL:
        return ""
    return "it shows no detail of its size: was it magnified from a small image?"
