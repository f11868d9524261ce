"""A box metric over a grid of thresholds: how the choice of a threshold moves the numbers.

The grid is for looking at. A threshold picked from it on the data it will be evaluated on is
optimistic; `hilum.evaluate.thresholds.operating_points` chooses on validation data.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hilum.core.errors import ConfigError
from hilum.evaluate.challenges.rsna import rsna_score
from hilum.evaluate.metrics.boxes import Predictions, Truth, box_table
from hilum.evaluate.metrics.classification import from_counts
from hilum.evaluate.metrics.curves import ranked
from hilum.evaluate.metrics.detection import detection_ap
from hilum.evaluate.metrics.matching import TRUE, match

Float = NDArray[np.float64]
Pairs = Sequence[tuple[Float, Float]]

SCORES = tuple(i / 10 for i in range(1, 10))
IOUS = tuple(i / 10 for i in range(3, 10))
# RSNA's second place suppresses at .05; its optimum on validation lay between .45 and 1.
NMS = (0.05, *(i / 10 for i in range(1, 11)))

Suppress = Callable[[Float, Float, float], NDArray[np.int64]]


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """One number for each row and column."""

    metric: str  # a name of `metrics.names`
    rows: tuple[str, tuple[float, ...]]  # what they are, their values
    columns: tuple[str, tuple[float, ...]]
    values: Float  # (rows, columns), NaN where there is none

    def to_json(self) -> dict[str, Any]:
        return {
            "metric": self.metric,
            self.rows[0]: list(self.rows[1]),
            self.columns[0]: list(self.columns[1]),
            "values": [[None if v != v else float(v) for v in row] for row in self.values],
        }


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """Box precision, recall and F1 at each distinct score, highest first."""

    thresholds: Float
    precision: Float
    recall: Float
    f1: Float


def box_metric(name: str, truth: Truth, predictions: Pairs, threshold: float) -> float:
    """A box metric by its name at a score threshold; "ap50" looks at all scores.

    Raises:
        ConfigError: a name that is no box metric.
    """
    if name == "ap50":
        return detection_ap(truth, predictions, 0.5)
    shown = [(b[s >= threshold], s[s >= threshold]) for b, s in predictions]
    if name == "rsna_score":
        return rsna_score(truth, shown)
    table = box_table(truth, shown)
    hits = int((match(table, np.array([0.5])).verdict[0, 0] == TRUE).sum())
    counts = from_counts(hits, len(table.boxes) - hits, len(table.truth) - hits, 0)
    names = {"box_precision": "precision", "box_recall": "sensitivity", "box_f1": "f1"}
    if name not in names:
        raise ConfigError(
            f"unknown box metric {name!r}; known: ap50, rsna_score, {', '.join(names)}"
        )
    return counts[names[name]]


def score_by_epoch(
    truth: Truth,
    epochs: Mapping[float, Predictions],
    *,
    metric: str = "box_f1",
    scores: Sequence[float] = SCORES,
) -> Grid:
    """A metric of the boxes from each score on, for the predictions of each epoch."""
    values = np.array(
        [
            [box_metric(metric, truth, _pairs(one), score) for one in epochs.values()]
            for score in scores
        ]
    )
    return Grid(
        metric=metric,
        rows=("score", tuple(scores)),
        columns=("epoch", tuple(epochs)),
        values=values,
    )


def nms_by_epoch(
    truth: Truth,
    epochs: Mapping[float, Predictions],
    suppress: Suppress,
    *,
    metric: str = "ap50",
    threshold: float = 0.5,
    thresholds: Sequence[float] = NMS,
) -> Grid:
    """A metric after suppression at each threshold, for the predictions of each epoch.

    Predictions that were suppressed before show nothing above the threshold of that time: keep
    those of an epoch unsuppressed.

    Args:
        suppress: of boxes, scores and a threshold -> indices of the boxes that stay.
        threshold: score of the boxes shown, for metrics that have one.
    """
    values = np.full((len(thresholds), len(epochs)), np.nan)
    for c, one in enumerate(epochs.values()):
        pairs = _pairs(one)
        for r, limit in enumerate(thresholds):
            values[r, c] = box_metric(metric, truth, suppressed(pairs, suppress, limit), threshold)
    return Grid(
        metric=metric,
        rows=("nms", tuple(thresholds)),
        columns=("epoch", tuple(epochs)),
        values=values,
    )


def suppressed(predictions: Predictions, suppress: Suppress, iou: float) -> Pairs:
    """Predictions without the boxes that overlap a better one by more than `iou`."""
    kept = []
    for boxes, scores in _pairs(predictions):
        rows = suppress(boxes, scores, iou)
        kept.append((boxes[rows], scores[rows]))
    return kept


def score_by_iou(
    truth: Truth,
    predictions: Predictions,
    *,
    metric: str = "f1",
    scores: Sequence[float] = SCORES,
    ious: Sequence[float] = IOUS,
) -> Grid:
    """F1 (or "precision", "sensitivity", "f2") of the boxes from each score on, for each IoU.

    The best box chooses first, so boxes of a lower score never change what those above found:
    one matching serves all scores.
    """
    table = box_table(truth, predictions)
    matches = match(table, np.array(ious))
    values = np.full((len(scores), len(ious)), np.nan)
    for r, score in enumerate(scores):
        kept = matches.verdict[0][:, matches.scores >= score] == TRUE
        for c, hits in enumerate(kept):
            tp = int(hits.sum())
            counts = from_counts(tp, len(hits) - tp, len(table.truth) - tp, 0)
            values[r, c] = counts[metric]
    return Grid(
        metric=metric,
        rows=("score", tuple(scores)),
        columns=("iou", tuple(ious)),
        values=values,
    )


def threshold_curve(truth: Truth, predictions: Predictions, iou: float = 0.5) -> Curve:
    """Precision, recall and F1 of the boxes against the score threshold (B10)."""
    table = box_table(truth, predictions)
    matches = match(table, np.array([iou]))
    r = ranked(matches.verdict[0, 0] == TRUE, matches.scores)
    shown = r.true_positives + r.false_positives
    total = len(table.truth)
    nothing = np.full(len(shown), np.nan)
    return Curve(
        thresholds=r.thresholds,
        precision=r.true_positives / shown,
        recall=r.true_positives / total if total else nothing,
        f1=2 * r.true_positives / (total + shown),
    )


def _pairs(predictions: Predictions) -> Pairs:
    return [
        (np.asarray(b, np.float64).reshape(-1, 4), np.asarray(s, np.float64))
        for b, s in predictions
    ]
