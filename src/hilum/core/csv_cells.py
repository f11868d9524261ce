"""Foreign text in the CSV that we write: what a spreadsheet would run stays text.

Names of files, patients and sentences come from anybody, and a cell that begins as a formula runs
when a spreadsheet opens the table (OWASP, "CSV injection"). It gets an apostrophe before it;
numbers get none. `plain` takes it away, so that what is written and read again is what it was. All
our CSV goes through here but for predictions in the form of a challenge, which compares ids letter
by letter.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

T = TypeVar("T")

# The second kind is no formula: an apostrophe before digits is how spreadsheets mark text, and
# readers of tables take it away.
_RUN = re.compile(r"'*[=+\-@＝＋－＠\t\r\n]|'+\d+\Z")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)


def guarded(value: T) -> T | str:
    """Text that a spreadsheet would run with an apostrophe before it; all else as it is."""
    if isinstance(value, str) and _RUN.match(value) and not _NUMBER.fullmatch(value):
        return f"'{value}"
    return value


def plain(cell: str) -> str:
    """What `guarded` was given."""
    return cell[1:] if cell[:1] == "'" and _RUN.match(cell[1:]) else cell


def quoting(cells: Iterable[Any]) -> Any:
    """How a writer of CSV must quote: it leaves a lone carriage return bare, and readers take that
    for the end of a row."""
    returns = any(isinstance(cell, str) and "\r" in cell for cell in cells)
    return csv.QUOTE_NONNUMERIC if returns else csv.QUOTE_MINIMAL


def to_csv(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table with guarded cells; None is blank."""
    out, whole = io.StringIO(), [columns, *rows]
    how = quoting(cell for row in whole for cell in row)
    writer = csv.writer(out, lineterminator="\n", quoting=how)
    writer.writerows(["" if cell is None else guarded(cell) for cell in row] for row in whole)
    return out.getvalue()
