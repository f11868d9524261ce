"""Weighted boxes fusion (Solovyev, Wang, Gabruseva 2021) over the boxes of several models.

Equal to ensemble-boxes 1.0.9 to 1e-6, with three differences: coordinates may be in any unit,
reversed corners are an error, and scores above 1 (unequal weights) are cut to 1 unless overflow
is asked for. Running sums are kept in single precision as there, so that even a box exactly at
the threshold falls on the same side.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from hilum.core import jit
from hilum.core.errors import ConfigError
from hilum.core.geometry import iou_matrix
from hilum.fuse.lists import Float, Fused, Int, Pool, best_first, check_fraction, pool

FEW = 64  # boxes that are quickly compared each with each
Mode = Literal["avg", "max", "box_and_model_avg", "absent_model_aware_avg"]


def weighted_boxes(
    boxes: Sequence[ArrayLike],
    scores: Sequence[ArrayLike],
    labels: Sequence[ArrayLike],
    *,
    weights: ArrayLike | None = None,
    iou: float = 0.55,
    skip: float = 0.0,
    mode: Mode = "avg",
    allow_overflow: bool = False,
) -> Fused:
    """Fuse the boxes of several models into weighted means.

    Boxes go in from the highest weighted score; each joins the fused box of its label with the
    highest IoU if that is > `iou`, else it starts a new one. Boxes of zero area are left out.

    Args:
        boxes: for each model (n, 4) x1, y1, x2, y2, in one unit for all models.
        scores: for each model (n,) in [0, 1], on one scale: calibrate different detectors first.
        labels: for each model (n,) numbers or names.
        weights: one a model, None = equal.
        iou: a box joins when its IoU is strictly greater.
        skip: boxes with a lower score are left out.
        mode: how scores are fused (definitions.md, WBF).
        allow_overflow: do not cut scores to 1, and count every box of a model in `avg`.

    Returns:
        boxes (n, 4), scores (n,), labels (n,), highest score first.

    Raises:
        GeometryError: bad boxes, scores outside [0, 1], unequal lengths.
        ConfigError: unknown mode, bad weights or thresholds.
    """
    if mode not in get_args(Mode):
        raise ConfigError(f"unknown mode {mode!r}; known: {', '.join(get_args(Mode))}")
    check_fraction("iou", iou)
    check_fraction("skip", skip)
    everything = pool(boxes, scores, labels, weights)
    used = everything.at(everything.scores >= skip).with_area()
    if not len(used):
        return Fused(np.zeros((0, 4)), np.zeros(0), used.labels)
    parts = [_fuse(part, iou, mode, allow_overflow) for part in used.by_label()]
    fused, sums, names = (np.concatenate(column) for column in zip(*parts, strict=True))
    if allow_overflow:
        return best_first(fused, sums, names)
    return best_first(fused, np.minimum(sums, 1.0), names)


def _fuse(part: Pool, iou: float, mode: Mode, overflow: bool) -> Fused:
    """The boxes of one label."""
    part = part.at(np.argsort(part.scores * part.weights[part.models])[::-1])
    if _apart(part.boxes, iou):
        fused, owner = part.boxes, np.arange(len(part))
    else:
        cluster = jit.choose(_cluster_loop, _cluster_numpy, len(part))
        weighted = part.scores * part.weights[part.models]
        fused, owner = cluster(part.boxes, weighted, float(iou))
    scores = _scores(part, owner, mode, overflow)
    return Fused(fused, scores, np.repeat(part.labels[:1], len(fused)))


def _apart(boxes: Float, iou: float) -> bool:
    """Is it plain that no box joins another? Most lists of one image are short and suppressed."""
    if len(boxes) > FEW:
        return False
    overlaps = iou_matrix(boxes, boxes)
    np.fill_diagonal(overlaps, 0)
    return bool(overlaps.max() <= iou * (1 - 1e-9))


def _scores(part: Pool, owner: Int, mode: Mode, overflow: bool) -> Float:
    """(clusters,) fused scores of the boxes of one label.

    Args:
        owner: (n,) the fused box that each one went into.
    """
    models, weights = part.models, part.weights
    weighted, clusters = part.scores * weights[models], int(owner.max()) + 1
    count = np.bincount(owner, minlength=clusters).astype(np.float64)
    if mode == "max":
        top = np.zeros(clusters)
        np.maximum.at(top, owner, weighted)
        return _single(top, count) / float(weights.max())
    mean = _single(np.bincount(owner, weighted, clusters) / count, count)
    if mode == "avg":
        voices = count if overflow else np.minimum(len(weights), count)
        return mean * voices / float(weights.sum())
    used = _single(np.bincount(owner, weights[models], clusters).astype(np.float64), count)
    present = np.zeros((clusters, len(weights)), np.bool_)
    present[owner, models] = True
    if mode == "box_and_model_avg":
        present_weight: Float = (present * weights).sum(axis=1)
        return _ratio(mean * count, used) * present_weight / float(weights.sum())
    voices = used + (~present * weights).sum(axis=1)
    return _ratio(mean * count, voices)


def _single(values: Float, count: Float) -> Float:
    """Single precision where boxes were joined, exact where one stands alone."""
    return np.where(count > 1, values.astype(np.float32).astype(np.float64), values)


def _cluster_loop(boxes: Float, weighted: Float, iou: float) -> tuple[Float, Int]:
    """Fused boxes (k, 4) and the owner (n,) of each box; for numba.

    One coordinate a row, and a first pass without division or branches that only marks the
    candidates: this is what the compiler turns into vector instructions.
    """
    n = len(boxes)
    fused = np.empty((4, n))
    sums = np.zeros((4, n), np.float32)
    total, area = np.zeros(n), np.empty(n)
    owner, near = np.empty(n, np.int64), np.empty(n, np.bool_)
    left, top, right, bottom = fused[0], fused[1], fused[2], fused[3]
    bound = iou * (1 - 1e-9)  # the exact comparison is made on the candidates
    clusters = 0
    for j in range(n):
        x1, y1, x2, y2 = boxes[j, 0], boxes[j, 1], boxes[j, 2], boxes[j, 3]
        own = (x2 - x1) * (y2 - y1)
        candidates = 0
        for k in range(clusters):
            w = (x2 if x2 < right[k] else right[k]) - (x1 if x1 > left[k] else left[k])
            h = (y2 if y2 < bottom[k] else bottom[k]) - (y1 if y1 > top[k] else top[k])
            overlap = (w if w > 0.0 else 0.0) * (h if h > 0.0 else 0.0)
            close = (overlap > 0.0) & (overlap >= bound * (area[k] + own - overlap))
            near[k] = close
            candidates += close
        best, best_iou = -1, iou
        if candidates > 0:
            for k in range(clusters):
                if near[k]:
                    w = min(x2, right[k]) - max(x1, left[k])
                    h = min(y2, bottom[k]) - max(y1, top[k])
                    ratio = w * h / (area[k] + own - w * h)
                    if ratio > best_iou:
                        best, best_iou = k, ratio
        joined = best >= 0
        if not joined:
            best = clusters
            clusters += 1
            for c in range(4):
                fused[c, best] = boxes[j, c]
        owner[j] = best
        total[best] += weighted[j]
        for c in range(4):
            sums[c, best] = sums[c, best] + weighted[j] * boxes[j, c]
            # Boxes of score 0 carry no weight: the first one stands for them.
            if joined and total[best] > 0:
                fused[c, best] = np.float32(sums[c, best] / total[best])
        area[best] = (right[best] - left[best]) * (bottom[best] - top[best])
    return fused[:, :clusters].T.copy(), owner


def _cluster_numpy(boxes: Float, weighted: Float, iou: float) -> tuple[Float, Int]:
    """The same without numba."""
    n = len(boxes)
    fused, sums = np.empty((4, n)), np.zeros((n, 4), np.float32)
    total, area, owner = np.zeros(n), np.empty(n), np.empty(n, np.int64)
    low, high = fused[:2], fused[2:]
    clusters = 0
    for j in range(n):
        box = boxes[j]
        size = np.minimum(box[2:, None], high[:, :clusters])
        size -= np.maximum(box[:2, None], low[:, :clusters])
        near = np.flatnonzero((size > 0).all(axis=0))  # few: the rest is done on them only
        overlap = size[0, near] * size[1, near]
        own = (box[2] - box[0]) * (box[3] - box[1])
        ratios = overlap / (area[near] + own - overlap)
        place = int(np.argmax(ratios)) if len(near) else -1
        joined = place >= 0 and bool(ratios[place] > iou)
        best = int(near[place]) if joined else clusters
        if not joined:
            clusters += 1
            fused[:, best] = box
        owner[j] = best
        total[best] += weighted[j]
        sums[best] += weighted[j] * box
        if joined and total[best] > 0:
            fused[:, best] = (sums[best] / total[best]).astype(np.float32)
        x1, y1, x2, y2 = fused[:, best]
        area[best] = (x2 - x1) * (y2 - y1)
    return fused[:, :clusters].T.copy(), owner


def _ratio(part: Float, whole: Float) -> Float:
    """part / whole, 0 where there is no whole."""
    out: Float = np.divide(part, whole, out=np.zeros(len(whole)), where=whole > 0)
    return out
