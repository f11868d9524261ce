"""A catalog is a table that can be trusted, and a file that says what is wrong with it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from helpers.sets import picture, text
from hilum.core.errors import ConfigError, DataError
from hilum.data import Catalog, load, open_catalog
from hilum.data.catalog import build
from hilum.data.pixels import open_radiograph
from hilum.data.rename import renamed


def one(**columns: Any) -> Catalog:
    row = {"image_id": "a", "patient": "p"} | columns
    return build("one", pd.DataFrame([row]), Path())


def test_a_set_that_is_only_a_form_is_called_by_its_folder(tmp_path: Path) -> None:
    rows = pd.DataFrame([{"image_id": "a", "patient": "p"}])
    assert build("folder", rows, tmp_path / "Thorax 2024").title == "Thorax 2024 (folder)"
    assert build("rsna", rows, tmp_path / "Thorax 2024").title == "rsna"


def test_findings_that_become_one_are_present_where_any_was() -> None:
    nan = np.nan
    rows = pd.DataFrame(
        {
            "image_id": list("abcd"),
            "patient": list("abcd"),
            "label_mass": [1, 0, 0, nan],
            "label_edema": [nan, 0, nan, 0],
            "boxes": [[1, 2, 3, 4], [], None, None],
            "box_labels": [["mass"], [], None, None],
        }
    )
    catalog = renamed(build("one", rows, Path()), {"mass": "opacity", "edema": "opacity"})
    assert catalog.label_names == ["opacity"]
    assert catalog.box_names == ["opacity"]
    assert catalog.table["label_opacity"].fillna(-1).tolist() == [1, 0, -1, -1]
    with pytest.raises(ConfigError, match="Did you mean 'mass'"):
        renamed(build("one", rows, Path()), {"Mass": "opacity"})


@pytest.mark.parametrize(
    "columns",
    [
        {"label_opacity": "yes"},
        {"label_opacity": 2},
        {"label_opacity": 0.5},
        {"study_typical": -1},
        {"age": "045Y"},
        {"width": "wide"},
        {"patient": ""},
        {"boxes": [1, 2, 3], "box_labels": ["x"]},
        {"boxes": [1, 2, 3, 4], "box_labels": []},
        {"boxes": [1, 2, np.nan, 4], "box_labels": ["x"]},
        {"boxes": [5, 2, 3, 4], "box_labels": ["x"]},
        {"boxes": [1, 2, 1e30, 4], "box_labels": ["x"]},
        {"boxes": "abcd", "box_labels": ["x"]},
        {"boxes": [1, 2, "3", 4], "box_labels": ["x"]},
        {"boxes": 5, "box_labels": ["x"]},
        {"boxes": [1, 2, 3, 4], "box_labels": [5]},
        {"age": -1.0},
        {"age": np.inf},
        {"width": -100},
        {"scale_x": 0.5},
        {"scale_x": 0.0, "scale_y": 1.0},
        {"scale_x": np.inf, "scale_y": 1.0},
        {"mask_lungs": 5},
        {"mood": 1},
    ],
)
def test_what_no_catalog_holds(columns: dict[str, Any]) -> None:
    with pytest.raises(DataError):
        one(**columns)


def _with(path: Path, column: str, values: Any) -> Path:
    """A catalog's file with another column, as another program would write it."""
    one(boxes=[1, 2, 3, 4], box_labels=["x"]).save(path)
    table = pq.read_table(path)
    at = table.column_names.index(column)
    pq.write_table(table.set_column(at, column, pa.array(values)), path)
    return path


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("patient", [5]),
        ("patient", [None]),
        ("patient", [b"p"]),
        ("image_id", [[1]]),
        ("path", [1.5]),
        ("boxes", ["1,2,3,4"]),
        ("boxes", [[[1.0, 2, 3, 4]]]),
        ("boxes", [[1.0, None, 3, 4]]),
        ("box_labels", ["x"]),
        ("width", [-5]),
        ("age", ["old"]),
    ],
)
def test_a_column_of_another_type_is_refused_by_name(
    tmp_path: Path, column: str, values: Any
) -> None:
    with pytest.raises(DataError, match=r"c\.parquet.*" + column.removesuffix("es")):
        open_catalog(_with(tmp_path / "c.parquet", column, values))


@pytest.mark.parametrize(
    "meta",
    [
        {b"hilum.name": b"\xff\xfe\x00"},
        {b"hilum.root": b"a\0b"},
        {b"hilum.notes": b"[" * 9999},
        {b"hilum.notes": b"{}"},
        {b"hilum.notes": b'"abc"'},
        {b"hilum.skips": b"[1]"},
        {b"hilum.skips": b'{"row-cut": -1}'},
        {b"hilum.skips": b'{"a": 1, "a": 2}'},
    ],
)
def test_damaged_notes_are_one_typed_error(tmp_path: Path, meta: dict[bytes, bytes]) -> None:
    path = tmp_path / "c.parquet"
    one().save(path)
    table = pq.read_table(path)
    pq.write_table(table.replace_schema_metadata({**table.schema.metadata, **meta}), path)
    with pytest.raises(DataError, match=r"c\.parquet"):
        open_catalog(path)


def test_rows_that_a_file_promises_and_does_not_hold_are_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever damage makes the reader end early."""
    rows = pd.DataFrame({"image_id": ["a", "b"], "patient": ["p", "q"]})
    build("two", rows, Path()).save(tmp_path / "c.parquet")
    assert len(open_catalog(tmp_path / "c.parquet")) == 2
    batches = pq.ParquetFile.iter_batches
    monkeypatch.setattr(pq.ParquetFile, "iter_batches", lambda f: (b[:1] for b in batches(f)))
    with pytest.raises(DataError, match="it has 2 rows, 1 are there"):
        open_catalog(tmp_path / "c.parquet")


def test_what_pandas_wrote_beside_is_not_asked(tmp_path: Path) -> None:
    path = tmp_path / "c.parquet"
    images = one(boxes=[1, 2, 3, 4], box_labels=["x"], label_opacity=1)
    images.save(path)
    table = pq.read_table(path)
    pq.write_table(
        table.replace_schema_metadata({**table.schema.metadata, b"pandas": b"[" * 9999}), path
    )
    pd.testing.assert_frame_equal(open_catalog(path).table, images.table)


def test_what_a_catalog_reads() -> None:
    table = one(label_opacity=True, label_x="", age=0, patient=0, width="100", boxes=None).table
    assert table["label_opacity"].tolist() == [1]
    assert np.isnan(table["label_x"]).all()
    assert (table["age"].iat[0], table["patient"].iat[0], table["width"].iat[0]) == (0, "0", 100)
    rows = pd.DataFrame({"image_id": ["a", "b"], "patient": [1.0, 2.0], "path": ["a.png", "a.png"]})
    assert build("x", rows.drop(columns="path"), Path()).table["patient"].tolist() == ["1", "2"]
    with pytest.raises(DataError, match=r"'a' and 'b' share file 'a\.png'"):
        build("x", rows, Path())


def test_a_file_that_is_no_catalog_says_what_to_do(tmp_path: Path) -> None:
    text(tmp_path / "c.csv", "image_id,patient\na,p\n")
    with pytest.raises(DataError, match="hilum data catalog DIRECTORY --kind NAME"):
        open_catalog(tmp_path / "c.csv")
    with pytest.raises(DataError, match="there is no catalog"):
        open_catalog(tmp_path / "gone.parquet")
    pq.write_table(pa.table({"image_id": ["a"]}), tmp_path / "p.parquet")
    with pytest.raises(DataError, match="but not a hilum catalog"):
        open_catalog(tmp_path / "p.parquet")
    one().save(tmp_path / "c.parquet")
    whole = pq.read_table(tmp_path / "c.parquet")
    pq.write_table(whole.drop_columns(["patient", "boxes"]), tmp_path / "c.parquet")
    with pytest.raises(DataError, match=r"c\.parquet: .*lacks the columns patient, boxes"):
        open_catalog(tmp_path / "c.parquet")


def test_notes_and_skips_travel_with_the_file(tmp_path: Path) -> None:
    images = build("x", one().table, tmp_path, ("a\nb", "ü"), {"no-file": 3})
    images.save(tmp_path / "c.parquet")
    again = open_catalog(tmp_path / "c.parquet")
    assert again.notes == ("a\nb", "ü")
    assert again.skips == {"no-file": 3}


def test_a_licence_travels_with_the_file_and_that_of_a_known_set_is_known(tmp_path: Path) -> None:
    rows = pd.DataFrame({"image_id": ["a"], "patient": ["p"], "path": ["a.png"]})
    own = build("own", rows, tmp_path, licence="CC BY 4.0")
    own.save(tmp_path / "c.parquet")
    assert open_catalog(tmp_path / "c.parquet").where(np.array([True])).licence == "CC BY 4.0"
    assert "non-commercial" in build("rsna", rows, tmp_path).licence
    assert build("another", rows, tmp_path).licence == ""


def test_a_moved_root_is_said_and_mended(tmp_path: Path) -> None:
    from hilum.cli.main import app

    picture(tmp_path / "set/x/a.png")
    elsewhere = tmp_path / "out"
    elsewhere.mkdir()
    load("folder", tmp_path / "set").save(elsewhere / "c.parquet")
    shutil.move(tmp_path / "set", tmp_path / "moved")
    old = open_catalog(elsewhere / "c.parquet")
    for use in (old.need_files, lambda: open_radiograph(old.root, "x/a.png")):
        with pytest.raises(DataError, match="not there"):
            use()
    words = ["data", "catalog", str(elsewhere / "c.parquet"), "--root", str(tmp_path / "moved")]
    result = CliRunner().invoke(app, [*words, "--out", str(tmp_path / "new.parquet")])
    assert result.exit_code == 0, result.output
    new = open_catalog(tmp_path / "new.parquet")
    assert open_radiograph(new.root, new.table["path"].iat[0]).width == 100
    for verb in ("check", "explore"):
        words = ["data", verb, str(elsewhere / "c.parquet"), "--out", str(tmp_path / verb)]
        result = CliRunner().invoke(app, words)
        assert isinstance(result.exception, DataError)


def test_command_writes_the_parts_of_a_split(tmp_path: Path) -> None:
    from hilum.cli.main import app

    rows = "file,pid,y,sex\n"
    for i in range(8):
        picture(tmp_path / f"set/{i}.png", seed=i)
        rows += f"{i}.png,p{i // 2},{i % 2},alien\n"
    text(tmp_path / "set/t.csv", rows)
    source = [str(tmp_path / "set"), "--kind", "folder", "--option", "table=t.csv"]
    columns = {"image_id": "file", "patient": "pid", "label_opacity": "y", "sex": "sex"}
    for own, theirs in columns.items():
        source += ["--option", f"columns.{own}={theirs}"]
    split = tmp_path / "s.json"
    words = ["data", "split", *source, "--fractions", "0.5,0.5", "--out", str(split), "--json"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["skips"] == {"sex-unread": 8}
    out = tmp_path / "c.parquet"
    words = ["data", "catalog", *source, "--split", str(split), "--out", str(out), "--json"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    assert answer["parts"] == {"test": 4, "train": 4}
    assert answer["skips"] == {"sex-unread": 8}
    assert "8 cells are no sex" in result.stderr
    catalog = open_catalog(out)
    assert catalog.table.groupby("patient")["split"].nunique().max() == 1
    for verb, more in (("check", []), ("explore", []), ("convert", ["--to", "png"])):
        target = tmp_path / verb
        words = ["data", verb, str(out), "--out", str(target), "--json", *more]
        result = CliRunner().invoke(app, words)
        assert result.exit_code in (0, 1), result.output
        assert json.loads(result.stdout)["skips"] == {"sex-unread": 8}, verb
