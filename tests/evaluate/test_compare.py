"""Models on the same images: masks too, and only in the numbers that were asked for."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from hilum.core.errors import ConfigError
from hilum.data.catalog import Catalog, build
from hilum.evaluate.models import EvaluatedModels, Settings, evaluate_models
from hilum.fuse import combine_by

IMAGES = [f"p{number}" for number in range(24)]


def _square(left: int) -> np.ndarray:
    mask = np.zeros((60, 80), np.uint8)
    mask[10:30, left : left + 20] = 255
    return mask


def _catalog(folder: Path) -> Catalog:
    assert cv2.imwrite(str(folder / "truth.png"), _square(10))
    names = pd.Series(IMAGES)
    columns = {"image_id": names, "path": names + ".png", "patient": names, "width": 80}
    label = np.arange(len(names)) % 2
    table = pd.DataFrame({**columns, "height": 60, "label_pneumothorax": label})
    return build("toy", table.assign(mask_pneumothorax="truth.png"), folder)


def _run(folder: Path, lefts: list[int]) -> Path:
    """One model whose mask of every image begins at that column."""
    (folder / "masks").mkdir(parents=True)
    entries = []
    for name, left in zip(IMAGES, lefts, strict=True):
        assert cv2.imwrite(str(folder / "masks" / f"{name}.png"), _square(left))
        entries.append(
            {
                **{"path": f"{name}.png", "status": "analysed", "findings": []},
                "scores": {"pneumothorax": 0.5},
                "masks": {"pneumothorax": f"masks/{name}.png"},
            }
        )
    file = folder / "findings.json"
    file.write_text(json.dumps({"schema": "hilum.findings/1", "images": entries}))
    return file


def _evaluated(tmp_path: Path, *compared: str, second: int = 20) -> EvaluatedModels:
    wobble = [10 + number % 3 for number in range(len(IMAGES))]
    files = [
        _run(tmp_path / "near", wobble),
        _run(tmp_path / "far", [left + second - 10 for left in wobble]),
    ]
    settings = Settings(finding="pneumothorax", compare=compared, repeats=50)
    return evaluate_models(_catalog(tmp_path), files, settings, combine_by("max"))


def test_masks_of_two_models_are_compared_patient_by_patient(tmp_path: Path) -> None:
    found = _evaluated(tmp_path, "dice")
    (pair,) = found.compared
    near, far = (model.numbers["dice"].value for model in found.models)
    assert (pair.first, pair.second, pair.metric) == ("near", "far", "dice")
    assert pair.comparison.difference.value == pytest.approx(near - far)
    assert pair.verdict == "higher for near"


def test_the_same_masks_show_no_difference(tmp_path: Path) -> None:
    (pair,) = _evaluated(tmp_path, "dice", second=10).compared
    assert pair.comparison.difference.value == 0
    assert pair.verdict == "no difference shown"


def test_only_the_named_numbers_are_compared_and_corrected_for(tmp_path: Path) -> None:
    assert {pair.metric for pair in _evaluated(tmp_path).compared} > {"dice", "auc"}
    (tmp_path / "two").mkdir()
    two = _evaluated(tmp_path / "two", "dice", "iou").compared
    assert [pair.metric for pair in two] == ["dice", "iou"]


def test_a_number_that_the_models_do_not_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"model 'near'.*'ap50'.*dice"):
        _evaluated(tmp_path, "ap50")
