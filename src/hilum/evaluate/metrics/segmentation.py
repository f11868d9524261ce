"""Masks of a catalog against masks that a run wrote beside its findings.json.

Only images where both exist are judged. Masks are compared at the size of the image; distances
are in its pixels, because a catalog does not say how large a pixel is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from hilum.core.errors import DataError
from hilum.data.catalog import Catalog
from hilum.data.pixels import open_mask
from hilum.evaluate.cases import answers
from hilum.evaluate.metrics.masks import dice, f_beta, hausdorff, iou
from hilum.evaluate.prediction_files import PredictionFile
from hilum.evaluate.statistics.bootstrap import Interval, bootstrap
from hilum.evaluate.statistics.reweighted import mean_of

Bool = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Segmented:
    """How well one kind of mask agrees, as means over images."""

    name: str
    images: int
    one_empty: int  # images with one of the two masks empty: no distance, Dice 0
    numbers: dict[str, Interval]  # dice (equal to F1 over pixels), iou, f2, hd95_px

    def to_json(self) -> dict[str, Any]:
        numbers = {
            name: {k: None if v != v else v for k, v in value.to_json().items()}
            for name, value in self.numbers.items()
        }
        return {
            **{"name": self.name, "images": self.images, "one_empty": self.one_empty},
            **numbers,
        }


def segmentation(
    catalog: Catalog, predictions: PredictionFile, *, repeats: int = 1000, seed: int = 0
) -> tuple[Segmented, ...]:
    """Dice, IoU, F2 and the 95th percentile of the edge distance, for each kind of mask.

    Raises:
        DataError: a mask that cannot be read.
    """
    said = answers(catalog, predictions)
    columns = [c for c in catalog.table.columns if c.startswith("mask_")]
    out = []
    for column in columns:
        name = column.removeprefix("mask_")
        files = {
            row: str(image.entry["masks"][name])
            for row, image in enumerate(said)
            if image is not None
            and name in image.entry.get("masks", {})
            and isinstance(catalog.table[column].iat[row], str)
        }
        if files:
            out.append(_of_rows(catalog, predictions, name, files, repeats, seed))
    return tuple(out)


def _of_rows(
    catalog: Catalog,
    predictions: PredictionFile,
    name: str,
    files: Mapping[int, str],
    repeats: int,
    seed: int,
) -> Segmented:
    values = []
    for row in files:
        mask = _mask(predictions, files[row])
        height, width = mask.shape
        reference = str(catalog.table[f"mask_{name}"].iat[row])
        truth = open_mask(catalog.root, reference, height, width)
        values.append(mask_scores(truth, mask))
    patients = catalog.table["patient"].to_numpy()[list(files)]
    numbers = {
        key: bootstrap(mean_of([v[key] for v in values]), patients, repeats=repeats, seed=seed)
        for key in values[0]
    }
    one_empty = sum(v["hd95_px"] != v["hd95_px"] for v in values)
    return Segmented(name, len(files), one_empty, numbers)


def mask_scores(truth: Bool, mask: Bool) -> dict[str, float]:
    """Numbers of one image; the distance is NaN if one mask is empty, 0 if both are."""
    far = hausdorff(truth, mask, percentile=95)
    return {
        "dice": dice(truth, mask),
        "iou": iou(truth, mask),
        "f2": f_beta(truth, mask, 2),
        "hd95_px": far if np.isfinite(far) else float("nan"),
    }


def _mask(predictions: PredictionFile, reference: str) -> Bool:
    file = predictions.folder / reference
    content = file.read_bytes() if file.is_file() else b""
    mask = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_GRAYSCALE) if content else None
    if mask is None:
        raise DataError(f"mask {file} is not a readable picture; is the run's folder complete?")
    found: Bool = mask > 127
    return found
