"""True and predicted boxes of many images as flat, checked arrays. Knows no metric.

Every box metric starts here, so that all of them refuse the same things.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hilum.core import jit
from hilum.core.errors import DataError, GeometryError
from hilum.core.geometry import check_boxes, iou_matrix

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Truth = Sequence[ArrayLike]
Predictions = Sequence[tuple[ArrayLike, ArrayLike]]


@dataclass(frozen=True, slots=True, eq=False)
class BoxTable:
    """Boxes of n images: image i owns rows start[i] to start[i + 1]."""

    truth: Float  # (t, 4) x1, y1, x2, y2
    truth_start: Int  # (n + 1,)
    boxes: Float  # (p, 4)
    scores: Float  # (p,) in [0, 1]
    start: Int  # (n + 1,)

    def __len__(self) -> int:
        return len(self.start) - 1

    @property
    def truths_per_image(self) -> Int:
        return np.diff(self.truth_start)

    @property
    def boxes_per_image(self) -> Int:
        return np.diff(self.start)

    @property
    def image_of_box(self) -> Int:
        """(p,) image of each predicted box."""
        return np.repeat(np.arange(len(self)), self.boxes_per_image)

    def top_scores(self) -> Float:
        """(n,) highest box score of each image, 0 without boxes."""
        top = np.zeros(len(self))
        np.maximum.at(top, self.image_of_box, self.scores)
        return top

    def best_first(self) -> BoxTable:
        """Predictions of each image sorted by score; equal scores keep their order."""
        order = np.lexsort((-self.scores, self.image_of_box))
        return BoxTable(
            truth=self.truth,
            truth_start=self.truth_start,
            boxes=self.boxes[order],
            scores=self.scores[order],
            start=self.start,
        )

    def overlaps(self) -> tuple[Float, Int]:
        """IoU of each predicted box with each true box of its image, flat: image i owns the
        (boxes, truths) block that begins at the second value's i."""
        begin = np.concatenate([[0], np.cumsum(self.boxes_per_image * self.truths_per_image)])
        fill = jit.choose(_overlaps_loop, _overlaps_numpy, len(self.truth) + len(self.boxes))
        return fill(self.truth, self.truth_start, self.boxes, self.start, begin), begin


def _overlaps_loop(truth: Float, truth_start: Int, boxes: Float, start: Int, begin: Int) -> Float:
    """For numba."""
    out = np.empty(begin[-1])
    for i in range(len(start) - 1):
        at = begin[i]
        for j in range(start[i], start[i + 1]):
            x1, y1, x2, y2 = boxes[j]
            area = (x2 - x1) * (y2 - y1)
            for g in range(truth_start[i], truth_start[i + 1]):
                b = truth[g]
                w, h = min(x2, b[2]) - max(x1, b[0]), min(y2, b[3]) - max(y1, b[1])
                overlap = max(w, 0.0) * max(h, 0.0)
                union = area + (b[2] - b[0]) * (b[3] - b[1]) - overlap
                out[at] = overlap / union if union > 0 else 0.0
                at += 1
    return out


def _overlaps_numpy(truth: Float, truth_start: Int, boxes: Float, start: Int, begin: Int) -> Float:
    """The same without numba."""
    out = np.empty(begin[-1])
    for i in np.flatnonzero(np.diff(begin)):
        own = boxes[start[i] : start[i + 1]], truth[truth_start[i] : truth_start[i + 1]]
        out[begin[i] : begin[i + 1]] = iou_matrix(*own).reshape(-1)
    return out


def box_table(truth: Truth, predictions: Predictions) -> BoxTable:
    """Check and flatten boxes.

    Args:
        truth: for each image (n, 4) x1, y1, x2, y2.
        predictions: for each image boxes (m, 4) and scores (m,) in [0, 1].

    Raises:
        DataError: a different number of images, or of boxes and scores.
        GeometryError: bad boxes, scores outside [0, 1] or NaN.
    """
    if len(truth) != len(predictions):
        raise DataError(
            f"truth has {len(truth)} images, predictions have {len(predictions)}; needed: the "
            "same images in the same order"
        )
    try:
        boxes_of, scores_of = zip(*predictions, strict=True) if len(predictions) else ((), ())
    except (TypeError, ValueError):
        raise DataError("each prediction must be a pair (boxes (m, 4), scores (m,))") from None
    true_boxes, true_start = _joined(truth, "truth")
    boxes, start = _joined(boxes_of, "predictions")
    scores, score_start = _joined(scores_of, "scores", columns=0)
    unequal = np.flatnonzero(start != score_start)
    if len(unequal):
        raise DataError(
            f"image {unequal[0] - 1} has unequal numbers of boxes and scores; needed: one score "
            "a box"
        )
    if len(scores) and not (scores.min() >= 0 and scores.max() <= 1):
        raise GeometryError("scores must lie in [0, 1] and not be NaN; calibrate raw scores first")
    return BoxTable(
        truth=true_boxes, truth_start=true_start, boxes=boxes, scores=scores, start=start
    )


def _joined(parts: Sequence[Any], name: str, columns: int = 4) -> tuple[Float, Int]:
    """All rows of all images, and where each image starts."""
    try:
        sizes = np.fromiter(map(len, parts), np.int64, len(parts))
    except TypeError:
        raise DataError(f"{name}: needed: an array for each image, empty if it has none") from None
    start = np.concatenate([[0], np.cumsum(sizes)])
    if not start[-1]:
        return np.zeros((0, columns) if columns else 0), start
    try:
        rows = _rows(parts, sizes).astype(np.float64, copy=False)
    except (ValueError, TypeError) as error:
        raise GeometryError(f"{name}: {error}; needed: numbers of one shape an image") from None
    if columns:
        return check_boxes(rows).astype(np.float64, copy=False), start
    if rows.ndim != 1:
        raise GeometryError(f"{name} have shape {rows.shape[1:]} an entry; needed: one number")
    return rows, start


def _rows(parts: Sequence[Any], sizes: Int) -> NDArray[Any]:
    """All entries in one array, whatever the shape of empty ones."""
    try:
        return np.concatenate(parts)
    except ValueError:
        return np.concatenate([parts[i] for i in np.flatnonzero(sizes).tolist()])
