"""Free-response ROC: lesions found against false marks per image; any-box image scores.

A mark is a predicted box; it finds a lesion when it is matched to it (best score first, free true
box of the highest IoU). A second mark on a found lesion is a false one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hilum.core.errors import ConfigError, DataError
from hilum.evaluate.metrics.boxes import Predictions, Truth, box_table
from hilum.evaluate.metrics.classification import classification
from hilum.evaluate.metrics.curves import ranked
from hilum.evaluate.metrics.matching import TRUE, match

Float = NDArray[np.float64]

RATES = (1 / 8, 1 / 4, 1 / 2, 1, 2, 4, 8)


class FrocPoint(NamedTuple):
    """The curve at one threshold."""

    sensitivity: float
    fp_per_image: float
    fp_per_normal_image: float


@dataclass(frozen=True, slots=True, eq=False)
class Froc:
    """The curve, one point for each distinct score, and what is read from it."""

    thresholds: Float  # (k,) highest first
    sensitivity: Float  # (k,) share of lesions found
    fp_per_image: Float  # (k,) over all images
    fp_per_normal_image: Float  # (k,) over images without lesions; NaN without such images
    at_rates: dict[float, float]  # false positives per image -> sensitivity
    lesions: int
    images: int
    normal_images: int

    @property
    def score(self) -> float:
        """Mean sensitivity over the rates (the LUNA16 and CAMELYON score)."""
        return float(np.mean(list(self.at_rates.values())))

    def at(self, threshold: float) -> FrocPoint:
        """The curve at a threshold."""
        k = int(np.searchsorted(-self.thresholds, -threshold, side="right")) - 1
        if k >= 0:
            return FrocPoint(
                sensitivity=float(self.sensitivity[k]),
                fp_per_image=float(self.fp_per_image[k]),
                fp_per_normal_image=float(self.fp_per_normal_image[k]),
            )
        return FrocPoint(
            sensitivity=0.0 if self.lesions else float("nan"),
            fp_per_image=0.0,
            fp_per_normal_image=0.0 if self.normal_images else float("nan"),
        )


def froc(
    truth: Truth,
    predictions: Predictions,
    *,
    iou: float = 0.5,
    rates: Sequence[float] = RATES,
) -> Froc:
    """FROC curve and the sensitivity at given false positives per image.

    Args:
        truth: for each image (n, 4) x1, y1, x2, y2.
        predictions: for each image boxes (m, 4) and scores (m,) in [0, 1].
        iou: a mark finds a lesion from this IoU.
        rates: false positives per image; the sensitivity given is the highest one that costs no
            more.

    Raises:
        DataError, GeometryError: see `box_table`.
    """
    if not 0 < iou <= 1 or not all(rate >= 0 for rate in rates):
        raise ConfigError(f"iou {iou}, rates {rates}: needed: in (0, 1], not negative")
    table = box_table(truth, predictions)
    if not len(table):
        raise DataError("FROC needs at least one image")
    matches = match(table, np.array([iou]))
    hit = matches.verdict[0, 0] == TRUE
    curve = ranked(hit, matches.scores)
    normal = table.truths_per_image == 0
    in_normal = normal[matches.image]
    extra = np.sort(matches.scores[in_normal])
    extra_above = len(extra) - np.searchsorted(extra, curve.thresholds, side="left")
    lesions, normals = len(table.truth), int(normal.sum())
    sensitivity = curve.true_positives / lesions if lesions else np.full(len(curve[0]), np.nan)
    per_image = curve.false_positives / len(table)
    per_normal = extra_above / normals if normals else np.full(len(curve[0]), np.nan)
    at = {float(r): _best_within(sensitivity, per_image, r, lesions) for r in rates}
    return Froc(
        thresholds=curve.thresholds,
        sensitivity=sensitivity,
        fp_per_image=per_image,
        fp_per_normal_image=per_normal,
        at_rates=at,
        lesions=lesions,
        images=len(table),
        normal_images=normals,
    )


def _best_within(sensitivity: Float, per_image: Float, rate: float, lesions: int) -> float:
    if not lesions:
        return float("nan")
    return float(sensitivity[per_image <= rate].max(initial=0.0))


def false_positives_per_normal_image(
    truth: Truth, predictions: Predictions, threshold: float = 0.5
) -> float:
    """Mean number of boxes of at least `threshold` on images without true boxes (B10)."""
    table = box_table(truth, predictions)
    normal = table.truths_per_image == 0
    marks = normal[table.image_of_box] & (table.scores >= threshold)
    return float(marks.sum() / normal.sum()) if normal.any() else float("nan")


def any_box_classification(
    truth: Truth, predictions: Predictions, *, threshold: float = 0.5
) -> dict[str, float]:
    """The detector as an image-level classifier: highest box score against any true box (B10)."""
    table = box_table(truth, predictions)
    return classification(table.truths_per_image > 0, table.top_scores(), threshold=threshold)
