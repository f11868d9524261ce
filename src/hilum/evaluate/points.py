"""Operating points: thresholds for a stated aim, chosen on validation data only.

A point is chosen here, stored with the model and then judged on other data. What it achieved
where it was chosen is written down with it, and is optimistic.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hilum.core.errors import ConfigError, DataError
from hilum.evaluate.boxes import Predictions, Truth
from hilum.evaluate.classification import at_threshold, from_counts
from hilum.evaluate.curves import checked, ranked
from hilum.evaluate.froc import froc

Float = NDArray[np.float64]
Best = Literal["f1", "f2", "mcc"]


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """A threshold with its aim: called positive at score >= threshold."""

    threshold: float
    aim: str  # e.g. "sensitivity >= 0.95"
    achieved: Mapping[str, float] = field(default_factory=dict)  # on the data it was chosen on
    chosen_on: str = "validation"

    def __post_init__(self) -> None:
        if not 0 <= self.threshold <= 1:
            raise ConfigError(f"threshold {self.threshold}: needed: a number in [0, 1]")

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> OperatingPoint:
        return cls(**value)


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
    """The threshold of the best F1, F2 or MCC; of equals the highest."""
    if metric not in get_args(Best):
        raise ConfigError(f"unknown metric {metric!r}; known: {', '.join(get_args(Best))}")
    truth, score = _both_kinds(y_true, y_score)
    r = ranked(truth, score)
    positives, negatives = float(truth.sum()), float((~truth).sum())
    values = [
        from_counts(tp, fp, positives - tp, negatives - fp)[metric]
        for tp, fp in zip(r.true_positives, r.false_positives, strict=True)
    ]
    best = float(r.thresholds[int(np.argmax(values))])
    return _point(truth, score, best, f"best {metric}")


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
    return OperatingPoint(float(curve.thresholds[k]), aim, achieved)


def sensitivity_at_specificity(
    y_true: ArrayLike, y_score: ArrayLike, specificity: float = 0.9
) -> float:
    """The highest sensitivity among thresholds of at least this specificity."""
    truth, score = _both_kinds(y_true, y_score)
    r = ranked(truth, score)
    allowed = 1 - r.false_positives / (~truth).sum() >= _share(specificity) - 1e-12
    return float((r.true_positives[allowed] / truth.sum()).max(initial=0.0))


def _point(truth: NDArray[np.bool_], score: Float, threshold: float, aim: str) -> OperatingPoint:
    return OperatingPoint(threshold, aim, at_threshold(truth, score, threshold))


def _both_kinds(y_true: ArrayLike, y_score: ArrayLike) -> tuple[NDArray[np.bool_], Float]:
    truth, score = checked(y_true, y_score)
    if truth.all() or not truth.any():
        raise DataError("an operating point needs positives and negatives")
    return truth, score


def _share(value: float) -> float:
    if not 0 <= value <= 1:
        raise ConfigError(f"target {value}: needed: a share in [0, 1]")
    return value
