"""Ranked scores -> curves and areas, for 0/1 truths. Equal scores always count together.

That makes every number here independent of the order of the rows. Knows no patients and no
intervals beyond DeLong's.
"""

from __future__ import annotations

from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hilum.core.errors import ConfigError, DataError

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]


class Ranked(NamedTuple):
    """Counts at each distinct score, highest first: everything of at least that score."""

    thresholds: Float
    true_positives: Float
    false_positives: Float


def checked(y_true: ArrayLike, y_score: ArrayLike) -> tuple[Bool, Float]:
    """0/1 truths and scores in [0, 1] of equal length.

    Raises:
        DataError: unequal lengths, no rows, truths other than 0 and 1, scores outside [0, 1].
    """
    raw, score = np.asarray(y_true).reshape(-1), np.asarray(y_score, np.float64).reshape(-1)
    if len(raw) != len(score) or not len(raw):
        raise DataError(f"{len(raw)} truths came with {len(score)} scores; needed: as many, not 0")
    if not np.isin(raw, (0, 1)).all():
        raise DataError("truths must be 0 or 1; drop rows that are not annotated first")
    if not (score.min() >= 0 and score.max() <= 1):
        raise DataError("scores must lie in [0, 1] and not be NaN")
    return raw.astype(np.bool_), score


def ranked(y_true: Bool, y_score: Float) -> Ranked:
    """Counts at each distinct score; none for no scores."""
    if not len(y_score):
        return Ranked(np.zeros(0), np.zeros(0), np.zeros(0))
    order = np.argsort(-y_score, kind="stable")
    score, truth = y_score[order], y_true[order]
    last = np.flatnonzero(np.append(np.diff(score) != 0, True))
    hits = np.cumsum(truth)[last].astype(np.float64)
    return Ranked(score[last], hits, last + 1 - hits)


class RocCurve(NamedTuple):
    """From (0, 0) to (1, 1)."""

    false_positive_rate: Float
    sensitivity: Float
    thresholds: Float


class PrecisionRecallCurve(NamedTuple):
    """From the highest score down."""

    precision: Float
    recall: Float
    thresholds: Float


def roc_curve(y_true: ArrayLike, y_score: ArrayLike) -> RocCurve:
    """One point for each distinct score."""
    truth, score = checked(y_true, y_score)
    r = ranked(truth, score)
    return RocCurve(
        false_positive_rate=np.append(0.0, r.false_positives) / max(int((~truth).sum()), 1),
        sensitivity=np.append(0.0, r.true_positives) / max(int(truth.sum()), 1),
        thresholds=np.append(np.inf, r.thresholds),
    )


def precision_recall_curve(y_true: ArrayLike, y_score: ArrayLike) -> PrecisionRecallCurve:
    """One point for each distinct score."""
    truth, score = checked(y_true, y_score)
    r = ranked(truth, score)
    return PrecisionRecallCurve(
        precision=r.true_positives / (r.true_positives + r.false_positives),
        recall=r.true_positives / max(int(truth.sum()), 1),
        thresholds=r.thresholds,
    )


def average_precision(y_true: ArrayLike, y_score: ArrayLike) -> float:
    """Sum of precision × step of recall, without interpolation; NaN without positives."""
    truth, _ = checked(y_true, y_score)
    if not truth.any():
        return float("nan")
    curve = precision_recall_curve(y_true, y_score)
    return float((np.diff(curve.recall, prepend=0.0) * curve.precision).sum())


def voc_average_precision(hits: ArrayLike, scores: ArrayLike, truths: int) -> float:
    """All-point interpolated AP of detections (Pascal VOC 2010); NaN without truths.

    Args:
        hits: (n,) whether each detection found something.
        scores: (n,) of the detections.
        truths: how many there are to find.
    """
    if truths == 0:
        return float("nan")
    hit, score = np.asarray(hits, np.bool_), np.asarray(scores, np.float64)
    if not len(hit):
        return 0.0
    r = ranked(hit, score)
    precision = r.true_positives / (r.true_positives + r.false_positives)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float((np.diff(r.true_positives / truths, prepend=0.0) * envelope).sum())


class Placements(NamedTuple):
    """DeLong's structural components: how each case ranks among those of the other kind."""

    auc: float
    positives: Float  # (m,) share of negatives below each positive
    negatives: Float  # (n,) share of positives above each negative


def placements(truth: Bool, score: Float) -> Placements:
    """Of checked truths and scores with both kinds present."""
    positive, negative = np.sort(score[truth]), np.sort(score[~truth])
    v10 = _share_below(score[truth], negative)
    v01 = 1 - _share_below(score[~truth], positive)
    return Placements(float(v10.mean()), v10, v01)


def _share_below(values: Float, ordered: Float) -> Float:
    """(n,) share of `ordered` under each value, equal ones by half."""
    left = np.searchsorted(ordered, values, "left")
    right = np.searchsorted(ordered, values, "right")
    out: Float = (left + right) / (2 * len(ordered))
    return out


def auc(y_true: ArrayLike, y_score: ArrayLike) -> float:
    """Area under the ROC curve; NaN with one kind of case only."""
    truth, score = checked(y_true, y_score)
    if truth.all() or not truth.any():
        return float("nan")
    return placements(truth, score).auc


class AucInterval(NamedTuple):
    auc: float
    low: float
    high: float


def auc_interval(y_true: ArrayLike, y_score: ArrayLike, level: float = 0.95) -> AucInterval:
    """AUC and its interval (DeLong, DeLong and Clarke-Pearson 1988), cut to [0, 1].

    Rows are taken as independent; with several images of a patient use `bootstrap`.
    """
    truth, score = checked(y_true, y_score)
    if not 0 < level < 1:
        raise ConfigError(f"level {level}: needed: in (0, 1)")
    if truth.all() or not truth.any():
        return AucInterval(*(float("nan"),) * 3)
    p = placements(truth, score)
    half = NormalDist().inv_cdf((1 + level) / 2) * float(np.sqrt(_variance(p)))
    return AucInterval(auc=p.auc, low=max(p.auc - half, 0.0), high=min(p.auc + half, 1.0))


def _variance(p: Placements) -> float:
    """Of the AUC; 0 where one case of a kind says nothing of its spread."""
    parts = [v.var(ddof=1) / len(v) for v in (p.positives, p.negatives) if len(v) > 1]
    return float(sum(parts))
