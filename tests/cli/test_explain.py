"""`hilum explain`: what was asked for is explained, or refused; nothing is passed over."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from helpers.toy import (
    write_classifier,
    write_segmenter,
    write_text,
    write_toy,
    write_toy_pipeline,
)
from hilum.cli.inputs import annotated
from hilum.cli.main import app
from hilum.core.errors import ConfigError
from hilum.core.findings import Findings
from hilum.data.catalog import build
from hilum.data.phantom.phantom import phantom
from hilum.explain.asked import Asked, asked
from hilum.explain.picture import picture
from hilum.inference.loaded import load_pipeline
from hilum.report.explanation import Annotations


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--method", "occlusion", "--run", "runs/a"], "--bundle"),  # not the shipped bundle's map
        (["--method", "grad-cam", "--bundle", "default"], "--run"),
        (["--method", "class-activation", "--run", "runs/a"], "--bundle"),
        (["--method", "class-activtion", "--bundle", "default"], "class-activation"),
        (["--sanity"], "--run"),  # occlusion has no weights to randomise
    ],
)
def test_options_that_would_not_count_are_refused(
    tmp_path: Path, options: list[str], words: str
) -> None:
    out = tmp_path / "maps"
    done = CliRunner().invoke(app, ["explain", str(tmp_path), "--out", str(out), *options])
    assert done.exit_code != 0
    assert words in str(done.exception)
    assert not out.exists()


def _catalog(folder: Path) -> Path:
    """Three images with a box of readers: one readable, one gone, one cropped after it was read."""
    (folder / "set").mkdir()
    for name, width in (("a", 256), ("cropped", 200)):
        pixels = phantom(seed=1, width=width, height=256, opacities=1).pixels
        cv2.imwrite(str(folder / "set" / f"{name}.png"), (pixels * 255).astype(np.uint8))
    ids = pd.Series(["a", "gone", "cropped"])
    boxes = [[64.0, 64.0, 128.0, 160.0]] * 3
    rows = {"image_id": ids, "patient": ids, "path": ids + ".png", "boxes": boxes}
    rows |= {"width": 256, "height": 256, "box_labels": [["opacity"]] * 3}
    build("toy", pd.DataFrame(rows), folder / "set").save(folder / "c.parquet")
    return folder / "c.parquet"


@pytest.mark.parametrize("game", [False, True])
def test_findings_of_the_pipeline_and_boxes_of_readers_are_beside_the_map(
    tmp_path: Path, game: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a set with a file that is gone, and with one whose annotations fit it no more."""
    kept: list[tuple[Findings, Annotations | None]] = []

    def keep(*given: Any, **named: Any) -> bytes:
        kept.append((given[2], named["readers"]))
        return picture(*given, **named)

    monkeypatch.setattr("hilum.explain.folder.picture", keep)
    text, out = write_toy_pipeline(tmp_path, positive="opacity"), tmp_path / "maps"
    words = ["explain", str(_catalog(tmp_path)), "--pipeline", str(text), "--out", str(out)]
    done = CliRunner().invoke(app, [*words, *(["--game"] if game else [])])
    assert done.exit_code == 1, done.output  # one was refused
    assert "gone.png" in done.output
    assert "another shape" in done.output
    findings, readers = kept[0]
    assert findings.labels == ("opacity",)
    assert readers is not None
    np.testing.assert_array_equal(readers.boxes_px, [[64, 64, 128, 160]])
    assert kept[1:] == [] if game else [kept[1][1]] == [None]
    assert len(list(out.glob("*.png"))) == len(kept) == 2 - game
    said = json.loads((out / "explain.json").read_text())
    assert len(said["left_out"] if game else said["images"]) == (2 if game else 3)


@pytest.mark.parametrize("more", [[], ["--game"], ["--game", "--json"]])
def test_where_every_image_can_be_explained_the_command_succeeds(
    tmp_path: Path, more: list[str]
) -> None:
    text, table = write_toy_pipeline(tmp_path, positive="opacity"), _catalog(tmp_path)
    words = ["explain", str(table), "--pipeline", str(text), "--sample", "1"]
    done = CliRunner().invoke(app, [*words, *more, "--out", str(tmp_path / "maps")])
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize(
    ("asked_for", "wanted"),
    [
        ("a", ("a", None)),
        ("b.normal", ("b", "normal")),
        ("b.box", ("b", "box")),
        ("box", ("b", "box")),
        ("opacity", "a and b"),
        (None, "a and b"),
        ("opactiy", "a.opacity"),
    ],
)
def test_a_score_is_of_the_model_that_gives_it(
    tmp_path: Path, asked_for: str | None, wanted: Any
) -> None:
    write_classifier(tmp_path / "a.zip")
    write_toy(tmp_path / "b.zip")
    write_segmenter(tmp_path / "c.zip")  # has no score
    flows = "masks: {lungs: [{use: map, of: c}, threshold]}\nboxes: [{use: boxes, of: b}]\n"
    flows += "scores: [{use: scores, of: a}]\n"
    models = "models: {a: {bundle: a.zip}, b: {bundle: b.zip}, c: {bundle: c.zip}}\n"
    loaded = load_pipeline(write_text(tmp_path / "p.yaml", models + flows))
    if isinstance(wanted, str):
        with pytest.raises(ConfigError, match=wanted):
            asked(loaded, asked_for)
    else:
        assert asked(loaded, asked_for) == Asked(*wanted)


def test_what_readers_drew_comes_first_and_an_empty_mask_is_no_drawing(tmp_path: Path) -> None:
    for name in "abcd":
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.full((32, 32), 99, np.uint8))
    drawn = np.zeros((32, 32), np.uint8)
    drawn[4:20, 8:12] = 255
    cv2.imwrite(str(tmp_path / "mask.png"), drawn)
    ids = pd.Series(list("abcd"))
    rows = {"image_id": ids, "patient": ids, "path": ids + ".png", "width": 32, "height": 32}
    rows |= {"mask_pneumothorax": [None, "", "mask.png", None], "mask_lungs": "mask.png"}
    build("toy", pd.DataFrame(rows), tmp_path).save(tmp_path / "c.parquet")
    images = list(annotated([tmp_path / "c.parquet"], Counter()))
    assert [one.marked for one in images] == [False, False, True, False]
    assert images[2].readers is not None
    masks = images[2].readers(32, 32).masks
    assert [*masks] == ["pneumothorax"]  # anatomy is no finding
    np.testing.assert_array_equal(masks["pneumothorax"], drawn > 0)
