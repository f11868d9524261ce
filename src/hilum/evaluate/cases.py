"""Truth and predictions of one finding, row by row. Knows no metric.

Images that the model refused or failed on have no answer; they are counted and left out of the
numbers, never taken as normal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hilum.core.errors import DataError
from hilum.data.catalog import Catalog
from hilum.evaluate.answers import Account, Answers, match_answers
from hilum.evaluate.prediction_files import ImagePredictions, PredictionFile
from hilum.evaluate.truth import ImageTruth, truths_of

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]
Int = NDArray[np.int64]

AGE_BANDS = ((0, 18), (18, 40), (40, 60), (60, 80), (80, 200))  # years, upper end left out


@dataclass(frozen=True, slots=True, eq=False)
class Cases:
    """Images with truth and prediction of one finding, row by row."""

    catalog: str  # its name
    finding: str
    rows: pd.DataFrame  # image_id, patient, width, height; of a catalog what groups them, too
    truth: list[Float]  # boxes (n, 4); empty where `boxed` is False
    predictions: list[tuple[Float, Float]]  # boxes (m, 4), scores (m,)
    boxed: Bool  # whether someone annotated boxes of the image
    label: Float  # 1 present, 0 absent, NaN not annotated
    score: Float  # image-level score
    account: Account | None = None  # what was left out of a catalog, and why
    detects: bool = True  # whether the model gives boxes at all
    scored: bool = True  # whether it says of images how sure it is of the finding

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def unanswered(self) -> int:
        """Images of the catalog without an answer."""
        return self.account.unanswered if self.account else 0

    @property
    def known(self) -> Bool:
        """(n,) whether someone said that the finding is there or not."""
        return ~np.isnan(self.label)

    @property
    def labelled(self) -> Bool:
        """(n,) whether someone said so, and the model too: none of one that only draws masks."""
        return self.known & self.scored

    def where(self, keep: Bool) -> Cases:
        """The cases for which `keep` is true."""
        return self.at(np.flatnonzero(keep))

    def at(self, places: Int) -> Cases:
        """The cases at these places, in their order."""
        return replace(
            self,
            rows=self.rows.iloc[places].reset_index(drop=True),
            truth=[self.truth[i] for i in places.tolist()],
            predictions=[self.predictions[i] for i in places.tolist()],
            boxed=self.boxed[places],
            label=self.label[places],
            score=self.score[places],
        )

    def shown(self, threshold: float) -> list[tuple[Float, Float]]:
        """Boxes and scores of at least `threshold`, image by image."""
        return [(b[s >= threshold], s[s >= threshold]) for b, s in self.predictions]


def cases_of(
    truths: Sequence[ImageTruth],
    predictions: Sequence[ImagePredictions],
    finding: str,
    *,
    catalog: str = "",
    rows: pd.DataFrame | None = None,
    account: Account | None = None,
    detects: bool = True,
    scored: bool = True,
) -> Cases:
    """Cases of one finding: boxes of that label, and the image-level truth.

    The image-level score is the model's own, else its highest box score.

    Args:
        truths, predictions: of the same images, in the same pixels.
        rows: what else is known of the images, for subgroups.
        detects: False for a model that gives no boxes: numbers of boxes do not speak of it.
        scored: False for a model that gives no score of the image either.
    """
    boxes = [truth.boxes(finding) for truth in truths]
    own = [_of_finding(image, finding) for image in predictions]
    if rows is None:
        known = ("image_id", "patient", "width", "height")
        rows = pd.DataFrame({name: [getattr(t, name) for t in truths] for name in known})
    score = [
        float(image.whole[finding]) if finding in image.whole else float(s.max(initial=0.0))
        for image, (_, s) in zip(predictions, own, strict=True)
    ]
    return Cases(
        catalog=catalog,
        finding=finding,
        rows=rows,
        truth=[np.zeros((0, 4)) if b is None else b for b in boxes],
        predictions=own,
        boxed=np.array([b is not None for b in boxes], np.bool_),
        label=np.array([truth.label(finding) for truth in truths]),
        score=np.array(score),
        account=account,
        detects=detects,
        scored=scored,
    )


def join(
    catalog: Catalog,
    predictions: PredictionFile,
    finding: str = "opacity",
    *,
    answers: Answers | None = None,
) -> Cases:
    """Cases of a catalog's images that a prediction file answers.

    Args:
        answers: of these images, where they were matched as part of a larger catalog.

    Raises:
        DataError: no image of the catalog has an answer, or one is of another frame.
    """
    matched = answers or match_answers(catalog, predictions)
    known = matched.answered
    if not known.any():
        raise DataError(_no_answer(catalog, predictions, matched.account))
    part = catalog.where(known)
    return cases_of(
        truths_of(part),
        [image for image in matched.images if image is not None],
        finding,
        catalog=catalog.name,
        rows=subgroup_columns(part.table),
        account=matched.account,
        detects=predictions.detects,
        scored=predictions.detects
        or any(finding in image.whole for image in predictions.images.values()),
    )


def _no_answer(catalog: Catalog, predictions: PredictionFile, account: Account) -> str:
    return (
        f"no image of catalog {catalog.name!r} is in the predictions: "
        f"{'; '.join(account.lines())}. Ids look like {catalog.table['image_id'].iat[0]!r} in the "
        f"catalog, {next(iter(predictions.images), '?')!r} in the predictions"
    )


def _of_finding(image: ImagePredictions, finding: str) -> tuple[Float, Float]:
    keep = np.array([label == finding for label in image.labels], np.bool_)
    return image.boxes[keep], image.scores[keep]


def subgroup_columns(table: pd.DataFrame) -> pd.DataFrame:
    """What groups the images of a catalog's table: sex, view, age band, source ..."""
    kept = ["image_id", "patient", "sex", "view", "modality", "source", "width", "height"]
    rows = table[kept].copy()
    ages = table["age"].to_numpy(np.float64)
    bands = np.full(len(ages), "", object)
    for low, high in AGE_BANDS:
        bands[(ages >= low) & (ages < high)] = f"{low}–{high - 1} y" if high < 200 else f"{low}+ y"
    rows["age"] = bands
    return rows.reset_index(drop=True)
