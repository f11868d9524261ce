"""All numbers of one model on one set of images: with intervals for a report, without for an epoch.

Thresholds are given from outside (an operating point chosen on validation data); nothing is
chosen here. Everything is in the pixels of the catalog's images.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hilum.core.errors import DataError
from hilum.core.findings import Findings
from hilum.data.frames import resized
from hilum.evaluate.answers import in_frame
from hilum.evaluate.breakdown import Part, breakdown
from hilum.evaluate.cases import Cases, cases_of
from hilum.evaluate.classes import ClassCases, class_cases, class_numbers
from hilum.evaluate.finding_metrics import FindingMetric, Thresholds, finding_metrics
from hilum.evaluate.kept_cases import ROW, Kept
from hilum.evaluate.metrics.classification import at_threshold
from hilum.evaluate.metrics.froc import Froc, froc
from hilum.evaluate.metrics.masks import overlaps
from hilum.evaluate.metrics.names import METRICS, base
from hilum.evaluate.prediction_files import ImagePredictions, from_findings
from hilum.evaluate.statistics.bootstrap import Interval, Reweighted, bootstrap
from hilum.evaluate.statistics.reweighted import auc_of, mean_of
from hilum.evaluate.thresholds.sweep import Grid, score_by_iou
from hilum.evaluate.truth import ImageTruth, truths_of

__all__ = ["Evaluation", "ImageTruth", "Thresholds", "evaluate_cases", "evaluate_predictions"]
__all__ += ["classes_of", "kept_of", "metric_over_images", "truths_of"]

Bool = NDArray[np.bool_]
Float = NDArray[np.float64]

SUBGROUPS = ("sex", "age", "view", "modality", "source")
FIXED = (0.25, 0.5, 0.75)  # thresholds of confusion matrices beside the operating point
FEW = 30  # subgroups of fewer images are marked


def evaluate_predictions(
    truths: Sequence[ImageTruth],
    predictions: Sequence[Findings],
    *,
    threshold: float | Thresholds = 0.5,
    classes: Sequence[str] = (),
) -> dict[str, float]:
    """Every number that annotations and predictions allow, by the names of `metrics.names`.

    A number is the mean over labels where there are several; beside it each stands under
    `<name>_<label>`. What cannot be said (AUC without negatives) is left out, never NaN.

    Args:
        truths: see `truths_of`.
        predictions: of the same images, in their pixels or those of a scaled copy; boxes of all
            scores, not only those of an operating point.
        threshold: of boxes and image scores, fixed beforehand.
        classes: exclusive classes of the image; () finds them where labels are exclusive.

    Raises:
        DataError: a different number of images, or predictions of another shape of image.
    """
    images = _in_frames(truths, predictions)
    each = {
        name: _numbers(cases_of(truths, images, name), threshold)
        for name in _labels(truths, images)
    }
    return {
        **_means(each),
        **_of_classes(truths, images, classes),
        **_of_masks(truths, predictions),
    }


def kept_of(truths: Sequence[ImageTruth], predictions: Sequence[Findings]) -> Kept:
    """What the numbers of `evaluate_predictions` are of, image by image.

    Raises:
        DataError: see there.
    """
    images = _in_frames(truths, predictions)
    return Kept(
        rows=pd.DataFrame({name: [getattr(t, name) for t in truths] for name in ROW}),
        cases={name: cases_of(truths, images, name) for name in _labels(truths, images)},
        overlaps={
            f"{key}_{name}": values
            for key, each in _overlaps(truths, predictions).items()
            for name, values in each.items()
        },
    )


def metric_over_images(
    kept: Kept,
    name: str,
    *,
    threshold: float | Thresholds = 0.5,
    classes: Sequence[str] = (),
) -> Reweighted | None:
    """The number of `evaluate_predictions` called `name` as a function of how often each image
    counts; None where these images do not have it (a loss is none of them).
    """
    each = {label: _metrics(one, threshold) for label, one in kept.cases.items()}
    chosen = [own[name] for own in each.values() if name in own]
    chosen = chosen or [
        own[base(name)]
        for label, own in each.items()
        if base(name) in own and name == f"{base(name)}_{label}"
    ]
    if chosen:
        return _mean_of([(one.metric, one.rows) for one in chosen])
    every = np.ones(len(kept.rows), np.bool_)
    masks = [mean_of(v) for own, v in kept.overlaps.items() if name in (own, base(own))]
    if masks:
        return _mean_of([(one, every) for one in masks])
    of_classes = classes_of(kept, classes)
    metric = of_classes and class_numbers(of_classes).get(name)
    return _mean_of([(metric, of_classes.patients)]) if of_classes and metric else None


def classes_of(kept: Kept, classes: Sequence[str] = ()) -> ClassCases | None:
    """Cases of exclusive classes, see `class_cases`; `patients` are their rows."""
    labels = {label: one.label for label, one in kept.cases.items()}
    scores = {label: one.score for label, one in kept.cases.items()}
    return class_cases(labels, scores, range(len(kept)), classes)


def _mean_of(metrics: Sequence[tuple[Reweighted, NDArray[Any]]]) -> Reweighted:
    """The mean of those that these counts define, each of its own rows."""
    return Reweighted(lambda counts: _mean([one.value(counts[rows]) for one, rows in metrics]))


def _in_frames(
    truths: Sequence[ImageTruth], predictions: Sequence[Findings]
) -> list[ImagePredictions]:
    """Predictions in the pixels of the truth."""
    if len(truths) != len(predictions):
        raise DataError(
            f"{len(truths)} images came with {len(predictions)} predictions; needed: as many, in "
            "the same order"
        )
    return [
        in_frame(from_findings(one), truth.size, truth.image_id)
        for truth, one in zip(truths, predictions, strict=True)
    ]


def _labels(truths: Sequence[ImageTruth], images: Sequence[ImagePredictions]) -> list[str]:
    """Labels that the truth knows and the model speaks of; of a silent one that of the boxes."""
    true = {n: None for t in truths for n in t.box_labels}
    true |= {n: None for t in truths for n in t.image_labels}
    names = {n for image in images for n in (*image.labels, *image.whole)}
    return [name for name in true if name in names] or list(true)[:1]


def _numbers(cases: Cases, threshold: float | Thresholds) -> dict[str, float]:
    if not len(cases):
        return {}
    metrics = _metrics(cases, threshold)
    values = {n: m.metric.value(np.ones(int(m.rows.sum()))) for n, m in metrics.items()}
    return {name: value for name, value in values.items() if value == value}


def _metrics(cases: Cases, threshold: float | Thresholds) -> dict[str, FindingMetric]:
    # A label that is only a score has no boxes, however many images have none of it.
    boxless = not any(map(len, cases.truth)) and not any(len(s) for _, s in cases.predictions)
    metrics = finding_metrics(cases, threshold)
    return {n: metric for n, metric in metrics.items() if not (boxless and n in _BOX_NAMES)}


_BOX_NAMES = frozenset(
    name for name in METRICS if name.startswith(("box_", "any_box_", "ap50", "rsna", "fp_per"))
)


def _means(each: dict[str, dict[str, float]]) -> dict[str, float]:
    """Macro means over labels, and each label's own numbers where there are several."""
    out = {}
    for name in dict.fromkeys(n for numbers in each.values() for n in numbers):
        values = {label: numbers[name] for label, numbers in each.items() if name in numbers}
        out[name] = float(np.mean(list(values.values())))
        if len(each) > 1:
            out |= {f"{name}_{label}": value for label, value in values.items()}
    return out


def _of_classes(
    truths: Sequence[ImageTruth], images: Sequence[ImagePredictions], classes: Sequence[str]
) -> dict[str, float]:
    names = list(classes) or list(dict.fromkeys(n for t in truths for n in t.image_labels))
    nan = float("nan")
    cases = class_cases(
        {n: np.array([t.image_labels.get(n, nan) for t in truths]) for n in names},
        {
            n: np.array([image.whole.get(n, nan) for image in images])
            for n in names
            if any(n in image.whole for image in images)
        },
        [truth.patient for truth in truths],
        classes,
    )
    if cases is None:
        return {}
    ones = np.ones(len(cases.truth))
    values = {name: metric.value(ones) for name, metric in class_numbers(cases).items()}
    return {name: value for name, value in values.items() if value == value}


def _of_masks(truths: Sequence[ImageTruth], predictions: Sequence[Findings]) -> dict[str, float]:
    """Means over images of the overlaps of each mask that both have."""
    out: dict[str, float] = {}
    for key, each in _overlaps(truths, predictions).items():
        means = {name: _mean(own) for name, own in sorted(each.items())}
        known = {name: value for name, value in means.items() if value == value}
        if known:
            out |= {f"{key}_{name}": value for name, value in known.items()}
            out[key] = float(np.mean(list(known.values())))
    return out


def _overlaps(
    truths: Sequence[ImageTruth], predictions: Sequence[Findings]
) -> dict[str, dict[str, Float]]:
    """Number -> mask -> (n,) of each image, NaN where it has not both masks."""
    out: dict[str, dict[str, Float]] = {}
    for row, (truth, one) in enumerate(zip(truths, predictions, strict=True)):
        for name in truth.masks.keys() & one.masks.keys():
            height, width = (
                (truth.height, truth.width) if truth.size.known else one.masks[name].shape
            )
            true, mask = truth.masks[name](height, width), resized(one.masks[name], height, width)
            for key, value in overlaps(true, mask).items():
                values = out.setdefault(key, {}).setdefault(name, np.full(len(truths), np.nan))
                values[row] = value
    return out


def _mean(values: Sequence[float] | Float) -> float:
    """Without NaN; NaN where nothing else is there."""
    known = [value for value in values if value == value]
    return float(np.mean(known)) if known else float("nan")


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

    def to_json(self) -> dict[str, Any]:
        kept = ("column", "value", "images", "positives", "few")
        return {**{key: getattr(self, key) for key in kept}, "auc": self.auc.to_json()}


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """What the report shows of one finding."""

    threshold: float  # of boxes
    image_threshold: float
    boxes: dict[str, Interval]  # empty without box annotations
    any_box: dict[str, Interval]  # images by their best box
    image: dict[str, Interval]  # empty without both kinds of image
    why_not: dict[str, str]  # why a number, or all of a level, is not there
    subgroups: tuple[Subgroup, ...]
    curve: Froc | None
    grid: Grid | None  # F1 of boxes by score and IoU
    confusion: tuple[dict[str, float], ...]  # of images, at fixed thresholds
    parts: tuple[Part, ...] = field(default=())  # true boxes by size, place and number

    @property
    def numbers(self) -> dict[str, Interval]:
        """Of all levels, by name."""
        return {**self.boxes, **self.any_box, **self.image}

    def to_json(self) -> dict[str, Any]:
        """Numbers only; NaN becomes null."""
        return {
            "threshold": self.threshold,
            "image_threshold": self.image_threshold,
            **{
                level: {name: value.to_json() for name, value in getattr(self, level).items()}
                for level in ("boxes", "any_box", "image")
            },
            "why_not": self.why_not,
            "subgroups": [group.to_json() for group in self.subgroups],
            "grid": self.grid.to_json() if self.grid else None,
            "confusion": [
                {k: None if v != v else v for k, v in matrix.items()} for matrix in self.confusion
            ],
            "breakdown": [part.to_json() for part in self.parts],
        }


def evaluate_cases(
    cases: Cases,
    *,
    threshold: float | Thresholds = 0.5,
    repeats: int = 1000,
    seed: int = 0,
) -> Evaluation:
    """Boxes where boxes are annotated, images where images are, each number with its interval.

    Args:
        threshold: of box and image scores, one for both or each its own.

    Raises:
        DataError: neither is annotated.
    """
    if not cases.boxed.any() and not cases.known.any():
        raise DataError(f"no image says whether {cases.finding} is there: nothing to evaluate")
    patients, at = cases.rows["patient"].to_numpy(), Thresholds.of(threshold)

    def interval(metric: Reweighted, rows: Bool) -> Interval:
        return bootstrap(metric, patients[rows], repeats=repeats, seed=seed)

    values: dict[str, dict[str, Interval]] = {"boxes": {}, "any_box": {}, "image": {}}
    for name, one in finding_metrics(cases, at).items():
        values[one.level][name] = interval(one.metric, one.rows)
    part = cases.where(cases.boxed)
    some = cases.detects and any(len(t) for t in part.truth)
    return Evaluation(
        threshold=at.boxes,
        image_threshold=at.image,
        **values,
        why_not=_why_not(cases, values),
        subgroups=_subgroups(cases, cases.labelled, interval) if values["image"] else (),
        curve=froc(part.truth, part.predictions) if cases.detects and len(part) else None,
        grid=score_by_iou(part.truth, part.predictions) if some else None,
        confusion=_confusion(cases, at.image),
        parts=breakdown(cases, at.boxes, repeats=repeats, seed=seed) if some else (),
    )


def _why_not(cases: Cases, values: dict[str, dict[str, Interval]]) -> dict[str, str]:
    """Reasons of levels and numbers that are not there."""
    out = {}
    if not cases.detects:
        out["boxes"] = "the model gives no boxes"
    elif not values["boxes"]:
        out["boxes"] = f"nobody annotated boxes of {cases.finding} in these images"
    if not cases.scored:
        out["image"] = f"the model gives no score of {cases.finding}"
    elif not values["image"]:
        known = int(cases.known.sum())
        positive = int((cases.label == 1).sum())
        out["image"] = (
            f"{known} of {len(cases)} images have a label for {cases.finding}, {positive} of them "
            "with the finding; needed: images with and without it"
        )
    for numbers in values.values():
        for name, value in numbers.items():
            if value.value != value.value:
                out[name] = f"needed: {METRICS[name].needs}"
            elif value.repeats and not value.low <= value.high:
                out[name] = f"no interval; needed in every replicate: {METRICS[name].needs}"
    return out


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
    cases: Cases, labelled: Bool, interval: Callable[[Reweighted, Bool], Interval]
) -> tuple[Subgroup, ...]:
    out = []
    for column in (name for name in SUBGROUPS if name in cases.rows):
        values = cases.rows[column].to_numpy()
        known = sorted({str(v) for v in values[labelled]} - {""})
        for value in known if len(known) > 1 else ():  # one group is all cases
            rows = labelled & (values == value)
            label = cases.label[rows] == 1
            out.append(
                Subgroup(
                    column=column,
                    value=value,
                    images=int(rows.sum()),
                    positives=int(label.sum()),
                    auc=interval(auc_of(label, cases.score[rows]), rows),
                )
            )
    return tuple(out)
