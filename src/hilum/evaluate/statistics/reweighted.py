"""Metrics whose work is done once, so that a bootstrap only sums up with other counts.

Boxes are matched and scores sorted beforehand: which box finds which does not depend on the other
images. Each function returns a `Reweighted` over images; give `bootstrap` the patient of each.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hilum.core import jit
from hilum.core.errors import ConfigError
from hilum.evaluate.challenges.rsna import Match, rsna_per_image
from hilum.evaluate.metrics.boxes import Predictions, Truth, box_table
from hilum.evaluate.metrics.curves import checked
from hilum.evaluate.metrics.detection import MAX_BOXES, RECALLS, interpolated
from hilum.evaluate.metrics.matching import ALL_AREAS, TRUE, match
from hilum.evaluate.statistics.bootstrap import Reweighted

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Bool = NDArray[np.bool_]


def mean_of(values: ArrayLike) -> Reweighted:
    """The mean of one number per row, NaN rows left out."""
    raw = np.asarray(values, np.float64).reshape(-1)
    known = ~np.isnan(raw)
    filled, weight = np.where(known, raw, 0.0), known.astype(np.float64)

    def value(counts: Float) -> float:
        total = float((counts * weight).sum())
        return float((counts * filled).sum()) / total if total else float("nan")

    return Reweighted(value)


def ratio_of(part: ArrayLike, whole: ArrayLike) -> Reweighted:
    """The sum of one number per row over the sum of another, e.g. boxes found over boxes."""
    above, below = (np.asarray(v, np.float64).reshape(-1) for v in (part, whole))

    def value(counts: Float) -> float:
        total = float((counts * below).sum())
        return float((counts * above).sum()) / total if total else float("nan")

    return Reweighted(value)


def rsna_of(
    truth: Truth, predictions: Predictions, *, strict: bool = False, match: Match = "truth"
) -> Reweighted:
    """`rsna_score`."""
    return mean_of(rsna_per_image(truth, predictions, strict=strict, match=match))


def auc_of(y_true: ArrayLike, y_score: ArrayLike) -> Reweighted:
    """Area under the ROC curve."""
    truth, score = checked(y_true, y_score)
    order = np.argsort(score, kind="stable")
    positive, ordered = truth[order], score[order]
    last = np.append(np.diff(ordered) != 0, True)  # of each distinct score
    loop = jit.choose(_auc_loop, _auc_numpy, len(order))

    def value(counts: Float) -> float:
        return float(loop(positive, last, order, counts))

    return Reweighted(value)


def _auc_loop(positive: Bool, last: Bool, order: Int, counts: Float) -> float:
    """AUC of cases sorted by score, equal scores counting half; for numba."""
    area = up = down = tied_up = tied_down = 0.0
    for i in range(len(order)):
        weight = counts[order[i]]
        if positive[i]:
            tied_up += weight
        else:
            tied_down += weight
        if last[i]:
            area += tied_up * (down + 0.5 * tied_down)
            up += tied_up
            down += tied_down
            tied_up = tied_down = 0.0
    return area / (up * down) if up * down > 0 else np.nan


def _auc_numpy(positive: Bool, last: Bool, order: Int, counts: Float) -> float:
    """The same without numba."""
    weight, ends = counts[order], np.flatnonzero(last)
    up = np.diff(np.cumsum(weight * positive)[ends], prepend=0.0)
    down = np.diff(np.cumsum(weight * ~positive)[ends], prepend=0.0)
    below = np.cumsum(down) - 0.5 * down
    pairs = up.sum() * down.sum()
    # Not @: the threads of BLAS cost more than this sum on a busy machine.
    return float((up * below).sum() / pairs) if pairs else float("nan")


def ap_of(
    truth: Truth,
    predictions: Predictions,
    iou: float | Sequence[float] = 0.5,
    *,
    max_boxes: int = MAX_BOXES,
) -> Reweighted:
    """`detection_ap` at one IoU, or its mean over several."""
    limits = np.atleast_1d(np.asarray(iou, np.float64))
    if not len(limits) or not ((limits > 0) & (limits <= 1)).all():
        raise ConfigError(f"iou {iou}: needed: a number in (0, 1], or several")
    table = box_table(truth, predictions)
    matches = match(table, limits, ALL_AREAS, max_boxes)
    order = np.argsort(-matches.scores, kind="stable")
    hits, image = matches.verdict[0][:, order] == TRUE, matches.image[order]
    truths = table.truths_per_image.astype(np.float64)
    loop = jit.choose(_ap_loop, _ap_numpy, len(order))

    def value(counts: Float) -> float:
        total = float((counts * truths).sum())
        if not total:
            return float("nan")
        return float(np.mean([loop(hit, image, counts, total, RECALLS) for hit in hits]))

    return Reweighted(value)


def _ap_loop(hit: Bool, image: Int, counts: Float, total: float, recalls: Float) -> float:
    """Interpolated AP of boxes sorted by score; for numba.

    One pass forward counts, one backward keeps the best precision and reads it off at each recall.
    """
    n = len(hit)
    tp, seen = np.empty(n), np.empty(n)
    hits = every = 0.0
    for i in range(n):
        weight = counts[image[i]]
        every += weight
        if hit[i]:
            hits += weight
        tp[i], seen[i] = hits, every
    area, best, r = 0.0, 0.0, len(recalls) - 1
    for i in range(n - 1, -1, -1):
        # Recalls above the one reached at i - 1 are first reached at i or not before.
        while r >= 0 and tp[i] / total < recalls[r]:
            area += best
            r -= 1
        if seen[i] > 0 and tp[i] / seen[i] > best:
            best = tp[i] / seen[i]
    return (area + best * (r + 1)) / len(recalls)


def _ap_numpy(hit: Bool, image: Int, counts: Float, total: float, recalls: Float) -> float:
    """The same without numba."""
    weight = counts[image]
    tp, seen = np.cumsum(weight * hit), np.cumsum(weight)
    return float(interpolated(tp / total, tp / np.maximum(seen, 1)).mean())
