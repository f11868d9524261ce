"""A model's sure answers become annotations; what it doubts and what readers said do not."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from hilum.cli.main import app
from hilum.core.errors import DataError
from hilum.data.catalog import Catalog, build, open_catalog
from hilum.evaluate.prediction_files import ImagePredictions, PredictionFile
from hilum.evaluate.pseudo_labels import Sure, pseudo_labelled

SURE = Sure(present=0.8, absent=0.1, box=0.3)
BOXES = np.array([[10.0, 20.0, 40.0, 60.0], [50.0, 50.0, 60.0, 60.0]])


def _catalog(root: Path = Path()) -> Catalog:
    ids = ["yes", "no", "doubt", "boxless", "reader", "refused"]
    rows = pd.DataFrame(
        {
            "image_id": ids,
            "path": [f"{i}.png" for i in ids],
            "patient": ids,
            "width": 100,
            "height": 100,
            "boxes": [[1.0, 1.0, 9.0, 9.0] if i == "reader" else None for i in ids],
            "box_labels": [["opacity"] if i == "reader" else None for i in ids],
        }
    )
    return build("new", rows, root)


def _said(score: float, boxes: tuple[float, ...] = ()) -> ImagePredictions:
    """At half the size: boxes must come back in the catalog's pixels."""
    return ImagePredictions(
        BOXES[: len(boxes)] / 2,
        np.array(boxes),
        ("opacity",) * len(boxes),
        {"opacity": score},
        {"path": ""},
        (50, 50),
    )


def _predictions() -> PredictionFile:
    said = {
        "yes.png": _said(0.9, (0.7, 0.2)),
        "no.png": _said(0.05, (0.05,)),
        "doubt.png": _said(0.5, (0.5,)),
        "boxless.png": _said(0.95, (0.2,)),
        "reader.png": _said(0.01),
        "refused.png": ImagePredictions(
            np.zeros((0, 4)), np.zeros(0), (), {}, {"status": "refused"}
        ),
    }
    return PredictionFile("findings", said)


def test_sure_answers_become_annotations_in_the_catalogs_pixels() -> None:
    made = pseudo_labelled(_catalog(), _predictions(), "opacity", SURE)
    rows = made.table.set_index("image_id")
    assert list(rows.index) == ["yes", "no", "reader"]
    assert rows.at["yes", "boxes"] == BOXES[0].tolist()  # the second box is below .3
    assert rows.at["no", "boxes"] == []
    assert rows.at["no", "label_opacity"] == 0
    assert rows.at["yes", "label_opacity"] == 1


def test_what_readers_said_is_kept(tmp_path: Path) -> None:
    table = _catalog().table.assign(label_opacity=[np.nan] * 3 + [0.0, 1.0, np.nan])
    build("new", table, tmp_path).save(tmp_path / "c.parquet")  # as the command has it
    catalog = open_catalog(tmp_path / "c.parquet")
    rows = pseudo_labelled(catalog, _predictions(), "opacity", SURE).table.set_index("image_id")
    assert list(rows.at["reader", "boxes"]) == [1.0, 1.0, 9.0, 9.0]
    assert rows.at["boxless", "label_opacity"] == 0  # of a label too


def test_doubt_and_refusals_are_left_out_and_counted() -> None:
    made = pseudo_labelled(_catalog(), _predictions(), "opacity", SURE)
    assert made.skips == {"no-answer": 1, "not-sure": 2}
    assert any("no reader saw them" in note for note in made.notes)


def test_a_model_that_is_sure_of_nothing_is_an_error() -> None:
    with pytest.raises(DataError, match="sure of none of 4"):
        pseudo_labelled(
            _catalog(), _predictions(), "opacity", Sure(present=0.99, absent=0.0, box=0.9)
        )
    with pytest.raises(DataError, match=r"absent 0\.5, present 0\.2"):
        Sure(present=0.2, absent=0.5, box=0.3)


def test_a_run_that_dropped_the_boxes_asked_for_is_refused() -> None:
    points = {"default": {"threshold": 0.4, "score": "box"}}
    cut = PredictionFile(
        "findings", _predictions().images, {"pipeline": {"operating_points": points}}
    )
    with pytest.raises(DataError, match=r"no box below 0\.4 was kept; needed: all from 0\.3 on"):
        pseudo_labelled(_catalog(), cut, "opacity", SURE)


def test_the_command_writes_a_catalog(tmp_path: Path) -> None:
    for name in _catalog().table["path"]:
        (tmp_path / name).write_bytes(b"")
    _catalog(tmp_path).save(tmp_path / "new.parquet")
    ids = _catalog().table["image_id"]
    rows = pd.DataFrame(
        {"id": ids, "PredictionString": "opacity 0.9 5 5 50 50 opacity 0.1 0 0 9 9"}
    )
    rows.to_csv(tmp_path / "p.csv", index=False)
    out = tmp_path / "pseudo.parquet"
    given = [str(tmp_path / name) for name in ("new.parquet", "p.csv")]
    done = CliRunner().invoke(app, ["data", "pseudo-label", *given, "--out", str(out), "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["images"] == len(open_catalog(out)) == 6
    assert open_catalog(out).table["boxes"].iat[0].tolist() == [5, 5, 50, 50]
