"""`hilum explain`: what was asked for is explained, or refused; nothing is passed over."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from helpers.toy import write_toy
from hilum.cli.main import app
from hilum.data.catalog import build
from hilum.data.phantom.phantom import phantom, write_png


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--method", "occlusion", "--run", "runs/a"], "--bundle"),  # not the shipped bundle's map
        (["--method", "grad-cam", "--bundle", "default"], "--run"),
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


def test_maps_are_drawn_and_an_image_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    bundle = write_toy(tmp_path / "toy.zip").path
    write_png(phantom(1, 96, 80), tmp_path / "images" / "a.png")
    (tmp_path / "images" / "b.png").write_bytes(b"no image")
    words = ["explain", str(tmp_path / "images"), "--bundle", str(bundle), "--json"]
    done = CliRunner().invoke(app, [*words, "--out", str(tmp_path / "maps")])
    assert done.exit_code == 1, done.output
    first, second = json.loads(done.stdout)["images"]
    assert (tmp_path / "maps" / first["picture"]).is_file()
    assert first["flat"], "the toy's boxes are the same whatever it sees"
    assert "refused" in second


def test_the_game_points_at_the_true_boxes_of_a_catalog(tmp_path: Path) -> None:
    bundle = write_toy(tmp_path / "toy.zip").path
    for seed in range(3):
        write_png(phantom(seed, 96, 80), tmp_path / f"{seed}.png")
    boxes = [[0.0, 0, 96, 80], [0.0, 0, 9, 9], None]  # the middle of the image: a flat map's point
    rows = {"image_id": ["a", "b", "c"], "path": [f"{n}.png" for n in range(3)]}
    rows |= {"patient": ["a", "b", "c"], "boxes": boxes, "width": 96, "height": 80}
    rows["box_labels"] = [["opacity"], ["opacity"], None]
    build("toy", pd.DataFrame(rows), tmp_path).save(tmp_path / "c.parquet")
    words = ["explain", str(tmp_path / "c.parquet"), "--game", "--bundle", str(bundle), "--json"]
    done = CliRunner().invoke(app, [*words, "--out", str(tmp_path / "maps")])
    assert done.exit_code == 0, f"{done.output}{done.exception!r}"
    content = json.loads(done.stdout)
    assert content["images"] == 2
    assert content["rates"]["hottest point in a true box"][0] == 0.5
    assert sorted(p.name for p in (tmp_path / "maps").glob("*.png")) == ["01.png", "02.png"]
