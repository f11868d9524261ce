"""`hilum pipeline tune`: numbers of a pipeline's masks, chosen on validation images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from helpers.toy import write_segmenter, write_text
from hilum.cli.main import app
from hilum.core.errors import ConfigError, DataError
from hilum.core.radiograph import Radiograph
from hilum.data.catalog import build
from hilum.inference.loaded import load_pipeline
from hilum.inference.pipeline import Pipeline

FLOW = "masks: {opacity: [{use: map, of: seg}, threshold, {use: remove-small, pixels: 0}]}"
IMAGES = 20


def _set(folder: Path) -> Path:
    """The toy outlines what is bright: every image has a speck, every other one the finding too."""
    (folder / "set").mkdir()
    write_segmenter(folder / "seg.zip")
    write_text(folder / "p.yaml", f"models: {{seg: {{}}}}\n{FLOW}\nboxes: []\nscores: []\n")
    rng = np.random.default_rng(0)
    for number in range(IMAGES):
        pixels, mask = np.zeros((128, 128), np.uint8), np.zeros((128, 128), np.uint8)
        pixels[4:20, 100:116] = 255
        if number % 2:
            x, y = rng.integers(4, 60, 2)
            mask[y + 20 : y + 60, x : x + 40] = 255
        cv2.imwrite(str(folder / "set" / f"{number}.png"), pixels | mask)
        cv2.imwrite(str(folder / "set" / f"{number}_mask.png"), mask)
    (folder / "set" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing more")
    ids = pd.Series([*map(str, range(IMAGES)), "broken", "nobody", "test"])
    masks = [f"{number}_mask.png" for number in range(IMAGES)]
    rows = pd.DataFrame(
        {
            **{"image_id": ids, "patient": ids, "width": 128, "height": 128},
            "path": ids + ".png",
            "mask_opacity": [*masks, "", None, ""],
            "split": ["validation"] * (len(ids) - 1) + ["test"],
        }
    )
    build("toy", rows, folder / "set").save(folder / "c.parquet")
    return folder / "c.parquet"


def _run(folder: Path, *more: str) -> Any:
    words = ["pipeline", "tune", str(folder / "p.yaml"), "--bundle", f"seg={folder / 'seg.zip'}"]
    words += ["--catalog", str(folder / "c.parquet"), "--part", "validation", "--json", *more]
    words += ["--out", str(folder / "tuned" / "t.yaml")]
    result = CliRunner().invoke(app, words)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_the_size_is_chosen_that_removes_specks_and_keeps_findings(tmp_path: Path) -> None:
    """The speck has 16,384 px at 1024, the finding 102,400."""
    _set(tmp_path)
    found = _run(tmp_path, "--try", "masks.opacity.2.pixels=[0, 50000, 200000]")
    assert found["options"] == {"masks.opacity.2.pixels": 50000}
    assert found["images"] == IMAGES
    assert found["with_finding"] == IMAGES / 2
    assert found["score"] == pytest.approx(found["nested"])
    assert found["score"] > 0.9
    assert [round(np.mean(one["fold_scores"]), 1) for one in found["tried"]][2] == 0.5
    assert "broken" in found["refused"]  # and nobody's image is no image of the search
    assert json.loads((tmp_path / "tuned" / "t.search.json").read_text()) == found


def test_what_is_written_runs_without_naming_bundles(tmp_path: Path) -> None:
    _set(tmp_path)
    _run(tmp_path, "--try", "masks.opacity.2.pixels=[0, 50000]")
    text = tmp_path / "tuned" / "t.yaml"
    pixels = np.zeros((128, 128), np.float32)
    pixels[4:20, 100:116] = 1
    loaded = load_pipeline(text)
    assert not loaded(Radiograph(pixels)).masks["opacity"].any()
    assert "toy, part validation, 20 images" in Pipeline.load(text).about
    assert str(tmp_path) not in text.read_text()  # the folder may be moved
    again = Pipeline.load(text, ["masks.opacity.2.pixels=0"])
    assert load_pipeline(again)(Radiograph(pixels)).masks["opacity"].any()


def test_without_values_the_usual_ones_of_every_stage_are_tried(tmp_path: Path) -> None:
    _set(tmp_path)
    found = _run(tmp_path, "--metric", "dice_positive")
    assert set(found["options"]) == {"masks.opacity.1.at", "masks.opacity.2.pixels"}
    assert len(found["tried"]) == 9 * 5


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--try", "masks.opacity.2.pixels=5"], "a list of values"),
        (["--try", "gates=[[]]"], "a mask's flow or of a model"),
        (["--try", "masks.opacity.2.size=[5]"], "unknown key 'size'"),
        (["--finding", "lungs"], "unknown mask 'lungs'"),
        (["--metric", "auc"], "unknown metric of masks 'auc'"),
        (["--part", "train"], "part 'train'"),
        (["--set", "masks.opacity.1=triplet", "--try", "masks.opacity.1.bottom=[0.8]"], "above"),
    ],
)
def test_what_cannot_be_tried_is_said_before_anything_is_asked(
    tmp_path: Path, more: list[str], message: str
) -> None:
    _set(tmp_path)
    with pytest.raises(ConfigError, match=message):
        _run(tmp_path, *more)


def test_images_whose_mask_nobody_knows_cannot_choose(tmp_path: Path) -> None:
    """The pipeline's mask is of another name than the set's."""
    _set(tmp_path)
    file = tmp_path / "c.parquet"
    table = pd.read_parquet(file).rename(columns={"mask_opacity": "mask_lungs"})
    build("toy", table, tmp_path / "set").save(file)
    with pytest.raises(DataError, match="none of 22 images has a known mask 'opacity'"):
        _run(tmp_path)
