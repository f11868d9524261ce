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
from hilum.evaluate.classification import from_counts
from hilum.evaluate.detection import COCO_IOU
from hilum.evaluate.froc import Froc, froc
from hilum.evaluate.resample import Interval, Reweighted, bootstrap
from hilum.evaluate.reweighted import ap_of, auc_of, mean_of, rsna_of

Float = NDArray[np.float64]

SUBGROUPS = ("sex", "age", "view", "modality", "source")
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

    threshold: float
    boxes: dict[str, Interval]  # empty without box annotations
    image: dict[str, Interval]  # empty without both kinds of image
    subgroups: tuple[Subgroup, ...]
    curve: Froc | None

    def to_json(self) -> dict[str, Any]:
        """Numbers only; NaN becomes null."""
        return {
            "threshold": self.threshold,
            "boxes": {name: _plain(value) for name, value in self.boxes.items()},
            "image": {name: _plain(value) for name, value in self.image.items()},
            "subgroups": [
                {
                    **{"column": g.column, "value": g.value, "images": g.images},
                    **{"positives": g.positives, "few": g.few, "auc": _plain(g.auc)},
                }
                for g in self.subgroups
            ],
        }


def judge(cases: Cases, *, threshold: float = 0.5, repeats: int = 1000, seed: int = 0) -> Judgement:
    """Judge boxes where boxes are annotated and images where images are.

    Raises:
        DataError: neither is annotated.
    """
    labelled = ~np.isnan(cases.label)
    if not cases.boxed.any() and not labelled.any():
        raise DataError(f"no image says whether {cases.finding} is there: nothing to judge")
    patients = cases.rows["patient"].to_numpy()

    def interval(metric: Reweighted, rows: NDArray[np.bool_]) -> Interval:
        return bootstrap(metric, patients[rows], repeats=repeats, seed=seed)

    boxes, curve = _boxes(cases, threshold, interval)
    label, score = cases.label[labelled] == 1, cases.score[labelled]
    image: dict[str, Interval] = {}
    if label.any() and not label.all():
        image["auc"] = interval(auc_of(label, score), labelled)
        for name in ("sensitivity", "specificity", "precision", "f1", "f2", "mcc"):
            image[name] = interval(counts_of(label, score >= threshold, name), labelled)
        image["brier"] = interval(mean_of((score - label) ** 2), labelled)
    groups = _subgroups(cases, labelled, interval) if image else ()
    return Judgement(threshold, boxes, image, groups, curve)


def counts_of(truth: NDArray[np.bool_], called: NDArray[np.bool_], name: str) -> Reweighted:
    """A number of the confusion matrix (`from_counts`) at a fixed threshold."""
    kinds = [truth & called, ~truth & called, truth & ~called, ~truth & ~called]

    def value(counts: Float) -> float:
        tp, fp, fn, tn = (float(counts[kind].sum()) for kind in kinds)
        return from_counts(tp, fp, fn, tn)[name]

    return Reweighted(value)


def _boxes(
    cases: Cases,
    threshold: float,
    interval: Callable[[Reweighted, NDArray[np.bool_]], Interval],
) -> tuple[dict[str, Interval], Froc | None]:
    rows = np.flatnonzero(cases.boxed)
    if not len(rows):
        return {}, None
    truth = [cases.truth[i] for i in rows]
    said = [cases.predictions[i] for i in rows]
    shown = [(b[s >= threshold], s[s >= threshold]) for b, s in said]
    normal = np.array([not len(t) for t in truth])
    marks = np.where(normal, [float(len(s)) for _, s in shown], np.nan)
    out = {
        "rsna_score": interval(rsna_of(truth, shown), cases.boxed),
        "ap50": interval(ap_of(truth, said, 0.5), cases.boxed),
        "ap50_95": interval(ap_of(truth, said, COCO_IOU.tolist()), cases.boxed),
        "fp_per_normal_image": interval(mean_of(marks), cases.boxed),
    }
    return out, froc(truth, said)


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
