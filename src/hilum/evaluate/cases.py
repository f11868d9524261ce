"""A catalog and a prediction file joined into cases to judge. Knows no metric.

Images that the model refused or failed on have no answer; they are counted and left out of the
numbers, never taken as normal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hilum.core.errors import DataError
from hilum.data.catalog import Catalog
from hilum.evaluate.prediction_files import ImagePredictions, PredictionFile

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]

AGE_BANDS = ((0, 18), (18, 40), (40, 60), (60, 80), (80, 200))  # years, upper end left out


@dataclass(frozen=True, slots=True, eq=False)
class Cases:
    """Images with truth and prediction of one finding, row by row."""

    catalog: str  # its name
    finding: str
    rows: pd.DataFrame  # image_id, patient, sex, view, modality, source, width, height, age band
    truth: list[Float]  # boxes (n, 4); empty where `boxed` is False
    predictions: list[tuple[Float, Float]]  # boxes (m, 4), scores (m,)
    boxed: Bool  # whether someone annotated boxes of the image
    label: Float  # 1 present, 0 absent, NaN not annotated
    score: Float  # image-level score
    unanswered: int  # images of the catalog without an answer

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def labelled(self) -> Bool:
        """(n,) whether someone said that the finding is there or not."""
        return ~np.isnan(self.label)

    def where(self, keep: Bool) -> Cases:
        """The cases for which `keep` is true."""
        chosen = np.flatnonzero(keep).tolist()
        return replace(
            self,
            rows=self.rows.iloc[chosen].reset_index(drop=True),
            truth=[self.truth[i] for i in chosen],
            predictions=[self.predictions[i] for i in chosen],
            boxed=self.boxed[keep],
            label=self.label[keep],
            score=self.score[keep],
        )

    def shown(self, threshold: float) -> list[tuple[Float, Float]]:
        """Boxes and scores of at least `threshold`, image by image."""
        return [(b[s >= threshold], s[s >= threshold]) for b, s in self.predictions]


def join(catalog: Catalog, predictions: PredictionFile, finding: str = "opacity") -> Cases:
    """Cases of one finding: boxes of that label, and the image-level truth.

    Predictions are found by image id, path, or the file's name with or without its ending. The
    image-level truth is `label_<finding>`, else whether a box is there; the image-level score is
    the model's own, else its highest box score.

    Raises:
        DataError: no image of the catalog has a prediction, or two have the same one.
    """
    found = answers(catalog, predictions)
    known = [i for i, said in enumerate(found) if said is not None]
    if not known:
        raise DataError(
            f"no image of catalog {catalog.name!r} is in the predictions; ids look like "
            f"{next(iter(predictions.images), '?')!r} there"
        )
    said = [image for image in found if image is not None]
    if len({id(image) for image in said}) < len(said):
        raise DataError("two images of the catalog have the same prediction; are names unique?")
    boxes = [_true_boxes(catalog, row, finding) for row in known]
    boxed = np.array([b is not None for b in boxes])
    truth = [np.zeros((0, 4)) if b is None else b for b in boxes]
    own = [_of_finding(image, finding) for image in said]
    column = f"label_{finding}"
    label = np.where(boxed, [float(len(t) > 0) for t in truth], np.nan)
    if column in catalog.table:
        given = catalog.table[column].to_numpy(np.float64)[known]
        label = np.where(np.isnan(given), label, given)
    score = [
        float(image.whole[finding]) if finding in image.whole else float(s.max(initial=0.0))
        for image, (_, s) in zip(said, own, strict=True)
    ]
    return Cases(
        *(catalog.name, finding, _subgroup_columns(catalog.table.iloc[known]), truth, own, boxed),
        *(label, np.array(score), len(catalog) - len(known)),
    )


def answers(catalog: Catalog, predictions: PredictionFile) -> list[ImagePredictions | None]:
    """What was said of each image of the catalog, None without an answer."""
    keys = _by_key(predictions)
    return [
        _find(keys, str(image), str(path))
        for image, path in zip(catalog.table["image_id"], catalog.table["path"], strict=True)
    ]


def _by_key(predictions: PredictionFile) -> dict[str, ImagePredictions]:
    """Answers by id, file name and stem; an ambiguous short name finds nothing."""
    keys: dict[str, ImagePredictions] = {}
    doubled: set[str] = set()
    for name, image in predictions.images.items():
        if image.entry.get("status", "analysed") != "analysed":
            continue
        path = PurePosixPath(name.replace("!", "/"))
        for key in {path.name, path.stem} - {name}:
            doubled |= {key} & keys.keys()
            keys[key] = image
    short = {key: image for key, image in keys.items() if key not in doubled}
    answered = {
        name: image
        for name, image in predictions.images.items()
        if image.entry.get("status", "analysed") == "analysed"
    }
    return {**short, **answered}


def _find(
    answers: Mapping[str, ImagePredictions], image: str, path: str
) -> ImagePredictions | None:
    name = PurePosixPath(path.replace("!", "/"))
    keys = (image, path, name.name, name.stem) if path else (image,)
    return next((answers[key] for key in keys if key in answers), None)


def _true_boxes(catalog: Catalog, row: int, finding: str) -> Float | None:
    annotated = catalog.boxes(row)
    if annotated is None:
        return None
    boxes, labels = annotated
    return boxes[[label == finding for label in labels]].reshape(-1, 4).astype(np.float64)


def _of_finding(image: ImagePredictions, finding: str) -> tuple[Float, Float]:
    keep = np.array([label == finding for label in image.labels], np.bool_)
    return image.boxes[keep], image.scores[keep]


def _subgroup_columns(table: pd.DataFrame) -> pd.DataFrame:
    kept = ["image_id", "patient", "sex", "view", "modality", "source", "width", "height"]
    rows = table[kept].copy()
    ages = table["age"].to_numpy(np.float64)
    bands = np.full(len(ages), "", object)
    for low, high in AGE_BANDS:
        bands[(ages >= low) & (ages < high)] = f"{low}–{high - 1} y" if high < 200 else f"{low}+ y"
    rows["age"] = bands
    return rows.reset_index(drop=True)
