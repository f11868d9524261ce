"""Numbers of an image- or study-level classifier at a threshold, and over all thresholds.

The threshold is fixed beforehand (`hilum.evaluate.thresholds.operating_points` chooses it on
validation data): none of these functions picks one from the data it evaluates.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hilum.core.errors import ConfigError, DataError
from hilum.evaluate.metrics.curves import auc_interval, average_precision, checked

Float = NDArray[np.float64]
Int = NDArray[np.int64]


def classification(
    y_true: ArrayLike,
    y_score: ArrayLike,
    *,
    threshold: float = 0.5,
    level: float = 0.95,
    bins: int = 10,
) -> dict[str, float]:
    """All numbers of a binary classifier.

    Args:
        y_true: (n,) 0 or 1.
        y_score: (n,) probabilities in [0, 1].
        threshold: called positive from this score on; fixed before looking at this data.
        level: of the DeLong interval.
        bins: equal-width bins of the expected calibration error.

    Returns:
        n, positives, prevalence; auc, auc_low, auc_high (DeLong), average_precision; brier, ece,
        log_loss; at the threshold: tp, fp, fn, tn, sensitivity, specificity, precision, npv,
        accuracy, f1, f2, mcc. NaN where a number has no meaning.

    Raises:
        DataError: unequal lengths, truths other than 0 and 1, scores outside [0, 1] or NaN.
    """
    truth, score = checked(y_true, y_score)
    if not 0 <= threshold <= 1:
        raise ConfigError(f"threshold {threshold}: needed: a number in [0, 1]")
    area, low, high = auc_interval(truth, score, level)
    sure = np.clip(score, 1e-15, 1 - 1e-15)
    return {
        "n": float(len(truth)),
        "positives": float(truth.sum()),
        "prevalence": float(truth.mean()),
        "auc": area,
        "auc_low": low,
        "auc_high": high,
        "average_precision": average_precision(truth, score),
        "brier": float(((score - truth) ** 2).mean()),
        "ece": expected_calibration_error(truth, score, bins),
        "log_loss": float(-np.where(truth, np.log(sure), np.log(1 - sure)).mean()),
        "threshold": threshold,
        **at_threshold(truth, score, threshold),
    }


def at_threshold(y_true: ArrayLike, y_score: ArrayLike, threshold: float) -> dict[str, float]:
    """The confusion matrix at score >= threshold and what follows from it."""
    truth, score = checked(y_true, y_score)
    called = score >= threshold
    return from_counts(
        tp=int((called & truth).sum()),
        fp=int((called & ~truth).sum()),
        fn=int((~called & truth).sum()),
        tn=int((~called & ~truth).sum()),
    )


def from_counts(tp: float, fp: float, fn: float, tn: float) -> dict[str, float]:
    """Sensitivity, specificity, precision, npv, accuracy, F1, F2 and MCC of four counts; NaN where
    they are 0/0: a classifier that calls all alike has no MCC (the limit 0 is a convention)."""
    spread = np.sqrt(float(tp + fp) * float(tp + fn) * float(tn + fp) * float(tn + fn))
    return {
        **{"tp": float(tp), "fp": float(fp), "fn": float(fn), "tn": float(tn)},
        "sensitivity": _ratio(tp, tp + fn),
        "specificity": _ratio(tn, tn + fp),
        "precision": _ratio(tp, tp + fp),
        "npv": _ratio(tn, tn + fn),
        "accuracy": _ratio(tp + tn, tp + fp + fn + tn),
        "f1": _ratio(2 * tp, 2 * tp + fp + fn),
        "f2": _ratio(5 * tp, 5 * tp + fp + 4 * fn),
        "mcc": _ratio(tp * tn - fp * fn, spread),
    }


@dataclass(frozen=True, slots=True, eq=False)
class Reliability:
    """The reliability curve: mean score against the share of positives."""

    edges: Float  # (bins + 1,)
    score: Float  # (bins,) mean score, NaN in an empty bin
    share: Float  # (bins,) share of positives
    counts: Int  # (bins,)


def reliability(y_true: ArrayLike, y_score: ArrayLike, bins: int = 10) -> Reliability:
    """Mean score and share of positives in equal-width bins of the score."""
    truth, score = checked(y_true, y_score)
    if bins < 1:
        raise ConfigError(f"bins {bins}: needed: at least 1")
    place = np.minimum((score * bins).astype(np.int64), bins - 1)
    counts = np.bincount(place, minlength=bins)
    some = counts > 0
    mean, share = (
        np.divide(np.bincount(place, v, bins), counts, out=np.full(bins, np.nan), where=some)
        for v in (score, truth.astype(np.float64))
    )
    return Reliability(edges=np.linspace(0, 1, bins + 1), score=mean, share=share, counts=counts)


def expected_calibration_error(y_true: ArrayLike, y_score: ArrayLike, bins: int = 10) -> float:
    """Mean gap of score and share of positives over equal-width bins, by their counts (Naeini
    2015)."""
    curve = reliability(y_true, y_score, bins)
    some = curve.counts > 0
    gaps = np.abs(curve.score - curve.share)[some] * curve.counts[some]
    return float(gaps.sum() / curve.counts.sum())


def confusion_matrix(y_true: ArrayLike, y_pred: ArrayLike, classes: int) -> Int:
    """(classes, classes) counts; rows are the truth."""
    truth, called = np.asarray(y_true).reshape(-1), np.asarray(y_pred).reshape(-1)
    valid = np.isin(truth, range(classes)).all() and np.isin(called, range(classes)).all()
    if len(truth) != len(called) or not valid:
        raise DataError(
            f"{len(truth)} truths came with {len(called)} calls; needed: as many, whole numbers "
            f"from 0 to {classes - 1}"
        )
    flat = truth.astype(np.int64) * classes + called.astype(np.int64)
    return np.bincount(flat, minlength=classes**2).reshape(classes, classes)


def multiclass(matrix: ArrayLike) -> dict[str, float]:
    """Macro precision, recall and F1, accuracy, and AP of the hard calls (ap_0 …, map).

    NaN where a number is 0/0: the precision of a class that is never called, recall and AP of one
    that no case has, and macro precision and recall then. `map` is of the classes that have one.

    Args:
        matrix: (classes, classes) counts, rows are the truth.
    """
    m = np.asarray(matrix, np.float64)
    if m.ndim != 2 or m.shape[0] != m.shape[1] or not (m >= 0).all() or not m.sum():
        raise DataError(f"confusion matrix {m.shape}: needed: square, counts, not empty")
    hits, true, called = m.diagonal(), m.sum(axis=1), m.sum(axis=0)
    precision, recall, f1 = (
        np.divide(part, whole, out=np.full(len(m), np.nan), where=whole > 0)
        for part, whole in ((hits, called), (hits, true), (2 * hits, true + called))
    )
    # Two scores only, called or not: recall comes in two steps, the first of no height if no call
    # is right.
    ap = recall * np.where(hits > 0, precision, 0) + (1 - recall) * true / m.sum()
    return {
        "precision": float(precision.mean()),
        "recall": float(recall.mean()),
        "f1": float(f1.mean()),
        "accuracy": float(hits.sum() / m.sum()),
        **{f"ap_{i}": float(value) for i, value in enumerate(ap)},
        "map": float(ap[true > 0].mean()),
    }


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole else float("nan")
