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


def to_csv(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table with guarded cells; None is blank."""
    return "".join(line([guarded(cell) for cell in row]) for row in (columns, *rows))


def line(row: Sequence[Any]) -> str:
    """One row as it is, with its end."""
    out = io.StringIO()
    # As ends of lines both are quoted inside of cells: a lone \r would tear its row.
    csv.writer(out, lineterminator="\r\n").writerow(row)
    return out.getvalue()[:-2] + "\n"
