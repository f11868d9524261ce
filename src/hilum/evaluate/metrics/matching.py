"""Which predicted box finds which true box, by the rules of the COCO reference evaluator.

Best score first, each box takes the free true box of the highest IoU >= t. Boxes outside a range
of areas are ignored rather than wrong. One class at a time; knows no metric.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hilum.core import jit
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
        *table.overlaps(),
        *(table.truth_start, table.start),
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
    overlaps, begin = table.overlaps()
    for i in np.flatnonzero(np.diff(begin)):
        left = free[table.truth_start[i] : table.truth_start[i + 1]]  # a view
        for row in overlaps[begin[i] : begin[i + 1]].reshape(-1, len(left)):
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
    iou: Float,
    begin: Int,
    truth_start: Int,
    start: Int,
    thresholds: Float,
    ignored_truth: Bool,
    outside: Bool,
) -> Int8:
    """Verdicts (areas, thresholds, p) of boxes sorted within images; for numba."""
    areas, many = len(outside), len(thresholds)
    verdict = np.zeros((areas, many, start[-1]), np.int8)
    for i in range(len(start) - 1):
        t0, p0 = truth_start[i], start[i]
        nt, np_ = truth_start[i + 1] - t0, start[i + 1] - p0
        own = iou[begin[i] : begin[i + 1]].reshape(np_, nt)
        used = np.empty(nt, np.bool_)
        for a in range(areas):
            for m in range(many):
                used[:] = False
                for j in range(np_):
                    best = -1
                    for wanted in (False, True):  # true boxes that count come first
                        limit = thresholds[m]
                        for g in range(nt):
                            if used[g] or ignored_truth[a, t0 + g] != wanted:
                                continue
                            if own[j, g] >= limit:
                                best, limit = g, own[j, g]
                        if best >= 0:
                            break
                    if best >= 0:
                        used[best] = True
                        verdict[a, m, p0 + j] = 2 if ignored_truth[a, t0 + best] else 1
                    elif outside[a, p0 + j]:
                        verdict[a, m, p0 + j] = 2
    return verdict


def _match_numpy(
    iou: Float,
    begin: Int,
    truth_start: Int,
    start: Int,
    thresholds: Float,
    ignored_truth: Bool,
    outside: Bool,
) -> Int8:
    """The same without numba."""
    shape = (len(outside), len(thresholds))
    verdict = np.repeat(np.where(outside, IGNORED, FALSE)[:, None], shape[1], 1).astype(np.int8)
    for i in np.flatnonzero(np.diff(begin)):
        own = iou[begin[i] : begin[i + 1]].reshape(start[i + 1] - start[i], -1)
        ignored = ignored_truth[:, None, truth_start[i] : truth_start[i + 1]]
        ignored = np.broadcast_to(ignored, (*shape, own.shape[1]))
        free = np.ones((*shape, own.shape[1]), np.bool_)
        for j in range(len(own)):
            reach = free & (own[j] >= thresholds[:, None])
            counts = (reach & ~ignored).any(axis=2, keepdims=True)
            value = np.where(reach & (ignored != counts), own[j], -1)
            best = value.shape[2] - 1 - value[..., ::-1].argmax(axis=2)  # of equals the last
            at = (*np.indices(shape), best)
            hit = value[at] >= 0
            free[at] &= ~hit
            row = verdict[:, :, start[i] + j]
            row[hit] = np.where(ignored[at], IGNORED, TRUE)[hit]
    return verdict
