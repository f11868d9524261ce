"""Operating points: thresholds for a stated aim, chosen on validation data only.

A point is chosen here, stored with the model and then evaluated on other data. What it achieved
where it was chosen is written down with it, and is optimistic.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hilum.core.errors import ConfigError, DataError
from hilum.core.manifest import BOX, OperatingPoint
from hilum.evaluate.challenges.rsna import rsna_score
from hilum.evaluate.metrics.boxes import Predictions, Truth, box_table
from hilum.evaluate.metrics.classification import at_threshold, from_counts
from hilum.evaluate.metrics.curves import checked, ranked
from hilum.evaluate.metrics.froc import froc
from hilum.evaluate.metrics.matching import TRUE, match

Float = NDArray[np.float64]
Best = Literal["f1", "f2", "mcc"]


def for_sensitivity(y_true: ArrayLike, y_score: ArrayLike, least: float = 0.95) -> OperatingPoint:
    """The highest threshold that still finds at least this share of the positives."""
    truth, score = _both_kinds(y_true, y_score)
    r = ranked(truth, score)
    k = int(np.argmax(r.true_positives / truth.sum() >= _share(least)))
    return _point(truth, score, float(r.thresholds[k]), f"sensitivity >= {least:g}")


def for_false_positives(
    y_true: ArrayLike, y_score: ArrayLike, most: float = 0.10
) -> OperatingPoint:
    """The lowest threshold that calls at most this share of the negatives positive.

    Raises:
        DataError: even the highest score calls more.
    """
    truth, score = _both_kinds(y_true, y_score)
    r = ranked(truth, score)
    k = int((r.false_positives / (~truth).sum() <= _share(most)).sum()) - 1
    if k < 0:
        raise DataError(f"no threshold keeps false positives at or under {most:g}")
    return _point(truth, score, float(r.thresholds[k]), f"false positive rate <= {most:g}")


def for_best(y_true: ArrayLike, y_score: ArrayLike, metric: Best = "f1") -> OperatingPoint:
    """The threshold of the best F1, F2 or MCC; of equals the highest.

    Raises:
        DataError: no threshold has the number, as MCC where all scores are equal.
    """
    if metric not in get_args(Best):
        raise ConfigError(f"unknown metric {metric!r}; known: {', '.join(get_args(Best))}")
    truth, score = _both_kinds(y_true, y_score)
    r = ranked(truth, score)
    positives, negatives = float(truth.sum()), float((~truth).sum())
    values = [
        from_counts(tp, fp, positives - tp, negatives - fp)[metric]
        for tp, fp in zip(r.true_positives, r.false_positives, strict=True)
    ]
    if np.isnan(values).all():
        raise DataError(f"{metric.upper()} is undefined at every threshold: all scores are equal")
    best = float(r.thresholds[int(np.nanargmax(values))])
    return _point(truth, score, best, f"best {metric.upper()}")


def for_false_marks(
    truth: Truth, predictions: Predictions, most: float = 1.0, *, iou: float = 0.5
) -> OperatingPoint:
    """The lowest box threshold with at most so many false positives per image.

    Raises:
        DataError: even the highest score gives more, or there is no box.
    """
    curve = froc(truth, predictions, iou=iou)
    k = int((curve.fp_per_image <= most).sum()) - 1
    if k < 0:
        raise DataError(f"no threshold keeps false positives at or under {most:g} per image")
    achieved = {
        "sensitivity": float(curve.sensitivity[k]),
        "fp_per_image": float(curve.fp_per_image[k]),
        "fp_per_normal_image": float(curve.fp_per_normal_image[k]),
    }
    aim = f"false positives per image <= {most:g} at IoU {iou:g}"
    return _stored(float(curve.thresholds[k]), aim, achieved)


def for_best_boxes(
    truth: Truth, predictions: Predictions, metric: Literal["f1", "f2"] = "f1", *, iou: float = 0.5
) -> OperatingPoint:
    """The box threshold of the best F1 or F2 over all boxes; of equals the highest.

    Raises:
        DataError: no true box, or no predicted one.
    """
    if metric not in ("f1", "f2"):
        raise ConfigError(f"unknown metric {metric!r} of boxes; known: f1, f2")
    table = box_table(truth, predictions)
    if not len(table.truth) or not len(table.boxes):
        raise DataError("an operating point of boxes needs true and predicted boxes")
    matches = match(table, np.array([iou]))
    r = ranked(matches.verdict[0, 0] == TRUE, matches.scores)
    counts = [
        from_counts(tp, fp, len(table.truth) - tp, 0)
        for tp, fp in zip(r.true_positives, r.false_positives, strict=True)
    ]
    k = int(np.argmax([c[metric] for c in counts]))
    kept = {name: counts[k][name] for name in ("sensitivity", "precision", "f1", "f2")}
    marks = froc(truth, predictions, iou=iou).at(float(r.thresholds[k]))
    kept["fp_per_image"] = marks.fp_per_image
    if marks.fp_per_normal_image == marks.fp_per_normal_image:  # there are such images
        kept["fp_per_normal_image"] = marks.fp_per_normal_image
    return _stored(float(r.thresholds[k]), f"best {metric.upper()} of boxes at IoU {iou:g}", kept)


def for_rsna_score(truth: Truth, predictions: Predictions, *, tried: int = 99) -> OperatingPoint:
    """The box threshold of the best RSNA score, of `tried` quantiles of the scores.

    Raises:
        DataError: no predicted box, or no image that the score counts.
    """
    table = box_table(truth, predictions)
    if not len(table.boxes):
        raise DataError("an operating point of boxes needs predicted boxes")
    grid = np.unique(np.quantile(table.scores, np.linspace(0, 1, tried), method="lower"))
    pairs = [(np.asarray(b).reshape(-1, 4), np.asarray(s, np.float64)) for b, s in predictions]
    values = [rsna_score(truth, [(b[s >= t], s[s >= t]) for b, s in pairs]) for t in grid]
    k = int(np.argmax(values))
    return _stored(float(grid[k]), "best RSNA score", {"rsna_score": float(values[k])})


def sensitivity_at_specificity(
    y_true: ArrayLike, y_score: ArrayLike, specificity: float = 0.9
) -> float:
    """The highest sensitivity among thresholds of at least this specificity."""
    truth, score = _both_kinds(y_true, y_score)
    r = ranked(truth, score)
    allowed = 1 - r.false_positives / (~truth).sum() >= _share(specificity) - 1e-12
    return float((r.true_positives[allowed] / truth.sum()).max(initial=0.0))


def _point(truth: NDArray[np.bool_], score: Float, threshold: float, aim: str) -> OperatingPoint:
    return _stored(threshold, aim, at_threshold(truth, score, threshold), score="image")


def _stored(
    threshold: float, aim: str, achieved: dict[str, float], score: str = BOX
) -> OperatingPoint:
    known = {name: value for name, value in achieved.items() if value == value}
    return OperatingPoint(threshold=threshold, reason=aim, achieved=known, score=score)


def _both_kinds(y_true: ArrayLike, y_score: ArrayLike) -> tuple[NDArray[np.bool_], Float]:
    truth, score = checked(y_true, y_score)
    if truth.all() or not truth.any():
        raise DataError("an operating point needs positives and negatives")
    return truth, score


def _share(value: float) -> float:
    if not 0 <= value <= 1:
        raise ConfigError(f"target {value}: needed: a share in [0, 1]")
    return value
