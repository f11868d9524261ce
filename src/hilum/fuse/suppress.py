"""Greedy suppression of overlapping boxes of one list, in NumPy.

Knows nothing of several models (see `hilum.fuse.classic`), of numba, torch or files, so that
prediction in the base install can use it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hilum.core.errors import GeometryError
from hilum.core.geometry import check_boxes

Int = NDArray[np.int64]


def keep_best(
    boxes: ArrayLike,
    scores: ArrayLike,
    labels: ArrayLike | None = None,
    *,
    iou: float = 0.5,
    inclusive: bool = False,
) -> Int:
    """Indices that greedy non-maximum suppression keeps, highest score first.

    A box is dropped when its IoU with a kept box of the same label is > `iou` (>= `iou` if
    `inclusive`, the rule of the RSNA 2nd place). Of equal scores the lower index goes first.

    Args:
        boxes: (n, 4) x1, y1, x2, y2 in any unit.
        scores: (n,) any finite scores.
        labels: (n,) numbers or names; None = one label.
        iou: threshold in [0, 1].

    Raises:
        GeometryError: bad boxes, NaN scores or unequal lengths.
    """
    b = check_boxes(boxes).astype(np.float64)
    s = np.asarray(scores, np.float64).reshape(-1)
    codes = _codes(labels, len(b))
    if len(s) != len(b) or len(codes) != len(b):
        raise GeometryError(f"{len(b)} boxes came with {len(s)} scores and {len(codes)} labels")
    if np.isnan(s).any():
        raise GeometryError("scores hold NaN")
    order = np.argsort(-s, kind="stable")
    area = (b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1])
    kept: list[int] = []
    while len(order):
        best, rest = order[0], order[1:]
        kept.append(int(best))
        overlap = _iou_with(b[best], b[rest], area[best], area[rest])
        hit = overlap >= iou if inclusive else overlap > iou
        order = rest[~(hit & (codes[rest] == codes[best]))]
    return np.asarray(kept, np.int64)


def _codes(labels: ArrayLike | None, n: int) -> Int:
    if labels is None:
        return np.zeros(n, np.int64)
    values = np.asarray(labels).reshape(-1)
    codes: Int = np.unique(values, return_inverse=True)[1].reshape(-1).astype(np.int64)
    return codes


def _iou_with(
    box: NDArray[np.float64],
    others: NDArray[np.float64],
    area: np.float64,
    areas: NDArray[np.float64],
) -> NDArray[np.float64]:
    """(n,) IoU of one box with others; 0 where both are empty."""
    w = np.minimum(box[2], others[:, 2]) - np.maximum(box[0], others[:, 0])
    h = np.minimum(box[3], others[:, 3]) - np.maximum(box[1], others[:, 1])
    overlap = np.clip(w, 0, None) * np.clip(h, 0, None)
    union = area + areas - overlap
    out: NDArray[np.float64] = np.divide(
        overlap, union, out=np.zeros_like(overlap), where=union > 0
    )
    return out
