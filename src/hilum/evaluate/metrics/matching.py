"""Which predicted box finds which true box, by the rules of the COCO reference evaluator.

Best score first, each box takes the free true box of the highest IoU >= t. Boxes outside a range
of areas are ignored rather than wrong. One class at a time; knows no metric.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hilum.core import jit
from hilum.core.geometry import iou_matrix
from hilum.evaluate.metrics.boxes import BoxTable

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Int8 = NDArray[np.int8]
Bool = NDArray[np.bool_]

FALSE, TRUE, IGNORED = 0, 1, 2  # what a predicted box turns out to be
ALL_AREAS = np.array([[0.0, np.inf]])


@dataclass(frozen=True, slots=True, eq=False)
class Matches:
    """The verdict on every predicted box, for each range of areas and each IoU."""

    verdict: Int8  # (areas, thresholds, p) FALSE, TRUE or IGNORED
    scores: Float  # (p,)
    image: Int  # (p,) of each box
    rank: Int  # (p,) place of the box among those of its image, 0 = best
    truths: Int  # (areas, images) true boxes that count


def match(
    table: BoxTable, thresholds: Float, areas: Float = ALL_AREAS, max_boxes: int | None = None
) -> Matches:
    """Match all images.

    Args:
        thresholds: (t,) of IoU.
        areas: (a, 2) lowest and highest area in px², both included.
        max_boxes: of an image only so many boxes, the best, take part.
    """
    table = table.best_first()
    image = table.image_of_box
    rank = np.arange(len(image)) - table.start[image]
    if max_boxes is not None and len(rank) and rank.max() >= max_boxes:
        keep = rank < max_boxes
        image, rank = image[keep], rank[keep]
        sizes = np.minimum(table.boxes_per_image, max_boxes)
        table = BoxTable(
            truth=table.truth,
            truth_start=table.truth_start,
            boxes=table.boxes[keep],
            scores=table.scores[keep],
            start=np.concatenate([[0], np.cumsum(sizes)]),
        )
    ignored_truth, outside = _outside(table.truth, areas), _outside(table.boxes, areas)
    loop = jit.choose(_match_loop, _match_numpy, len(table.truth) + len(table.boxes))
    verdict = loop(
        *(table.truth, table.truth_start, table.boxes, table.start),
        *(np.minimum(thresholds, 1 - 1e-10), ignored_truth, outside),
    )
    before = np.concatenate([np.zeros((len(areas), 1), np.int64), (~ignored_truth).cumsum(1)], 1)
    truths = before[:, table.truth_start[1:]] - before[:, table.truth_start[:-1]]
    return Matches(verdict=verdict, scores=table.scores, image=image, rank=rank, truths=truths)


def found_truths(table: BoxTable, iou: float) -> Bool:
    """(t,) whether each true box was found, by the same rules and all areas."""
    table = table.best_first()
    free = np.ones(len(table.truth), np.bool_)
    limit = min(iou, 1 - 1e-10)
    for i in np.flatnonzero((table.truths_per_image > 0) & (table.boxes_per_image > 0)):
        true_rows = slice(table.truth_start[i], table.truth_start[i + 1])
        left = free[true_rows]  # a view
        for row in iou_matrix(
            table.boxes[table.start[i] : table.start[i + 1]], table.truth[true_rows]
        ):
            value = np.where(left, row, -1.0)
            best = len(value) - 1 - int(value[::-1].argmax())  # of equals the last
            if value[best] >= limit:
                left[best] = False
    return ~free


def _outside(boxes: Float, areas: Float) -> Bool:
    """(areas, n) whether each box lies outside each range."""
    size = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return np.asarray((size < areas[:, :1]) | (size > areas[:, 1:]), np.bool_)


def _match_loop(
    truth: Float,
    truth_start: Int,
    boxes: Float,
    start: Int,
    thresholds: Float,
    ignored_truth: Bool,
    outside: Bool,
) -> Int8:
    """Verdicts (areas, thresholds, p) of boxes sorted within images; for numba."""
    areas, many = len(outside), len(thresholds)
    verdict = np.zeros((areas, many, len(boxes)), np.int8)
    most_t = most_p = 0
    for i in range(len(start) - 1):
        most_t = max(most_t, truth_start[i + 1] - truth_start[i])
        most_p = max(most_p, start[i + 1] - start[i])
    iou = np.empty((most_p, most_t))
    used = np.empty(most_t, np.bool_)
    for i in range(len(start) - 1):
        t0, p0 = truth_start[i], start[i]
        nt, np_ = truth_start[i + 1] - t0, start[i + 1] - p0
        for j in range(np_):
            x1, y1, x2, y2 = boxes[p0 + j]
            area = (x2 - x1) * (y2 - y1)
            for g in range(nt):
                b = truth[t0 + g]
                w, h = min(x2, b[2]) - max(x1, b[0]), min(y2, b[3]) - max(y1, b[1])
                overlap = max(w, 0.0) * max(h, 0.0)
                union = area + (b[2] - b[0]) * (b[3] - b[1]) - overlap
                iou[j, g] = overlap / union if union > 0 else 0.0
        for a in range(areas):
            for m in range(many):
                used[:nt] = False
                for j in range(np_):
                    best = -1
                    for wanted in (False, True):  # true boxes that count come first
                        limit = thresholds[m]
                        for g in range(nt):
                            if used[g] or ignored_truth[a, t0 + g] != wanted:
                                continue
                            if iou[j, g] >= limit:
                                best, limit = g, iou[j, g]
                        if best >= 0:
                            break
                    if best >= 0:
                        used[best] = True
                        verdict[a, m, p0 + j] = 2 if ignored_truth[a, t0 + best] else 1
                    elif outside[a, p0 + j]:
                        verdict[a, m, p0 + j] = 2
    return verdict


def _match_numpy(
    truth: Float,
    truth_start: Int,
    boxes: Float,
    start: Int,
    thresholds: Float,
    ignored_truth: Bool,
    outside: Bool,
) -> Int8:
    """The same without numba."""
    shape = (len(outside), len(thresholds))
    verdict = np.repeat(np.where(outside, IGNORED, FALSE)[:, None], shape[1], 1).astype(np.int8)
    both = (np.diff(truth_start) > 0) & (np.diff(start) > 0)
    for i in np.flatnonzero(both):
        rows, true_rows = (slice(s[i], s[i + 1]) for s in (start, truth_start))
        iou = iou_matrix(boxes[rows], truth[true_rows])
        ignored = np.broadcast_to(ignored_truth[:, None, true_rows], (*shape, iou.shape[1]))
        free = np.ones((*shape, iou.shape[1]), np.bool_)
        for j in range(len(iou)):
            reach = free & (iou[j] >= thresholds[:, None])
            counts = (reach & ~ignored).any(axis=2, keepdims=True)
            value = np.where(reach & (ignored != counts), iou[j], -1)
            best = value.shape[2] - 1 - value[..., ::-1].argmax(axis=2)  # of equals the last
            at = (*np.indices(shape), best)
            hit = value[at] >= 0
            free[at] &= ~hit
            row = verdict[:, :, start[i] + j]
            row[hit] = np.where(ignored[at], IGNORED, TRUE)[hit]
    return verdict
