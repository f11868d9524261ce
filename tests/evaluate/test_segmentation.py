"""Masks of a run against masks of a catalog."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from hilum.core.errors import DataError, GeometryError
from hilum.data.catalog import Catalog, build
from hilum.evaluate.answers import match_answers
from hilum.evaluate.metrics.masks import dice
from hilum.evaluate.prediction_files import read_predictions
from hilum.evaluate.segmentation import MaskEvaluation, evaluate_masks, mask_scores
from hilum.evaluate.truth import truths_of


def _square(left: int, side: int = 20) -> np.ndarray:
    mask = np.zeros((60, 80), np.uint8)
    mask[10 : 10 + side, left : left + side] = 255
    return mask


def _written(tmp_path: Path) -> tuple[Catalog, Path]:
    """Image a: moved by 5 px; b: not annotated; c: nothing found; d: the model wrote no mask."""
    (tmp_path / "masks").mkdir()
    for name, mask in (("a", _square(15)), ("b", _square(15)), ("c", _square(0, 0))):
        assert cv2.imwrite(str(tmp_path / "masks" / f"{name}.png"), mask)
    assert cv2.imwrite(str(tmp_path / "truth.png"), _square(10))
    truth = ["truth.png", None, "truth.png", "truth.png"]
    names = pd.Series(list("abcd"))
    rows = pd.DataFrame(
        {
            **{"image_id": names, "path": names + ".png", "patient": names},
            **{"mask_lungs": truth, "width": 80, "height": 60},
        }
    )
    entries = [
        {
            **{"path": f"{n}.png", "status": "analysed", "scores": {}, "findings": []},
            "masks": {} if n == "d" else {"lungs": f"masks/{n}.png"},
        }
        for n in names
    ]
    file = tmp_path / "findings.json"
    file.write_text(json.dumps({"schema": "hilum.findings/1", "images": entries}))
    return build("toy", rows, tmp_path), file


def _evaluated(catalog: Catalog, file: Path, repeats: int = 5) -> tuple[MaskEvaluation, ...]:
    predictions = read_predictions(file)
    answers = match_answers(catalog, predictions)
    return evaluate_masks(truths_of(catalog), answers, predictions, repeats=repeats)


def test_only_images_with_both_masks_are_evaluated(tmp_path: Path) -> None:
    catalog, file = _written(tmp_path)
    (lungs,) = _evaluated(catalog, file, 20)
    assert (lungs.name, lungs.images, lungs.one_empty) == ("lungs", 2, 1)
    assert lungs.numbers["dice"].value == pytest.approx((0.75 + 0) / 2)
    assert lungs.numbers["iou"].value == pytest.approx((0.6 + 0) / 2)
    assert lungs.numbers["hd95_px"].value == pytest.approx(5)  # of the one that has a distance


def test_an_overlooked_mask_counts_for_f2_more_than_an_extra_one() -> None:
    whole, half = _square(10) > 0, _square(10, 14) > 0
    assert mask_scores(whole, half)["f2_mask"] < mask_scores(half, whole)["f2_mask"]
    assert mask_scores(whole, half)["dice"] == mask_scores(half, whole)["dice"]


def test_a_mask_that_is_gone_is_an_error_not_an_empty_mask(tmp_path: Path) -> None:
    catalog, file = _written(tmp_path)
    (tmp_path / "masks" / "a.png").unlink()
    with pytest.raises(DataError, match="missing or no image"):
        _evaluated(catalog, file)


def test_a_mask_of_nan_is_no_mask() -> None:
    with pytest.raises(GeometryError, match="NaN"):
        dice([[np.nan, 0]], [[1, 0]])


def test_masks_of_copies_are_compared_in_the_catalogs_pixels(tmp_path: Path) -> None:
    catalog, file = _written(tmp_path)
    half = cv2.resize(_square(10), (40, 30), interpolation=cv2.INTER_NEAREST)
    assert cv2.imwrite(str(tmp_path / "masks" / "a.png"), half)
    document = json.loads(file.read_text())
    document["images"] = [document["images"][0] | {"width": 40, "height": 30}]
    file.write_text(json.dumps(document))
    (lungs,) = _evaluated(catalog, file)
    assert lungs.numbers["dice"].value == 1
    assert cv2.imwrite(str(tmp_path / "masks" / "a.png"), _square(10))
    (again,) = _evaluated(catalog, file)  # a mask twice the size that is stated: the same shape
    assert again.numbers["dice"].value == 1
    assert cv2.imwrite(str(tmp_path / "masks" / "a.png"), half.T)
    with pytest.raises(DataError, match="30 × 40 px, its image 40 × 30"):
        _evaluated(catalog, file)


def test_a_predicted_mask_may_cover_the_whole_image(tmp_path: Path) -> None:
    """It has no background, and is no damaged annotation: a model may say so."""
    catalog, file = _written(tmp_path)
    assert cv2.imwrite(str(tmp_path / "masks" / "a.png"), np.full((60, 80), 255, np.uint8))
    document = json.loads(file.read_text())
    document["images"] = document["images"][:1]
    file.write_text(json.dumps(document))
    (lungs,) = _evaluated(catalog, file)
    assert lungs.numbers["dice"].value == pytest.approx(2 * 400 / (400 + 4800))
