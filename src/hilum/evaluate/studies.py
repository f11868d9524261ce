"""Studies evaluated where the catalog says what is true of them. Knows no way of combining images.

A study's score is the model's own where the prediction file has one, else combined from its
images by a function of the caller. Each finding is once the positive one: a row "negative" says
how well studies without pneumonia are told from all others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hilum.data.catalog import Catalog
from hilum.evaluate.answers import Answers
from hilum.evaluate.classes import ClassCases, class_cases
from hilum.evaluate.finding_metrics import of_scores
from hilum.evaluate.prediction_files import ImagePredictions, PredictionFile
from hilum.evaluate.statistics.bootstrap import Interval, bootstrap
from hilum.evaluate.truth import truths_of

Float = NDArray[np.float64]
Combine = Callable[[Sequence[float]], float]


@dataclass(frozen=True, slots=True, eq=False)
class StudyCases:
    """Truth and score of one finding, study by study."""

    name: str
    studies: tuple[str, ...]
    patients: NDArray[np.object_]
    label: Float  # 0 or 1
    score: Float
    own: int  # studies whose score is the model's own; the others are combined from images
    unanswered: int


@dataclass(frozen=True, slots=True)
class StudyEvaluation:
    """Numbers of one finding at study level."""

    name: str  # the positive class
    studies: int
    positives: int
    own: int
    unanswered: int
    numbers: dict[str, Interval]  # empty where all studies are of one kind
    why_not: str = ""

    def to_json(self) -> dict[str, Any]:
        kept = ("name", "studies", "positives", "own", "unanswered", "why_not")
        numbers = {name: value.to_json() for name, value in self.numbers.items()}
        return {**{key: getattr(self, key) for key in kept}, "numbers": numbers}


def study_cases(
    catalog: Catalog,
    answers: Answers,
    predictions: PredictionFile,
    *,
    finding: str,
    combine: Combine,
) -> tuple[StudyCases, ...]:
    """Every `study_<name>` of the catalog that the model scores; and `finding`, if it is no such
    column and some study has several images: there it is present in a study if in any image."""
    table = catalog.table[catalog.table["study"] != ""]
    if not len(table):
        return ()
    truths = {
        column.removeprefix("study_"): table.groupby("study")[column].max()
        for column in table.columns
        if column.startswith("study_")
    }
    if finding not in truths and table["study"].duplicated().any():
        labels = np.array([truth.label(finding) for truth in truths_of(catalog)])
        of_rows = pd.Series(labels[table.index.to_numpy()], table.index)
        truths[finding] = of_rows.groupby(table["study"]).agg(_any)
    patient = table.groupby("study")["patient"].first()
    of_study: dict[str, list[ImagePredictions]] = {study: [] for study in table["study"]}
    for row, study in zip(table.index, table["study"], strict=True):
        image = answers.images[row]
        if image is not None:
            of_study[study].append(image)
    own = _own_scores(predictions)
    every = [
        _cases(name, truth.dropna(), _scores(name, of_study, own, combine), patient)
        for name, truth in truths.items()
    ]
    return tuple(cases for cases in every if len(cases.label))


def evaluate_studies(
    cases: Sequence[StudyCases], threshold: float, *, repeats: int = 1000, seed: int = 0
) -> tuple[StudyEvaluation, ...]:
    """Numbers with intervals over patients."""
    return tuple(_evaluation(one, threshold, repeats, seed) for one in cases)


def _evaluation(one: StudyCases, threshold: float, repeats: int, seed: int) -> StudyEvaluation:
    label = one.label == 1
    both = label.any() and not label.all()
    metrics = of_scores(label, one.score, threshold) if both else {}
    kind = "have it" if label.any() else "lack it"
    return StudyEvaluation(
        name=one.name,
        studies=len(label),
        positives=int(label.sum()),
        own=one.own,
        unanswered=one.unanswered,
        numbers={
            name: bootstrap(metric, one.patients, repeats=repeats, seed=seed)
            for name, metric in metrics.items()
        },
        why_not="" if both else f"all {len(label)} studies {kind}; needed: some of both kinds",
    )


def study_classes(cases: Sequence[StudyCases], classes: Sequence[str] = ()) -> ClassCases | None:
    """The study's classes, if they are exclusive; see `class_cases`."""
    studies = sorted({study for one in cases for study in one.studies})
    labels = {one.name: _by_study(one, one.label, studies) for one in cases}
    scores = {one.name: _by_study(one, one.score, studies) for one in cases}
    patients = {s: p for one in cases for s, p in zip(one.studies, one.patients, strict=True)}
    return class_cases(labels, scores, [patients[study] for study in studies], classes)


def _by_study(one: StudyCases, values: Float, studies: Sequence[str]) -> Float:
    known = dict(zip(one.studies, values.tolist(), strict=True))
    return np.array([known.get(study, np.nan) for study in studies])


class _Score(NamedTuple):
    value: float
    own: bool  # the model's for the study, not made of its images'


def _scores(
    name: str,
    of_study: Mapping[str, Sequence[ImagePredictions]],
    own: Mapping[str, Mapping[str, float]],
    combine: Combine,
) -> dict[str, _Score]:
    """Study -> its score, of those that have one."""
    out = {}
    for study, images in of_study.items():
        scores = [image.whole[name] for image in images if name in image.whole]
        if name in own.get(study, {}):
            out[study] = _Score(float(own[study][name]), own=True)
        elif scores:
            out[study] = _Score(combine(scores), own=False)
    return out


def _cases(
    name: str,
    truth: pd.Series[float],
    scores: Mapping[str, _Score],
    patient: pd.Series[str],
) -> StudyCases:
    studies = [study for study in map(str, truth.index) if study in scores]
    return StudyCases(
        name=name,
        studies=tuple(studies),
        patients=np.array([patient[study] for study in studies], object),
        label=np.array([float(truth[study]) for study in studies]),
        score=np.array([scores[study].value for study in studies]),
        own=sum(scores[study].own for study in studies),
        unanswered=len(truth) - len(studies),
    )


def _own_scores(predictions: PredictionFile) -> dict[str, dict[str, float]]:
    """What the file says of whole studies: SIIM-COVID rows `ID_study`, `studies` of findings."""
    own = {
        name.removesuffix("_study"): dict(image.whole)
        for name, image in predictions.images.items()
        if name.endswith("_study")
    }
    for study in predictions.header.get("studies") or []:
        if study["study_instance_uid"]:
            own[study["study_instance_uid"]] = dict(study["scores"])
    return own


def _any(labels: pd.Series[float]) -> float:
    """1 if any image shows it, 0 if all are known not to, else unknown."""
    if (labels == 1).any():
        return 1.0
    return 0.0 if (labels == 0).all() else float("nan")
