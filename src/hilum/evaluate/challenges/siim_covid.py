"""The score of the SIIM-FISABIO-RSNA COVID-19 challenge: six average precisions and their mean.

Pascal VOC 2010: all-point interpolated, IoU > 0.5. Undetected truths lower the recall, so a
submission that says `negative` and `none` everywhere gets about .10 (graders that match first
and average afterwards give .24). Equal scores count together: file order changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hilum.core.errors import DataError
from hilum.data.adapters.values import flags
from hilum.evaluate.challenges.tables import Table, labelled_boxes, read_table, same_ids, unique_ids
from hilum.evaluate.metrics.curves import voc_average_precision

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Bool = NDArray[np.bool_]

CLASSES = ("opacity", "none", "negative", "typical", "indeterminate", "atypical")
STUDY_COLUMNS = {
    "negative": "Negative for Pneumonia",
    "typical": "Typical Appearance",
    "indeterminate": "Indeterminate Appearance",
    "atypical": "Atypical Appearance",
}
MIN_IOU = 0.5


@dataclass(slots=True)
class _Rows:
    """Boxes of one class: which row of the table, score, corners."""

    rows: list[int] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    boxes: list[list[float]] = field(default_factory=list)

    @property
    def arrays(self) -> _Arrays:
        return _Arrays(
            rows=np.array(self.rows, np.int64),
            scores=np.array(self.scores, np.float64),
            boxes=np.array(self.boxes, np.float64).reshape(-1, 4),
        )


class _Arrays(NamedTuple):
    rows: Int
    scores: Float
    boxes: Float


def siim_covid_score(solution: Table, submission: Table) -> dict[str, float]:
    """Average precision of each class, and their mean.

    Args:
        solution, submission: paths or data frames with columns `id,PredictionString`; a string
            is groups of `label score x1 y1 x2 y2`. In the solution scores are 1; studies and
            `none` use the box 0 0 1 1.

    Returns:
        opacity, none, negative, typical, indeterminate, atypical, mean. A class without any
        truth is NaN and left out of the mean.

    Raises:
        DataError: malformed strings, unknown labels, scores outside [0, 1], reversed corners,
            or ids that are doubled, missing or unknown.
    """
    truth, places = read_boxes(solution, "solution")
    predictions, given = read_boxes(submission, "submission")
    same_ids(places, given)
    order = np.array([places[name] for name in given], np.int64)
    out = {name: _class_ap(truth[name], predictions[name], order) for name in CLASSES}
    known = [value for value in out.values() if not np.isnan(value)]
    return {**out, "mean": float(np.mean(known)) if known else float("nan")}


def siim_covid_solution(studies: Table, images: Table) -> pd.DataFrame:
    """The solution from the published `train_study_level.csv` and `train_image_level.csv`."""
    study = read_table(studies, ("id", *STUDY_COLUMNS.values()), "study table")
    image = read_table(images, ("id", "label"), "image table")
    strings = pd.Series("", index=study.index)
    for name, column in STUDY_COLUMNS.items():
        present = flags(study[column], column, study["id"]) == 1
        strings += np.where(present, f"{name} 1 0 0 1 1 ", "")
    parts = [
        pd.DataFrame({"id": study["id"], "PredictionString": strings.str.strip()}),
        pd.DataFrame({"id": image["id"], "PredictionString": image["label"]}),
    ]
    return pd.concat(parts, ignore_index=True)


def read_boxes(source: Table, name: str) -> tuple[dict[str, _Rows], dict[str, int]]:
    """Boxes by class, and the row of each id.

    Raises:
        DataError: malformed strings, unknown labels, or an id in more than one row.
    """
    table = read_table(source, ("id", "PredictionString"), name)
    ids = unique_ids(table["id"], name)
    by_label = {label: _Rows() for label in CLASSES}
    for row, text in enumerate(table["PredictionString"]):
        for label, score, box in labelled_boxes(text, ids[row]):
            if label not in by_label:
                known = ", ".join(CLASSES)
                raise DataError(f"{ids[row]}: unknown label {label!r}; known: {known}")
            by_label[label].rows.append(row)
            by_label[label].scores.append(score)
            by_label[label].boxes.append(box)
    return by_label, {value: row for row, value in enumerate(ids)}


def _class_ap(truth: _Rows, predictions: _Rows, order: Int) -> float:
    """AP of one class; `order` maps rows of the submission to rows of the solution."""
    given = predictions.arrays
    hits = _hits(truth.arrays, given._replace(rows=order[given.rows]))
    return voc_average_precision(hits, given.scores, len(truth.rows))


def _hits(truth: _Arrays, given: _Arrays) -> Bool:
    """(n,) whether each given box is the best scored one on its best overlapped truth.

    Args:
        truth: in ascending rows.
    """
    hits = np.zeros(len(given.rows), np.bool_)
    first = np.searchsorted(truth.rows, given.rows, "left")
    several = np.searchsorted(truth.rows, given.rows, "right") - first
    box = np.repeat(np.arange(len(hits)), several)  # one pair for each truth of the same row
    step = np.arange(len(box)) - np.repeat(np.cumsum(several) - several, several)
    target = np.repeat(first, several) + step
    iou = _pair_iou(given.boxes[box], truth.boxes[target])
    best_pair = np.lexsort((target, -iou, box))
    best_pair = best_pair[np.unique(box[best_pair], return_index=True)[1]]
    best_pair = best_pair[iou[best_pair] > MIN_IOU]
    by_score = best_pair[np.argsort(-given.scores[box[best_pair]], kind="stable")]
    winners = by_score[np.unique(target[by_score], return_index=True)[1]]
    hits[box[winners]] = True
    return hits


def _pair_iou(a: Float, b: Float) -> Float:
    """(n,) IoU of boxes row by row."""
    size = np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2])
    overlap = np.clip(size, 0, None).prod(axis=1)
    areas = (a[:, 2:] - a[:, :2]).prod(axis=1) + (b[:, 2:] - b[:, :2]).prod(axis=1)
    union = areas - overlap
    out: Float = np.divide(overlap, union, out=np.zeros(len(a)), where=union > 0)
    return out
