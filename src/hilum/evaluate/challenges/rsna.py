"""The score of the RSNA Pneumonia Detection Challenge (2018), as its kernel computes it.

Knows boxes in memory; the challenge's files are read in `hilum.evaluate.challenges.tables`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hilum.core import jit
from hilum.core.errors import ConfigError
from hilum.evaluate.metrics.boxes import BoxTable, Predictions, Truth, box_table

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Match = Literal["truth", "prediction"]

THRESHOLDS = (0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75)


def rsna_score(
    truth: Truth,
    predictions: Predictions,
    *,
    thresholds: ArrayLike | None = None,
    strict: bool = False,
    match: Match = "truth",
) -> float:
    """Mean over counted images of the mean over thresholds of TP / (TP + FP + FN).

    Images without truth and prediction are not counted; with only one of them they count 0.

    Args:
        truth: for each image (n, 4) x1, y1, x2, y2 in file order, which matters: in this order
            each true box takes the unused prediction of the highest score with IoU >= t.
        predictions: for each image boxes (m, 4) and scores (m,) in [0, 1].
        thresholds: of IoU, None = .40, .45 … .75.
        strict: IoU > t instead of >=.
        match: "prediction" lets predictions, best first, take the unused true box of the highest
            IoU instead.

    Returns:
        The score in [0, 1]; NaN if no image is counted.

    Raises:
        DataError: a different number of images, or of boxes and scores.
        GeometryError: bad boxes or scores.
    """
    scores = rsna_per_image(truth, predictions, thresholds=thresholds, strict=strict, match=match)
    counted = scores[~np.isnan(scores)]
    return float(counted.mean()) if len(counted) else float("nan")


def rsna_image_score(
    truth: ArrayLike,
    prediction: tuple[ArrayLike, ArrayLike],
    *,
    thresholds: ArrayLike | None = None,
    strict: bool = False,
    match: Match = "truth",
) -> float | None:
    """The score of one image, None if it is not counted. Arguments as in `rsna_score`."""
    score = float(
        rsna_per_image([truth], [prediction], thresholds=thresholds, strict=strict, match=match)[0]
    )
    return None if np.isnan(score) else score


def rsna_per_image(
    truth: Truth,
    predictions: Predictions,
    *,
    thresholds: ArrayLike | None = None,
    strict: bool = False,
    match: Match = "truth",
) -> Float:
    """(n,) scores of the images, NaN where not counted. Arguments as in `rsna_score`."""
    limits = np.asarray(THRESHOLDS if thresholds is None else thresholds, np.float64).reshape(-1)
    if not len(limits) or not ((limits >= 0) & (limits <= 1)).all():
        raise ConfigError(f"thresholds {limits.tolist()}: needed: some numbers in [0, 1]")
    if match not in ("truth", "prediction"):
        raise ConfigError(f"match {match!r}: needed: truth or prediction")
    if strict:  # IoU > t is IoU >= the next number above t
        limits = np.nextafter(limits, 2)
    table = box_table(truth, predictions)
    # Best score first, then by place: the order that the challenge's kernel gives equal scores.
    order = np.lexsort((*table.boxes.T[::-1], -table.scores, table.image_of_box))
    count = jit.choose(_hits_loop, _hits_numpy, len(table.truth) + len(table.boxes))
    hits = count(
        *replace(table, boxes=table.boxes[order]).overlaps(),
        *(table.truth_start, table.start, limits, match == "truth"),
    )
    return _image_scores(hits, table)


def _image_scores(hits: Int, table: BoxTable) -> Float:
    """(n,) of true positives (n, thresholds): every other box is a false one of either kind."""
    boxes = (table.truths_per_image + table.boxes_per_image)[:, None]
    out = np.full(len(table), np.nan)
    counted = boxes[:, 0] > 0
    out[counted] = (hits[counted] / (boxes[counted] - hits[counted])).mean(axis=1)
    return out


def _hits_loop(
    iou: Float, begin: Int, truth_start: Int, start: Int, limits: Float, by_truth: bool
) -> Int:
    """True positives (n, thresholds) of boxes sorted within images; for numba."""
    images = len(start) - 1
    hits = np.zeros((images, len(limits)), np.int64)
    for i in range(images):
        nt, np_ = truth_start[i + 1] - truth_start[i], start[i + 1] - start[i]
        own = iou[begin[i] : begin[i + 1]].reshape(np_, nt)
        used_t, used_p = np.empty(nt, np.bool_), np.empty(np_, np.bool_)
        for m in range(len(limits)):
            used_t[:] = False
            used_p[:] = False
            if by_truth:
                for g in range(nt):
                    for j in range(np_):
                        if not used_p[j] and own[j, g] >= limits[m]:
                            used_p[j] = True
                            hits[i, m] += 1
                            break
            else:
                for j in range(np_):
                    best = -1
                    for g in range(nt):
                        free = not used_t[g] and own[j, g] >= limits[m]
                        if free and (best < 0 or own[j, g] > own[j, best]):
                            best = g
                    if best >= 0:
                        used_t[best] = True
                        hits[i, m] += 1
    return hits


def _hits_numpy(
    iou: Float, begin: Int, truth_start: Int, start: Int, limits: Float, by_truth: bool
) -> Int:
    """The same without numba."""
    hits = np.zeros((len(start) - 1, len(limits)), np.int64)
    for i in np.flatnonzero(np.diff(begin)):
        own = iou[begin[i] : begin[i + 1]].reshape(start[i + 1] - start[i], -1).T
        reach = own[None] >= limits[:, None, None]  # (thresholds, truths, boxes)
        hits[i] = _take_by_truth(reach) if by_truth else _take_by_prediction(reach, own)
    return hits


def _take_by_truth(reach: NDArray[np.bool_]) -> Int:
    rows = np.arange(len(reach))
    free = np.ones((len(reach), reach.shape[2]), np.bool_)
    hits = np.zeros(len(reach), np.int64)
    for g in range(reach.shape[1]):
        wanted = reach[:, g] & free
        first = wanted.argmax(axis=1)
        taken = wanted[rows, first]
        free[rows[taken], first[taken]] = False
        hits += taken
    return hits


def _take_by_prediction(reach: NDArray[np.bool_], iou: Float) -> Int:
    rows = np.arange(len(reach))
    free = np.ones(reach.shape[:2], np.bool_)
    hits = np.zeros(len(reach), np.int64)
    for j in range(reach.shape[2]):
        wanted = np.where(reach[:, :, j] & free, iou[:, j], -1)
        best = wanted.argmax(axis=1)
        taken = wanted[rows, best] >= 0
        free[rows[taken], best[taken]] = False
        hits += taken
    return hits
