"""All numbers of one model on one set of cases, each with an interval over patients.

The threshold is given from outside (an operating point chosen on validation data); nothing is
chosen here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hilum.core.errors import DataError
from hilum.evaluate.cases import Cases
from hilum.evaluate.measures import Thresholds, measures
from hilum.evaluate.metrics.breakdown import Part, breakdown
from hilum.evaluate.metrics.classification import at_threshold
from hilum.evaluate.metrics.froc import Froc, froc
from hilum.evaluate.statistics.bootstrap import Interval, Reweighted, bootstrap
from hilum.evaluate.statistics.reweighted import auc_of
from hilum.evaluate.thresholds.sweep import Grid, score_by_iou

SUBGROUPS = ("sex", "age", "view", "modality", "source")
FIXED = (0.25, 0.5, 0.75)  # thresholds of confusion matrices beside the operating point
FEW = 30  # subgroups of fewer images are marked


@dataclass(frozen=True, slots=True)
class Subgroup:
    """AUC of one part of the cases."""

    column: str
    value: str
    images: int
    positives: int
    auc: Interval

    @property
    def few(self) -> bool:
        return self.images < FEW


@dataclass(frozen=True, slots=True, eq=False)
class Judgement:
    """What the report shows."""

    threshold: float  # of boxes
    image_threshold: float
    boxes: dict[str, Interval]  # empty without box annotations
    image: dict[str, Interval]  # empty without both kinds of image
    subgroups: tuple[Subgroup, ...]
    curve: Froc | None
    grid: Grid | None  # F1 of boxes by score and IoU
    confusion: tuple[dict[str, float], ...]  # of images, at fixed thresholds
    parts: tuple[Part, ...]  # true boxes by size, place and number

    def to_json(self) -> dict[str, Any]:
        """Numbers only; NaN becomes null."""
        return {
            "threshold": self.threshold,
            "image_threshold": self.image_threshold,
            "boxes": {name: _plain(value) for name, value in self.boxes.items()},
            "image": {name: _plain(value) for name, value in self.image.items()},
            "subgroups": [
                {
                    **{"column": g.column, "value": g.value, "images": g.images},
                    **{"positives": g.positives, "few": g.few, "auc": _plain(g.auc)},
                }
                for g in self.subgroups
            ],
            "grid": self.grid.to_json() if self.grid else None,
            "confusion": [
                {k: None if v != v else v for k, v in matrix.items()} for matrix in self.confusion
            ],
            "breakdown": [part.to_json() for part in self.parts],
        }


def judge(
    cases: Cases,
    *,
    threshold: float | Thresholds = 0.5,
    repeats: int = 1000,
    seed: int = 0,
) -> Judgement:
    """Judge boxes where boxes are annotated and images where images are.

    Args:
        threshold: of box and image scores, one for both or each its own.

    Raises:
        DataError: neither is annotated.
    """
    if not cases.boxed.any() and not cases.labelled.any():
        raise DataError(f"no image says whether {cases.finding} is there: nothing to judge")
    patients, at = cases.rows["patient"].to_numpy(), Thresholds.of(threshold)

    def interval(metric: Reweighted, rows: NDArray[np.bool_]) -> Interval:
        return bootstrap(metric, patients[rows], repeats=repeats, seed=seed)

    values: dict[str, dict[str, Interval]] = {"boxes": {}, "image": {}}
    for name, measure in measures(cases, at).items():
        values[measure.level][name] = interval(measure.metric, measure.rows)
    boxes, image = values["boxes"], values["image"]
    part = cases.where(cases.boxed)
    curve = froc(part.truth, part.predictions) if len(part) else None
    groups = _subgroups(cases, cases.labelled, interval) if image else ()
    some = any(len(t) for t in part.truth)
    grid = score_by_iou(part.truth, part.predictions) if some else None
    parts = breakdown(cases, at.boxes, repeats=repeats, seed=seed) if some else ()
    matrices = _confusion(cases, at.image)
    return Judgement(at.boxes, at.image, boxes, image, groups, curve, grid, matrices, parts)


def _confusion(cases: Cases, threshold: float) -> tuple[dict[str, float], ...]:
    """Confusion matrices of the images at the operating point and at fixed thresholds."""
    rows = cases.labelled
    if not rows.any():
        return ()
    truth, score = cases.label[rows] == 1, cases.score[rows]
    return tuple(
        {"threshold": t, **at_threshold(truth, score, t)} for t in sorted({threshold, *FIXED})
    )


def _subgroups(
    cases: Cases,
    labelled: NDArray[np.bool_],
    interval: Callable[[Reweighted, NDArray[np.bool_]], Interval],
) -> tuple[Subgroup, ...]:
    out = []
    for column in SUBGROUPS:
        values = cases.rows[column].to_numpy()
        for value in sorted({str(v) for v in values[labelled]} - {""}):
            rows = labelled & (values == value)
            label = cases.label[rows] == 1
            area = interval(auc_of(label, cases.score[rows]), rows)
            out.append(Subgroup(column, value, int(rows.sum()), int(label.sum()), area))
    return tuple(out)


def _plain(value: Interval) -> dict[str, float | None]:
    return {k: None if v != v else v for k, v in value.to_json().items()}
