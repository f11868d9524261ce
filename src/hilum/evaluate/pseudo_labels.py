"""What a model says of images that nobody annotated -> annotations to train on (self-training).

A sure yes gives the image its boxes, a sure no none; between the two nothing is known, so those
images are left out and counted. What readers said is never replaced. Xie et al. 2020,
"Self-training with Noisy Student".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from hilum.core.errors import DataError
from hilum.data.catalog import Bool, Catalog
from hilum.evaluate.answers import match_answers
from hilum.evaluate.cases import cases_of
from hilum.evaluate.prediction_files import ImagePredictions, PredictionFile
from hilum.evaluate.truth import truths_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Sure:
    """From which scores on a model is believed."""

    present: float  # of the image: from here on the finding is there
    absent: float  # of the image: up to here it is not
    box: float  # of a box of an image where it is there

    def __post_init__(self) -> None:
        if not 0 <= self.absent < self.present <= 1 or not 0 <= self.box <= 1:
            raise DataError(
                f"absent {self.absent}, present {self.present}, box {self.box}; needed: "
                "0 <= absent < present <= 1, and a box score of 0 to 1"
            )


def pseudo_labelled(
    catalog: Catalog, predictions: PredictionFile, finding: str, sure: Sure
) -> Catalog:
    """The images whose boxes were known, and those where the model is sure, with its boxes.

    Args:
        predictions: made with a threshold of at most `sure.box`.

    Raises:
        DataError: no image has an answer, of none the model is sure, or boxes are missing.
    """
    if predictions.floor > sure.box:
        raise DataError(
            f"no box below {predictions.floor:.3g} was kept; needed: all from {sure.box} on: "
            "hilum predict --threshold 0"
        )
    label = f"label_{finding}"
    table = catalog.table.copy()
    boxed = table["boxes"].notna()
    human = (boxed | table[label].notna() if label in table else boxed).to_numpy(bool)
    matched = match_answers(catalog, predictions)
    unlabelled = matched.answered & ~human
    if not unlabelled.any():
        raise DataError(
            f"no image of {catalog.name!r} without an annotation of {finding} has an answer: "
            f"{'; '.join(matched.account.lines()) or f'{int(human.sum())} are annotated'}"
        )
    images = [one for one, own in zip(matched.images, unlabelled, strict=True) if own and one]
    present, absent = _believed(catalog.where(unlabelled), images, finding, sure)
    rows = np.flatnonzero(unlabelled)
    table.loc[rows, label] = np.where(present, 1.0, np.where(absent, 0.0, np.nan))
    boxes, names = table["boxes"].tolist(), table["box_labels"].tolist()
    for row, image, yes, no in zip(rows, images, present, absent, strict=True):
        if yes or no:
            boxes[row] = _boxes(image, finding, sure.box) if yes else []
            names[row] = [finding] * (len(boxes[row]) // 4)
    table["boxes"] = pd.Series(boxes, index=table.index, dtype=object)
    table["box_labels"] = pd.Series(names, index=table.index, dtype=object)
    known = human.copy()
    known[rows] = present | absent
    if not (present | absent).any():
        raise DataError(
            f"the model is sure of none of {len(rows)} images; needed: image scores of {finding} "
            f"of at least {sure.present} with a box of {sure.box}, or of at most {sure.absent}"
        )
    notes = (
        *catalog.notes,
        f"{int(present.sum())} images have boxes of a model, {int(absent.sum())} none by its word: "
        "no reader saw them",
    )
    made = replace(catalog, table=table, notes=notes)
    return _known(made, unanswered=~(unlabelled | human), unsure=unlabelled & ~known)


def _known(catalog: Catalog, *, unanswered: Bool, unsure: Bool) -> Catalog:
    """Without the rows of which nothing is known, counted."""
    kept = catalog.without(unanswered, "no-answer", "images have no answer of the model")
    return kept.without(unsure[~unanswered], "not-sure", "images of which the model is not sure")


def _believed(
    catalog: Catalog, images: Sequence[ImagePredictions], finding: str, sure: Sure
) -> tuple[Bool, Bool]:
    """(n,) of which images the model says yes, with a box, and of which no."""
    cases = cases_of(truths_of(catalog), images, finding)
    boxed = np.array([bool((s >= sure.box).any()) for _, s in cases.predictions], np.bool_)
    return (cases.score >= sure.present) & boxed, cases.score <= sure.absent


def _boxes(image: ImagePredictions, finding: str, at_least: float) -> list[float]:
    own = np.array([label == finding for label in image.labels], np.bool_)
    return [float(v) for v in image.boxes[own & (image.scores >= at_least)].ravel()]
