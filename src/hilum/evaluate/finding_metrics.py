"""The numbers of one model on one finding, as functions of how often each image counts.

A training's epochs, a report and a comparison of two models use the same functions, so all of them
show the same numbers. Chooses no threshold and draws no sample. Names: `metrics.names`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hilum.evaluate.cases import Cases
from hilum.evaluate.metrics.boxes import Predictions, Truth, box_table
from hilum.evaluate.metrics.classification import from_counts
from hilum.evaluate.metrics.detection import COCO_IOU
from hilum.evaluate.metrics.matching import TRUE, match
from hilum.evaluate.statistics.bootstrap import Reweighted
from hilum.evaluate.statistics.reweighted import ap_of, auc_of, mean_of, ratio_of, rsna_of

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]

AT_THRESHOLD = ("accuracy", "sensitivity", "specificity", "precision", "f1", "f2", "mcc")
ANY_BOX = ("sensitivity", "specificity", "precision", "f1")
Level = Literal["boxes", "any_box", "image", "mask"]


@dataclass(frozen=True, slots=True, eq=False)
class FindingMetric:
    """A number of some of the cases."""

    level: Level
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


def finding_metrics(cases: Cases, threshold: float | Thresholds) -> dict[str, FindingMetric]:
    """All numbers that the annotations allow, by name."""
    at = Thresholds.of(threshold)
    return {**_of_boxes(cases, at.boxes), **_of_any_box(cases, at.boxes), **_of_images(cases, at)}


def of_scores(label: Bool, score: Float, threshold: float) -> dict[str, Reweighted]:
    """Numbers of one score an image or study, with truths of both kinds."""
    metrics = {"auc": auc_of(label, score), "average_precision": ap_of_scores(label, score)}
    metrics |= {name: counts_of(label, score >= threshold, name) for name in AT_THRESHOLD}
    metrics["brier"] = mean_of((score - label) ** 2)
    metrics["ece"] = ece_of(label, score)
    return metrics


def ap_of_scores(label: Bool, score: Float) -> Reweighted:
    """Average precision without interpolation, equal scores together (`average_precision`)."""
    order = np.argsort(-score, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(score[order]) != 0, True))

    def value(counts: Float) -> float:
        weight = counts[order]
        hits, seen = np.cumsum(weight * label[order])[ends], np.cumsum(weight)[ends]
        if not hits[-1]:
            return float("nan")
        steps = np.diff(hits, prepend=0.0) / hits[-1]
        return float((steps * hits / np.maximum(seen, 1e-12)).sum())

    return Reweighted(value)


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


def _of_boxes(cases: Cases, threshold: float) -> dict[str, FindingMetric]:
    if not cases.detects or not cases.boxed.any():
        return {}
    part = cases.where(cases.boxed)
    shown = part.shown(threshold)
    normal = np.array([not len(t) for t in part.truth])
    marks = np.where(normal, [float(len(s)) for _, s in shown], np.nan)
    metrics = {
        "rsna_score": rsna_of(part.truth, shown),
        "ap50": ap_of(part.truth, part.predictions, 0.5),
        "ap50_95": ap_of(part.truth, part.predictions, COCO_IOU.tolist()),
        **_box_ratios(part.truth, shown),
        "fp_per_normal_image": mean_of(marks),
    }
    return {name: FindingMetric("boxes", metric, cases.boxed) for name, metric in metrics.items()}


def _box_ratios(truth: Truth, shown: Predictions, iou: float = 0.5) -> dict[str, Reweighted]:
    """Precision, recall, F1 and F2 over all boxes of all images."""
    table = box_table(truth, shown)
    matches = match(table, np.array([iou]))
    hit = matches.verdict[0, 0] == TRUE
    tp = np.bincount(matches.image[hit], minlength=len(table)).astype(np.float64)
    true, predicted = table.truths_per_image, table.boxes_per_image
    return {
        "box_precision": ratio_of(tp, predicted),
        "box_recall": ratio_of(tp, true),
        "box_f1": ratio_of(2 * tp, true + predicted),
        "box_f2": ratio_of(5 * tp, 4 * true + predicted),
    }


def _of_any_box(cases: Cases, threshold: float) -> dict[str, FindingMetric]:
    """The detector as a classifier of images: the best box is the image's score."""
    part = cases.where(cases.boxed)
    label = np.array([len(t) > 0 for t in part.truth], np.bool_)
    if not cases.detects or not label.any() or label.all():
        return {}
    score = np.array([float(s.max(initial=0.0)) for _, s in part.predictions])
    metrics = {"auc": auc_of(label, score)}
    metrics |= {name: counts_of(label, score >= threshold, name) for name in ANY_BOX}
    return {f"any_box_{n}": FindingMetric("any_box", m, cases.boxed) for n, m in metrics.items()}


def _of_images(cases: Cases, at: Thresholds) -> dict[str, FindingMetric]:
    rows = cases.labelled
    label, score = cases.label[rows] == 1, cases.score[rows]
    if not label.any() or label.all():
        return {}
    metrics = of_scores(label, score, at.image)
    return {name: FindingMetric("image", metric, rows) for name, metric in metrics.items()}
