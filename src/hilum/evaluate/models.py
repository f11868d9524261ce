"""Prediction files of one model or several against a catalog: settled, evaluated, compared.

What is chosen (operating points, calibration) is chosen on the validation part; everything else
happens on the images that all models answered. Knows no page and no command line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hilum.core.errors import ConfigError
from hilum.core.manifest import BOX, NO_DATA, OperatingPoint
from hilum.data.catalog import Catalog
from hilum.evaluate.answers import Answers, match_answers
from hilum.evaluate.asked import check_asked
from hilum.evaluate.cases import Cases, join
from hilum.evaluate.classes import ClassCases, ClassEvaluation, class_cases, evaluate_classes
from hilum.evaluate.compare import Compared, answered_by_all, compare
from hilum.evaluate.evaluation import Evaluation, evaluate_cases
from hilum.evaluate.finding_metrics import FindingMetric, Thresholds
from hilum.evaluate.prediction_files import PredictionFile, model_names, read_predictions
from hilum.evaluate.segmentation import MaskEvaluation, evaluate_masks
from hilum.evaluate.statistics.bootstrap import Interval
from hilum.evaluate.statistics.reweighted import mean_of
from hilum.evaluate.studies import (
    Combine,
    StudyEvaluation,
    evaluate_studies,
    study_cases,
    study_classes,
)
from hilum.evaluate.thresholds import validation
from hilum.evaluate.thresholds.sweep import (
    Grid,
    Suppress,
    nms_by_epoch,
    score_by_epoch,
    suppressed,
)
from hilum.evaluate.thresholds.validation import Level
from hilum.evaluate.truth import truths_of

Float = NDArray[np.float64]
UNKNOWN = 0.5  # threshold where nobody says one
EPOCH_NMS = 0.5  # IoU of suppression in the grids of score thresholds


@dataclass(frozen=True, slots=True)
class Settings:
    """What is evaluated, and how things are settled beforehand."""

    finding: str = "opacity"
    part: str = ""  # of the catalog's split, "" all
    validation_part: str = ""
    choose: Sequence[str] = ()  # operating points by their aims
    calibrate: str = ""  # temperature, logistic or isotonic
    thresholds: Sequence[float] = ()  # one, or one a model; () = the runs' own, else .5
    classes: Sequence[str] = ()  # exclusive ones; () = found where labels are exclusive
    compare: Sequence[str] = ()  # numbers in which models are compared; () = the usual ones
    repeats: int = 1000


@dataclass(frozen=True, slots=True, eq=False)
class EvaluatedModel:
    """One model: its name, its cases and its numbers."""

    name: str
    cases: Cases
    evaluation: Evaluation
    masks: tuple[MaskEvaluation, ...] = ()
    studies: tuple[StudyEvaluation, ...] = ()
    classes: tuple[ClassEvaluation, ...] = ()  # of images and of studies
    points: tuple[OperatingPoint, ...] = ()  # chosen on validation cases, here or by the run
    assumed: tuple[str, ...] = ()  # levels whose threshold nobody said
    before: Cases | None = None  # the same cases before calibration

    @property
    def labels(self) -> tuple[NDArray[np.bool_], Float]:
        """Truth and score of the images with a label."""
        rows = self.cases.labelled
        return self.cases.label[rows] == 1, self.cases.score[rows]

    @property
    def numbers(self) -> dict[str, Interval]:
        """Every number by its name; of masks and classes the first kind that has it."""
        out: dict[str, Interval] = {}
        parts: tuple[MaskEvaluation | ClassEvaluation, ...] = (*self.masks, *self.classes)
        for part in parts:
            out = {**part.numbers, **out}
        return {**out, **self.evaluation.numbers}

    def lines(self) -> list[str]:
        """What a terminal shows: what was left out, then every number, then why one is missing."""
        out = self.cases.account.lines() if self.cases.account else []
        out += [
            f"{level} threshold: {UNKNOWN:g}, as neither the run nor --threshold says one"
            for level in self.assumed
        ]
        sections = [("", self.evaluation.numbers), *_sections(self)]
        for heading, numbers in sections:
            out += [f"{heading}{name:20} {value}" for name, value in numbers.items()]
        reasons = [*self.evaluation.why_not.items()]
        reasons += [(f"study {one.name}", one.why_not) for one in self.studies if one.why_not]
        return out + [f"{name}: {why}" for name, why in reasons]


def _sections(model: EvaluatedModel) -> list[tuple[str, dict[str, Interval]]]:
    """Numbers of masks, studies and classes with what they are of."""
    return [
        *((f"mask {one.name}: ", one.numbers) for one in model.masks),
        *((f"study {one.name}: ", one.numbers) for one in model.studies),
        *((f"{one.level} classes: ", one.numbers) for one in model.classes),
    ]


@dataclass(frozen=True, slots=True, eq=False)
class EvaluatedModels:
    """Models on the same images, their differences, and grids over epochs."""

    catalog: Catalog  # the evaluated part
    models: tuple[EvaluatedModel, ...]
    compared: tuple[Compared, ...] = ()
    epochs: tuple[Grid, ...] = field(default=())


def evaluate_models(
    catalog: Catalog,
    files: Sequence[Path],
    settings: Settings,
    combine: Combine,
) -> EvaluatedModels:
    """Read, match, settle, evaluate and compare.

    Args:
        catalog: the whole one: images are matched in all of it, then split.
        combine: a study's score from those of its images.

    Raises:
        ConfigError: options that do not fit together.
        DataError: predictions that do not fit the catalog.
    """
    names = model_names(files)
    thresholds = _one_each(settings.thresholds, len(files))
    if (settings.choose or settings.calibrate) and not settings.validation_part:
        raise ConfigError(
            "--choose and --calibrate need --validation-part: never the evaluated one"
        )
    predictions = [read_predictions(file, settings.finding) for file in files]
    for file in predictions:
        check_asked(catalog, file, settings.finding)
    members = [
        _Member(name=name, file=file, answers=match_answers(catalog, file), threshold=threshold)
        for name, file, threshold in zip(names, predictions, thresholds, strict=True)
    ]
    shared = answered_by_all([one.cases(catalog, settings.part, settings) for one in members])
    settled = [
        _settle(one, cases, catalog, settings) for one, cases in zip(members, shared, strict=True)
    ]
    kept = catalog.in_part(settings.part)
    part = catalog.where(kept)
    ids = frozenset(shared[0].rows["image_id"])
    models = tuple(
        _evaluated(
            one, part, one.member.answers.where(kept).only(ids), settings=settings, combine=combine
        )
        for one in settled
    )
    compared = compare(
        {model.name: model.cases for model in models},
        [one.thresholds for one in settled],
        metrics=settings.compare,
        masks=_mask_metrics(models, settings.finding),
        repeats=settings.repeats,
    )
    return EvaluatedModels(catalog=part, models=models, compared=compared)


@dataclass(frozen=True, slots=True, eq=False)
class _Member:
    """One model's predictions, matched with the whole catalog."""

    name: str
    file: PredictionFile
    answers: Answers
    threshold: float | None  # None: nobody gave one

    def cases(self, catalog: Catalog, names: str, settings: Settings) -> Cases:
        """Truth and prediction of the images of a part, or of several."""
        kept = catalog.in_part(names)
        part = catalog.where(kept)
        return join(part, self.file, settings.finding, answers=self.answers.where(kept))


@dataclass(frozen=True, slots=True, eq=False)
class _Settled:
    """What is fixed of a model before it is evaluated."""

    member: _Member
    cases: Cases
    thresholds: Thresholds
    points: tuple[OperatingPoint, ...]
    assumed: tuple[str, ...]
    before: Cases | None  # the cases before calibration


def _settle(member: _Member, cases: Cases, catalog: Catalog, settings: Settings) -> _Settled:
    """Points by their aims; of a level without one the threshold given, else the run's own."""
    threshold, before = member.threshold, cases if settings.calibrate else None
    points: tuple[OperatingPoint, ...] = ()
    if settings.validation_part:
        on = member.cases(catalog, settings.validation_part, settings)
        validation.check_apart(on, cases)
        where = f"{on.catalog}, {len(on)} validation images"
        if settings.calibrate:
            maps = validation.calibrate(on, settings.calibrate, where)
            on, cases = validation.calibrated(on, maps), validation.calibrated(cases, maps)
        points = tuple(validation.choose(text, on, where) for text in settings.choose)
    if threshold is None and not settings.calibrate:  # the run's are of scores as they came
        points += _own_points(member.file, settings.finding, points)
    given = UNKNOWN if threshold is None else threshold
    chosen = validation.by_level(points)
    levels: dict[Level, bool] = {
        "boxes": cases.detects and bool(cases.boxed.any()),
        "image": bool(cases.labelled.any()),
    }
    silent = {level for level, there in levels.items() if there} - chosen.keys()
    return _Settled(
        member=member,
        cases=cases,
        thresholds=Thresholds(
            **{name: chosen[name].threshold if name in chosen else given for name in levels}
        ),
        points=points,
        assumed=tuple(sorted(silent)) if threshold is None else (),
        before=before,
    )


def _own_points(
    file: PredictionFile, finding: str, chosen: Sequence[OperatingPoint]
) -> tuple[OperatingPoint, ...]:
    """The run's first points of boxes and of the finding's score that were chosen on data, of the
    levels that have none."""
    levels = {point.score == BOX for point in chosen}
    own: dict[str, OperatingPoint] = {}
    for point in file.operating_points:
        wanted = point.score in (BOX, finding) and (point.score == BOX) not in levels
        if wanted and point.chosen_on != NO_DATA:
            own.setdefault(point.score, point)
    return tuple(own.values())


def _evaluated(
    settled: _Settled, part: Catalog, answers: Answers, settings: Settings, combine: Combine
) -> EvaluatedModel:
    """Args: answers: of the evaluated part, without images that some model did not answer."""
    repeats, at, file = settings.repeats, settled.thresholds, settled.member.file
    studies = study_cases(part, answers, file, finding=settings.finding, combine=combine)
    levels = {
        "image": _image_classes(part, answers, settings.classes),
        "study": study_classes(studies, settings.classes),
    }
    return EvaluatedModel(
        name=settled.member.name,
        cases=settled.cases,
        evaluation=evaluate_cases(settled.cases, threshold=at, repeats=repeats),
        masks=evaluate_masks(truths_of(part), answers, file, threshold=at.image, repeats=repeats),
        studies=evaluate_studies(studies, at.image, repeats=repeats),
        classes=tuple(
            evaluate_classes(one, level, repeats=repeats)
            for level, one in levels.items()
            if one is not None
        ),
        points=settled.points,
        assumed=settled.assumed,
        before=settled.before,
    )


def _mask_metrics(
    models: Sequence[EvaluatedModel], finding: str
) -> dict[str, dict[str, FindingMetric]]:
    """Numbers of the finding's mask on the images where every model has one."""
    every = [{mask.name: mask.each for mask in one.masks}.get(finding, {}) for one in models]
    shared = set(every[0]).intersection(*every)
    out: dict[str, dict[str, FindingMetric]] = {model.name: {} for model in models}
    for model, each in zip(models, every, strict=True) if shared else ():
        ids = model.cases.rows["image_id"]
        rows = ids.isin(shared).to_numpy()
        for name in ("dice", "dice_positive", "iou", "f2_mask"):
            values = [each[image][name] for image in ids[rows]]
            out[model.name][name] = FindingMetric("mask", mean_of(values), rows)
    return out


def _image_classes(part: Catalog, answers: Answers, classes: Sequence[str]) -> ClassCases | None:
    nan = float("nan")
    names = {n for image in answers.images if image for n in image.whole}
    return class_cases(
        {n: part.table[f"label_{n}"].to_numpy(np.float64) for n in part.label_names},
        {
            n: np.array([image.whole.get(n, nan) if image else nan for image in answers.images])
            for n in part.label_names
            if n in names
        },
        part.table["patient"].tolist(),
        classes,
    )


def epoch_grids(
    catalog: Catalog,
    files: Mapping[float, Path],
    settings: Settings,
    suppress: Suppress,
) -> tuple[Grid, ...]:
    """Heat-maps over the epochs of a training, on the images that all epochs answered.

    Of the validation part where there is one, else of the evaluated one. The RSNA score of the
    NMS grid is that of the boxes from the first threshold on.

    Raises:
        ConfigError: no true box in these images.
    """
    if not files:
        return ()
    kept = catalog.in_part(settings.validation_part or settings.part)
    part = catalog.where(kept)
    every = []
    for file in files.values():
        predictions = read_predictions(file, settings.finding)
        own = match_answers(catalog, predictions).where(kept)
        every.append(join(part, predictions, settings.finding, answers=own))
    cases = answered_by_all(every)
    boxed = cases[0].boxed
    if not any(len(boxes) for boxes in cases[0].truth):
        raise ConfigError("--epoch: no true box in these images: nothing to show over epochs")
    truth = cases[0].where(boxed).truth
    raw = {n: one.where(boxed).predictions for n, one in zip(files, cases, strict=True)}
    raw = dict(sorted(raw.items()))
    apart = {n: suppressed(one, suppress, EPOCH_NMS) for n, one in raw.items()}
    threshold = settings.thresholds[0] if settings.thresholds else UNKNOWN
    return (
        *(score_by_epoch(truth, apart, metric=name) for name in ("box_f1", "rsna_score")),
        *(
            nms_by_epoch(truth, raw, suppress, metric=name, threshold=threshold)
            for name in ("ap50", "rsna_score")
        ),
    )


def parse_epochs(texts: Sequence[str]) -> dict[float, Path]:
    """ "3=epoch3.json" -> its number and file.

    Raises:
        ConfigError: no number, no file, or a number twice.
    """
    files: dict[float, Path] = {}
    for text in texts:
        number, equals, file = text.partition("=")
        if not equals or not number.isdigit() or float(number) in files:
            raise ConfigError(f"--epoch {text!r}: needed: N=FILE, each N once")
        files[float(number)] = Path(file)
    return files


def _one_each(thresholds: Sequence[float], models: int) -> list[float | None]:
    if not thresholds:
        return [None] * models
    if len(thresholds) not in (1, models):
        raise ConfigError(f"{len(thresholds)} thresholds for {models} models; needed: one, or each")
    return [*thresholds] * (models // len(thresholds))
