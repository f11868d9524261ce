"""Studies judged where the catalog says what is true of them. Knows no way of combining images.

A study's score is the model's own where the prediction file has one, else combined from its
images by a function of the caller.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hilum.data.catalog import Catalog
from hilum.evaluate.cases import answers
from hilum.evaluate.measures import of_scores
from hilum.evaluate.prediction_files import ImagePredictions, PredictionFile
from hilum.evaluate.statistics.bootstrap import Interval, bootstrap

Float = NDArray[np.float64]
Combine = Callable[[Sequence[float]], float]


@dataclass(frozen=True, slots=True, eq=False)
class StudyCases:
    """Truth and score of one finding, study by study."""

    name: str
    patients: NDArray[np.object_]
    label: Float  # 0 or 1
    score: Float
    own: int  # studies whose score is the model's own; the others are combined from images
    unanswered: int


@dataclass(frozen=True, slots=True)
class StudyJudgement:
    """Numbers of one finding at study level."""

    name: str
    studies: int
    positives: int
    own: int
    unanswered: int
    numbers: dict[str, Interval]

    def to_json(self) -> dict[str, Any]:
        numbers = {
            name: {k: None if v != v else v for k, v in value.to_json().items()}
            for name, value in self.numbers.items()
        }
        kept = ("name", "studies", "positives", "own", "unanswered")
        return {**{key: getattr(self, key) for key in kept}, "numbers": numbers}


def study_cases(
    catalog: Catalog, predictions: PredictionFile, finding: str, combine: Combine
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
        labels = _image_labels(catalog, finding)[table.index.to_numpy()]
        truths[finding] = pd.Series(labels, table.index).groupby(table["study"]).agg(_any)
    patient = table.groupby("study")["patient"].first()
    said = answers(catalog, predictions)
    of_study: dict[str, list[ImagePredictions | None]] = {}
    for row, study in zip(table.index, table["study"], strict=True):
        of_study.setdefault(study, []).append(said[row])
    own = _own_scores(predictions)
    found = [
        _cases(name, truth.dropna(), patient, of_study, own, combine)
        for name, truth in truths.items()
    ]
    return tuple(cases for cases in found if len(cases.label))


def judge_studies(
    cases: Sequence[StudyCases], threshold: float, *, repeats: int = 1000, seed: int = 0
) -> tuple[StudyJudgement, ...]:
    """Numbers with intervals over patients; findings of one kind of study only are left out."""
    out = []
    for one in cases:
        label = one.label == 1
        if not label.any() or label.all():
            continue
        numbers = {
            name: bootstrap(metric, one.patients, repeats=repeats, seed=seed)
            for name, metric in of_scores(label, one.score, threshold).items()
        }
        out.append(
            StudyJudgement(
                *(one.name, len(label), int(label.sum()), one.own, one.unanswered, numbers)
            )
        )
    return tuple(out)


def _cases(
    name: str,
    truth: pd.Series[float],
    patient: pd.Series[str],
    of_study: dict[str, list[ImagePredictions | None]],
    own: dict[str, dict[str, float]],
    combine: Combine,
) -> StudyCases:
    rows, unanswered, from_model = [], 0, 0
    for key, label in truth.items():
        study = str(key)
        given = own.get(study, {})
        heard = [image.whole[name] for image in of_study[study] if image and name in image.whole]
        if name in given:
            from_model += 1
            rows.append((patient[study], float(label), float(given[name])))
        elif heard:
            rows.append((patient[study], float(label), combine(heard)))
        else:
            unanswered += 1
    patients, labels, scores = zip(*rows, strict=True) if rows else ((), (), ())
    return StudyCases(
        *(name, np.array(patients, object), np.array(labels, float), np.array(scores, float)),
        *(from_model, unanswered),
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


def _image_labels(catalog: Catalog, finding: str) -> Float:
    """(n,) 1, 0 or NaN for each image."""
    column = f"label_{finding}"
    if column in catalog.table:
        return catalog.table[column].to_numpy(np.float64)
    boxes = [catalog.boxes(row) for row in range(len(catalog))]
    return np.array([np.nan if b is None else float(finding in b[1]) for b in boxes])


def _any(labels: pd.Series[float]) -> float:
    """1 if any image shows it, 0 if all are known not to, else unknown."""
    if (labels == 1).any():
        return 1.0
    return 0.0 if (labels == 0).all() else float("nan")
