"""A spreadsheet runs nothing of the CSV that we write, and no number or text is lost by that."""

from __future__ import annotations

import ast
import csv
import io
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hilum.core.csv_cells import guarded, plain, to_csv

FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
SOURCE = Path(__file__).parents[2] / "src" / "hilum"
ONE = {"core/csv_cells.py"}  # the one place

words = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=12)
risky = st.builds(lambda a, b: a + b, st.sampled_from((*FORMULAS, "'", "''", "'=")), words)


@given(st.one_of(words, risky))
@example("=cmd|' /C calc'!A0")
@example("'=1")
@example("'0012")
@example("-1")
def test_text_that_would_run_is_guarded_and_comes_back(text: str) -> None:
    cell = guarded(text)
    assert plain(cell) == text
    if cell == text and text.startswith(FORMULAS):
        float(text)  # a number, which runs nothing


@pytest.mark.parametrize("text", ["-1", "+0.5", "-.5", "-1e-05", "-1E+20"])
def test_a_number_is_never_touched(text: str) -> None:
    assert guarded(text) == text
    assert guarded(float(text)) == float(text)


@pytest.mark.parametrize("text", ["-1+1", "+49 30 1234", "-1 0 3", "=1", "@SUM(A1)", "-", "-٣"])
def test_what_only_begins_as_a_number_is_guarded(text: str) -> None:
    assert guarded(text) == f"'{text}"


def test_headers_are_foreign_text_too() -> None:
    rows = [*csv.reader(io.StringIO(to_csv(["=a", "b"], [["@x", None], [-1.5, "-2"]])))]
    assert rows == [["'=a", "b"], ["'@x", ""], ["-1.5", "-2"]]


def test_no_module_writes_csv_in_another_way() -> None:
    found = set()
    for file in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Attribute):
                by_pandas = node.attr == "to_csv" and getattr(node.value, "id", "") != "csv_cells"
                if by_pandas or node.attr in ("DictWriter", "writerows", "writerow"):
                    found.add(file.relative_to(SOURCE).as_posix())
    assert found == ONE
