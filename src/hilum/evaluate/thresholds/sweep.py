"""A box metric over a grid of thresholds: how the choice of a threshold moves the numbers.

The grid is for looking at. A threshold picked from it on the data it will be judged on is
optimistic; `hilum.evaluate.thresholds.operating_points` chooses on validation data.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hilum.evaluate.metrics.boxes import Predictions, Truth, box_table
from hilum.evaluate.metrics.classification import from_counts
from hilum.evaluate.metrics.detection import detection_ap
from hilum.evaluate.metrics.matching import TRUE, match

Float = NDArray[np.float64]

SCORES = tuple(i / 10 for i in range(1, 10))
IOUS = tuple(i / 10 for i in range(3, 10))
NMS = tuple(i / 10 for i in range(1, 8))

Suppress = Callable[[Float, Float, float], NDArray[np.int64]]


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """One number for each row and column."""

    metric: str
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


def score_by_epoch(
    truth: Truth,
    epochs: Mapping[float, Predictions],
    *,
    metric: str = "f1",
    scores: Sequence[float] = SCORES,
    iou: float = 0.5,
) -> Grid:
    """F1 of the boxes from each score on, for the predictions of each epoch."""
    columns = [
        score_by_iou(truth, said, metric=metric, scores=scores, ious=(iou,)).values[:, 0]
        for said in epochs.values()
    ]
    axes = ("score", tuple(scores)), ("epoch", tuple(epochs))
    return Grid(metric, *axes, np.stack(columns, axis=1))


def nms_by_epoch(
    truth: Truth,
    epochs: Mapping[float, Predictions],
    suppress: Suppress,
    *,
    thresholds: Sequence[float] = NMS,
    iou: float = 0.5,
) -> Grid:
    """AP at `iou` after suppression at each threshold, for the predictions of each epoch.

    Predictions that were suppressed before show nothing above the threshold of that time.

    Args:
        suppress: of boxes, scores and a threshold -> indices of the boxes that stay.
    """
    values = np.full((len(thresholds), len(epochs)), np.nan)
    for c, said in enumerate(epochs.values()):
        pairs = [(np.asarray(b).reshape(-1, 4), np.asarray(s)) for b, s in said]
        for r, threshold in enumerate(thresholds):
            rows = [suppress(b, s, threshold) for b, s in pairs]
            kept = [(b[k], s[k]) for (b, s), k in zip(pairs, rows, strict=True)]
            values[r, c] = detection_ap(truth, kept, iou)
    return Grid("ap", ("nms", tuple(thresholds)), ("epoch", tuple(epochs)), values)


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
    found = match(table, np.array(ious))
    values = np.full((len(scores), len(ious)), np.nan)
    for r, score in enumerate(scores):
        kept = found.verdict[0][:, found.scores >= score] == TRUE
        for c, hits in enumerate(kept):
            tp = int(hits.sum())
            counts = from_counts(tp, len(hits) - tp, len(table.truth) - tp, 0)
            values[r, c] = counts[metric]
    return Grid(metric, ("score", tuple(scores)), ("iou", tuple(ious)), values)
