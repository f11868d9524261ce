"""Greedy suppression of overlapping boxes of one list, votes, and boxes inside boxes, in NumPy.

Knows nothing of several models (see `hilum.fuse.classic`), of numba, torch or files, so that
prediction in the base install can use it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hilum.core.errors import GeometryError
from hilum.core.geometry import check_boxes, inside_matrix

Int = NDArray[np.int64]
Float = NDArray[np.float64]
Bool = NDArray[np.bool_]

NESTED = 0.8
TINY = np.finfo(np.float64).tiny


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
    rounds = _rounds(boxes, scores, labels, iou=iou, inclusive=inclusive)
    return np.asarray([rows[0] for rows, _ in rounds], np.int64)


def keep_voted(
    boxes: ArrayLike,
    scores: ArrayLike,
    labels: ArrayLike | None = None,
    *,
    iou: float = 0.5,
    vote: float,
) -> tuple[Int, Float]:
    """What `keep_best` keeps, and where those that it stands for see it (box voting).

    A kept box becomes the mean, weighted by score, of itself and of the lower boxes of its label
    whose IoU with it is > `vote`, dropped ones or not: one anchor's edges are noisier than those of
    all anchors around an opacity. Scores stay. (Gidaris and Komodakis, ICCV 2015, section 3.)

    Returns:
        (k,) indices, highest score first, and (k, 4) boxes.

    Raises:
        GeometryError: as `keep_best`.
    """
    b, s = check_boxes(boxes).astype(np.float64), np.asarray(scores, np.float64).reshape(-1)
    kept, voted = [], []
    for rows, overlap in _rounds(b, s, labels, iou=iou, inclusive=False):
        voters = np.append(rows[:1], rows[1:][overlap > vote])
        weight = np.maximum(s[voters], TINY)
        kept.append(rows[0])
        voted.append(weight @ b[voters] / weight.sum())
    return np.asarray(kept, np.int64), np.asarray(voted, np.float64).reshape(-1, 4)


def nested(
    boxes: ArrayLike,
    scores: ArrayLike,
    labels: ArrayLike | None = None,
    *,
    part: float = NESTED,
) -> Bool:
    """Which boxes lie, with at least `part` of their area, in a stronger box of their label.

    A lobe inside a boxed lung overlaps it too little for suppression, and marks the same opacity
    twice.

    Args:
        boxes, scores, labels: as of `keep_best`.
        part: of a box's area, in (0, 1].

    Raises:
        GeometryError: as `keep_best`.
    """
    b, s, codes = _checked(boxes, scores, labels)
    rank = np.empty(len(s), np.int64)
    rank[np.argsort(-s, kind="stable")] = np.arange(len(s))
    stronger = (rank[:, None] > rank) & (codes[:, None] == codes)
    out: Bool = (stronger & (inside_matrix(b, b) >= part)).any(axis=1)
    return out


def _rounds(
    boxes: ArrayLike, scores: ArrayLike, labels: ArrayLike | None, *, iou: float, inclusive: bool
) -> Iterator[tuple[Int, Float]]:
    """Of each kept box: its index, those of all lower boxes, and the (n,) IoU of these with it, 0
    where the label is another."""
    b, s, codes = _checked(boxes, scores, labels)
    order = np.argsort(-s, kind="stable")
    low, high = b[order, :2].T.copy(), b[order, 2:].T.copy()  # (2, n), best first
    area, codes = (high[0] - low[0]) * (high[1] - low[1]), codes[order]
    several = codes.size > 0 and bool((codes != codes[0]).any())
    alive, at = np.ones(len(order), np.bool_), 0
    while at < len(order):
        overlap = _iou_with_first(low[:, at:], high[:, at:], area[at:])
        hit = overlap >= iou if inclusive else overlap > iou
        if several:
            same = codes[at + 1 :] == codes[at]
            hit &= same
            overlap *= same
        yield order[at:], overlap
        after = alive[at + 1 :]
        after &= ~hit
        ahead = int(after.argmax()) if len(after) else 0
        at = at + 1 + ahead if len(after) and after[ahead] else len(order)


class _Checked(NamedTuple):
    boxes: Float  # (n, 4)
    scores: Float  # (n,)
    codes: Int  # (n,) a number for each label


def _checked(boxes: ArrayLike, scores: ArrayLike, labels: ArrayLike | None) -> _Checked:
    b = check_boxes(boxes).astype(np.float64)
    s = np.asarray(scores, np.float64).reshape(-1)
    codes = _codes(labels, len(b))
    if len(s) != len(b) or len(codes) != len(b):
        raise GeometryError(f"{len(b)} boxes came with {len(s)} scores and {len(codes)} labels")
    if np.isnan(s).any():
        raise GeometryError("scores hold NaN")
    return _Checked(b, s, codes)


def _codes(labels: ArrayLike | None, n: int) -> Int:
    if labels is None:
        return np.zeros(n, np.int64)
    values = np.asarray(labels).reshape(-1)
    codes: Int = np.unique(values, return_inverse=True)[1].reshape(-1).astype(np.int64)
    return codes


def _iou_with_first(low: Float, high: Float, area: Float) -> Float:
    """(n - 1,) IoU of the first of (2, n) boxes with the others; 0 where both are empty."""
    size = np.minimum(high[:, :1], high[:, 1:]) - np.maximum(low[:, :1], low[:, 1:])
    np.maximum(size, 0, out=size)
    overlap: Float = size[0] * size[1]
    union = area[0] + area[1:] - overlap
    # Of nothing divided by nothing nothing is to come.
    overlap /= np.maximum(union, TINY, out=union)
    return overlap
