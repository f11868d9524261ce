"""Tables that people and programs write as text -> rows of cells, whatever the delimiter and the
encoding; and ours as text.

Knows no column and no set. A quote that is not closed would swallow the rows behind it, and a row
that is cut or too long would move cells into other columns: these are errors, or are told.
"""

from __future__ import annotations

import csv
import gzip
import io
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from hilum.core import csv_cells
from hilum.core.csv_cells import plain
from hilum.core.documents import UTF16_MARKS
from hilum.core.errors import DataError
from hilum.core.files import read_at_most
from hilum.data.parquet import as_text, read_parquet

Source = str | os.PathLike[str] | tuple[str, bytes]

DELIMITERS = (",", ";", "\t", "|")
MOST_BYTES = 2**30  # inflated
UTF32_MARKS = (b"\xff\xfe\0\0", b"\0\0\xfe\xff")
# First cell of rows that a spreadsheet puts below a table.
TOTALS = frozenset(
    (
        *("total", "totals", "sum", "mean", "average", "avg", "median", "std"),
        *("gesamt", "summe", "mittelwert", "durchschnitt", "moyenne", "somme"),
    )
)
GZIP = b"\x1f\x8b"
PARQUET = b"PAR1"
OTHERS = {  # how files begin that are called tables too, and are no CSV
    b"PK\x03\x04": "a zip or a spreadsheet (xlsx)",
    b"\xd0\xcf\x11\xe0": "a spreadsheet (xls)",
    b"BZh": "compressed with bzip2",
    b"\xfd7zXZ": "compressed with xz",
    b"7z\xbc\xaf": "a 7z archive",
    b"\x28\xb5\x2f\xfd": "compressed with zstd",
    b"%PDF": "PDF",
    b"{": "JSON",
    b"[{": "JSON",
}
_FORMULA = re.compile(r'="([^"]*)"|\'(\d+)')  # ="0012" and '0012: text that looks like a number
_MARK = re.compile(r"""\s*["']?sep=([,;\t|])["']?[,;\t|]*\r?\n""", re.IGNORECASE)


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """A table of text with trimmed column names, each its own."""

    table: pd.DataFrame
    short: tuple[int, ...] = ()  # numbers of the rows, the header's is 1, that lack cells
    headers: int = 0  # rows that repeat the header, as joined files have them; left out
    twins: tuple[str, ...] = ()  # names that stand over several columns; the first keeps it
    comments: int = 0  # rows that begin with #; left out
    totals: tuple[str, ...] = ()  # first cells of rows of sums and means at the end; left out


def read_cells(source: Source) -> Cells:
    """A CSV file, plain or gzipped, or a Parquet one; cells that a row lacks are blank, blank rows
    are none.

    Args:
        source: a path; or a name and the content, of what can be read only once.

    Raises:
        DataError: not text, not a table, or a row has more cells than columns.
    """
    name = Path(source[0] if isinstance(source, tuple) else source)
    try:
        content = _content(source)
        if content.startswith(PARQUET):
            return _of_parquet(content)
    except (DataError, OSError, EOFError) as error:
        raise DataError(f"{name} is not a readable table: {error}") from error
    rows = _rows(name, content)
    everything = len(rows)
    rows = _without_comments(rows)
    comments = everything - len(rows)
    header = _names(rows[0]) if rows else []
    twins = tuple(name for name in header if f"{name}.1" in header)
    again = [row for row in rows[1:] if row == rows[0]]
    rows = [*rows[:1], *(row for row in rows[1:] if row != rows[0])]
    totals = _totals(rows)
    rows = rows[: len(rows) - len(totals)]
    short = []
    for number, row in enumerate(rows[1:], 2 + comments):
        if len(row) == len(header):
            continue
        if any(map(str.strip, row[len(header) :])):
            raise DataError(
                f"{name.name}, row {number} has {len(row)} cells for {len(header)} columns; "
                "is a delimiter inside a cell not quoted, or does a title stand above the header?"
            )
        if len(row) < len(header):
            short.append(number)
        row[len(header) :] = [""] * (len(header) - len(row))
    table = pd.DataFrame(rows[1:], columns=header, dtype=str)
    return Cells(
        table=table,
        short=tuple(short),
        headers=len(again),
        twins=twins,
        comments=comments,
        totals=tuple(totals),
    )


def _without_comments(rows: list[list[str]]) -> list[list[str]]:
    """Rows without those that begin with #, unless they are as full as the header: #REF! is none,
    nor is a header that is called #id."""
    plain = (row for row in rows if not row[0].startswith("#"))
    full = len(_filled(next(plain, [])))

    def is_comment(row: list[str]) -> bool:
        return row[0].startswith("#") and (row[0][1:2] in "# " or len(_filled(row)) != full)

    return [row for row in rows if not is_comment(row)]


def _filled(row: Sequence[str]) -> list[str]:
    return [cell for cell in row if cell.strip()]


def _totals(rows: Sequence[Sequence[str]]) -> list[str]:
    """What rows of sums and means at the end of a table begin with."""
    out: list[str] = []
    for row in reversed(rows[1:]):
        first = _filled(row)[0].strip()
        if first.casefold().rstrip(":") not in TOTALS:
            break
        out.append(first)
    return out[::-1]


def _of_parquet(content: bytes) -> Cells:
    table = as_text(read_parquet(content)[0])
    names = _names([str(column) for column in table])
    return Cells(table=table.set_axis(names, axis=1))


def _rows(name: Path, content: bytes) -> list[list[str]]:
    """The rows that are not blank, the header first."""
    try:
        text = _decoded(content)
        mark = _MARK.match(text)  # how spreadsheets are told the delimiter: sep=;
        text = text[mark.end() :] if mark else text
        lines = text.lstrip("\r\n ").splitlines()
        header = next((line for line in lines if line[:1] != "#"), lines[0] if lines else "")
        delimiter = mark[1] if mark else max(DELIMITERS, key=header.count)
        csv.field_size_limit(MOST_BYTES)  # of the process; a mask's run lengths may be long
        # Strict: a quote that is not closed would swallow the rows behind it.
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        return [[*map(_tidy, row)] for row in reader if any(map(str.strip, row))]
    except (ValueError, csv.Error) as error:
        raise DataError(f"{name} is not a readable CSV: {error}") from error


def _tidy(cell: str) -> str:
    match = _FORMULA.fullmatch(cell) if cell[:1] in "='" else None
    return plain(cell) if match is None else match[1] or match[2] or ""


def to_csv(table: pd.DataFrame) -> str:
    """The text of a table; `read_cells` gives its cells as they were."""
    cells = table.astype(object).where(table.notna(), None)
    return csv_cells.to_csv([*map(str, table)], cells.to_numpy().tolist())


def _content(source: Source) -> bytes:
    content = source[1] if isinstance(source, tuple) else read_at_most(source, MOST_BYTES)
    if content.startswith(GZIP):
        with gzip.open(io.BytesIO(content)) as stream:
            content = b"".join(_pieces(stream))
    kind = next((kind for mark, kind in OTHERS.items() if content.startswith(mark)), None)
    if kind:
        raise DataError(
            f"it is {kind}; needed: CSV, plain or gzipped, or Parquet. Unpack it, or export it so"
        )
    if len(content) > MOST_BYTES:
        raise DataError(f"it is larger than {MOST_BYTES} bytes; split it")
    return content


def _pieces(stream: gzip.GzipFile) -> Iterator[bytes]:
    """What a stream inflates to, up to the limit and a little more."""
    size = 0
    while size <= MOST_BYTES and (piece := stream.read(2**20)):
        size += len(piece)
        yield piece


def _decoded(content: bytes) -> str:
    if content[:4] in UTF32_MARKS:
        return _text(content.decode("utf-32"))
    if content[:2] in UTF16_MARKS:  # what spreadsheets call Unicode text
        return _text(content.decode("utf-16"))
    for start, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):  # without its mark
        if len(content) > 2 and not any(content[start:100:2]):
            return _text(content.decode(encoding))
    try:
        return _text(content.decode("utf-8-sig"))
    except UnicodeDecodeError:
        return _text(content.decode("cp1252"))


def _text(text: str) -> str:
    if "\0" in text:
        raise DataError("it holds NUL characters: it is damaged, or no text")
    return text


def _names(header: Sequence[str]) -> list[str]:
    """Trimmed names of columns, each its own: a second "a" is "a.1", a blank one "column 3"."""
    while header and not header[-1].strip():  # NIH's list of boxes ends its header in commas
        header = header[:-1]
    out: list[str] = []
    for number, cell in enumerate(header, 1):
        name = cell.strip() or f"column {number}"
        twins = sum(o == name or o.startswith(f"{name}.") for o in out)
        out.append(f"{name}.{twins}" if name in out else name)
    return out
