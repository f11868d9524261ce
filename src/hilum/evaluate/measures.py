"""What the report measures of one model, as functions of how often each image counts.

Judging one model and comparing two use the same functions, so a difference is one of the numbers
shown. Chooses no threshold and draws no sample.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hilum.evaluate.cases import Cases
from hilum.evaluate.metrics.classification import from_counts
from hilum.evaluate.metrics.detection import COCO_IOU
from hilum.evaluate.statistics.bootstrap import Reweighted
from hilum.evaluate.statistics.reweighted import ap_of, auc_of, mean_of, rsna_of

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]

AT_THRESHOLD = ("sensitivity", "specificity", "precision", "f1", "f2", "mcc")


@dataclass(frozen=True, slots=True, eq=False)
class Measure:
    """A number of some of the cases."""

    level: Literal["boxes", "image"]
    metric: Reweighted  # of the counts of `rows`
    rows: Bool  # (n,) cases that take part


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The operating point of the boxes, and that of the image scores."""

    boxes: float
    image: float

    @classmethod
    def of(cls, value: float | Thresholds) -> Thresholds:
        """One number stands for both."""
        return value if isinstance(value, Thresholds) else cls(value, value)


def measures(cases: Cases, threshold: float | Thresholds) -> dict[str, Measure]:
    """All numbers that the annotations allow, by name."""
    at = Thresholds.of(threshold)
    return {**_of_boxes(cases, at.boxes), **_of_images(cases, at.image)}


def of_scores(label: Bool, score: Float, threshold: float) -> dict[str, Reweighted]:
    """Numbers of one score an image or study, with truths of both kinds."""
    metrics = {"auc": auc_of(label, score)}
    metrics |= {name: counts_of(label, score >= threshold, name) for name in AT_THRESHOLD}
    metrics["brier"] = mean_of((score - label) ** 2)
    metrics["ece"] = ece_of(label, score)
    return metrics


def ece_of(label: Bool, score: Float, bins: int = 10) -> Reweighted:
    """Expected calibration error over equal-width bins."""
    place = np.minimum((score * bins).astype(np.int64), bins - 1)
    gap = score - label

    def value(counts: Float) -> float:
        total = float(counts.sum())
        gaps = np.abs(np.bincount(place, counts * gap, bins)).sum()
        return float(gaps / total) if total else float("nan")

    return Reweighted(value)


def counts_of(truth: Bool, called: Bool, name: str) -> Reweighted:
    """A number of the confusion matrix (`from_counts`) at a fixed threshold."""
    kinds = [truth & called, ~truth & called, truth & ~called, ~truth & ~called]

    def value(counts: Float) -> float:
        tp, fp, fn, tn = (float(counts[kind].sum()) for kind in kinds)
        return from_counts(tp, fp, fn, tn)[name]

    return Reweighted(value)


def _of_boxes(cases: Cases, threshold: float) -> dict[str, Measure]:
    if not cases.boxed.any():
        return {}
    part = cases.where(cases.boxed)
    shown = part.shown(threshold)
    normal = np.array([not len(t) for t in part.truth])
    marks = np.where(normal, [float(len(s)) for _, s in shown], np.nan)
    metrics = {
        "rsna_score": rsna_of(part.truth, shown),
        "ap50": ap_of(part.truth, part.predictions, 0.5),
        "ap50_95": ap_of(part.truth, part.predictions, COCO_IOU.tolist()),
        "fp_per_normal_image": mean_of(marks),
    }
    return {name: Measure("boxes", metric, cases.boxed) for name, metric in metrics.items()}


def _of_images(cases: Cases, threshold: float) -> dict[str, Measure]:
    rows = cases.labelled
    label, score = cases.label[rows] == 1, cases.score[rows]
    if not label.any() or label.all():
        return {}
    metrics = of_scores(label, score, threshold)
    return {name: Measure("image", metric, rows) for name, metric in metrics.items()}
