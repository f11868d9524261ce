"""A table's cells stay in their rows and columns, whatever wrote it; what is lost is told."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hilum.core.errors import DataError
from hilum.data.cells import read_cells, to_csv

TEXT = "a,b\n1,é\n2,\n"


def written(folder: Path, content: bytes | str, name: str = "t.csv") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    "content",
    [
        TEXT.encode(),
        TEXT.encode("utf-8-sig"),
        TEXT.encode("utf-16"),
        TEXT.encode("cp1252"),
        TEXT.replace("\n", "\r\n").encode(),
        TEXT.replace(",", ";").encode(),
        TEXT.replace(",", "\t").encode(),
        ("\n" + TEXT + "\n , \n").encode(),
        b'a,b\n"1","\xc3\xa9"\n2,""\n',
        b" a , b \n1,\xc3\xa9\n2,\n",
    ],
)
def test_a_table_is_the_same_whatever_wrote_it(tmp_path: Path, content: bytes) -> None:
    cells = read_cells(written(tmp_path, content))
    assert cells.table.to_dict("list") == {"a": ["1", "2"], "b": ["é", ""]}
    assert cells.short == ()
    packed = read_cells(written(tmp_path, gzip.compress(content), "t.csv.gz"))
    assert packed.table.equals(cells.table)


def test_a_row_that_is_cut_is_told_and_one_that_is_too_long_is_an_error(tmp_path: Path) -> None:
    assert read_cells(written(tmp_path, "a,b\n1,2\n3\n")).short == (3,)
    with pytest.raises(DataError, match="row 3 has 3 cells for 2 columns"):
        read_cells(written(tmp_path, "a,b\n1,2\n3,4,5\n"))
    with pytest.raises(DataError, match="row 2 has 3 cells"):  # never a column of row names
        read_cells(written(tmp_path, "a,b\n0,1,2\n1,3,4\n"))


def test_columns_have_names_of_their_own(tmp_path: Path) -> None:
    assert list(read_cells(written(tmp_path, "a,a,,b,,\n1,2,3,4\n")).table) == [
        *("a", "a.1", "column 3", "b")
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'a,b\n1,"2\n3,4\n', "not a readable CSV"),  # the rest would be one cell
        (b"a,b\n1,\0\n", "NUL"),
        (b"\xff\xfea", "not a readable CSV"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_cells(written(tmp_path, content))
    with pytest.raises(DataError, match="not a readable"):
        read_cells(tmp_path / "nothing.csv")


def test_a_small_table_makes_no_large_one_unreadable(tmp_path: Path) -> None:
    """The limit of a cell is the process's own, and other readers have it, too."""
    read_cells(written(tmp_path, "a\n1\n"))
    long = "1 " * 100_000
    assert next(csv.reader([long])) == [long]


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-16", "utf-32"])
def test_wide_text_is_read_with_its_mark_and_without(tmp_path: Path, encoding: str) -> None:
    table = read_cells(written(tmp_path, "file,y\na.png,1\n".encode(encoding))).table
    assert table.to_dict("list") == {"file": ["a.png"], "y": ["1"]}


def test_gzip_is_known_by_its_content(tmp_path: Path) -> None:
    for name, content in (("t.csv", gzip.compress(b"a,b\n1,2\n")), ("t.csv.gz", b"a,b\n1,2\n")):
        assert read_cells(written(tmp_path, content, name)).table["b"].tolist() == ["2"]


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"PK\x03\x04rest", "a spreadsheet"),
        (b"\xd0\xcf\x11\xe0rest", "xls"),
        (b"BZh91AY", "bzip2"),
        (b'[{"file": "a.png"}]', "JSON"),
        (gzip.compress(b"BZh91AY", mtime=0), "bzip2"),
    ],
)
def test_a_table_of_another_kind_is_called_by_it(tmp_path: Path, content: bytes, kind: str) -> None:
    with pytest.raises(DataError, match=f"it is .*{kind}.*needed: CSV"):
        read_cells(written(tmp_path, content))


def test_a_parquet_table_is_read_as_its_csv_would_be(tmp_path: Path) -> None:
    table = pd.DataFrame(
        {
            "file": ["a.png", None],
            "n": pd.array([7, None], dtype="Int64"),
            "y": [True, False],
            "s": [0.5, float("nan")],
            "day": pd.to_datetime(["2024-03-31", None]),
        }
    )
    table.to_parquet(tmp_path / "t.parquet")
    assert read_cells(tmp_path / "t.parquet").table.to_dict("list") == {
        "file": ["a.png", ""],
        "n": ["7.0", ""],
        "y": ["True", "False"],
        "s": ["0.5", ""],
        "day": ["2024-03-31 00:00:00", ""],
    }
    with pytest.raises(DataError, match="is not a readable table"):
        read_cells(written(tmp_path, b"PAR1rest"))


cells = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=8)


@example(["\r"])
@given(st.lists(st.one_of(cells, cells.map(lambda text: f"={text}"), st.just("'01")), min_size=1))
def test_what_we_write_is_what_we_read(tmp_path_factory: pytest.TempPathFactory, own: list) -> None:
    """Names of files, patients and labels, whatever they are; and numbers stay numbers."""
    table = pd.DataFrame({"row": "r", "=text": own, "number": -1.5})
    read = read_cells(written(tmp_path_factory.mktemp("csv"), to_csv(table))).table
    assert read["=text"].tolist() == own
    assert (read["number"] == "-1.5").all()


def test_a_lone_carriage_return_in_a_cell_ends_no_row(tmp_path: Path) -> None:
    table = pd.DataFrame({"a": ["\r", "x\ry"], "n": [1, 2]})
    assert read_cells(written(tmp_path, to_csv(table))).table["a"].tolist() == ["\r", "x\ry"]
