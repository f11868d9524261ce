"""What a catalog knows, counted: the look that shows whether labels, boxes and masks were read as
they were meant. Opens no file."""

from __future__ import annotations

import pandas as pd

from hilum.data.catalog import Catalog
from hilum.data.columns import PREFIXES

PRESENT, ABSENT, UNKNOWN = "present", "absent", "unknown"


def tally(catalog: Catalog) -> dict[str, dict[str, int]]:
    """Column of labels, masks, and boxes -> how many images have it, have none, and are unknown.

    Columns of which nothing is known are left out.
    """
    table = catalog.table
    columns = [c for c in map(str, table) if c.startswith(PREFIXES)]
    counted = {c: _counts(table[c].isna(), _there(table[c])) for c in columns}
    boxes = table["boxes"]
    counted["boxes"] = _counts(boxes.isna(), boxes.map(lambda b: b is not None and len(b) > 0))
    return {c: own for c, own in counted.items() if own[UNKNOWN] < len(table)}


def in_words(catalog: Catalog) -> list[str]:
    """A line a column of `tally`."""
    return [
        f"{column}: " + ", ".join(f"{count} {what}" for what, count in own.items() if count)
        for column, own in tally(catalog).items()
    ]


def _there(cells: pd.Series[float] | pd.Series[str]) -> pd.Series[bool]:
    return cells == 1 if cells.dtype.kind == "f" else cells.notna() & (cells != "")


def _counts(unknown: pd.Series[bool], present: pd.Series[bool]) -> dict[str, int]:
    nobody, there = int(unknown.sum()), int((present & ~unknown).sum())
    return {PRESENT: there, ABSENT: len(unknown) - nobody - there, UNKNOWN: nobody}
