"""The columns of a catalog, and what makes a table one.

Columns beside the fixed ones below:
    label_<name>   float32, image level: 1 present, 0 absent, NaN not annotated
    study_<name>   float32, study level, likewise
    mask_<name>    reference of a mask ("file", "archive.zip!member" or "rle:..."), "" annotated
                   and empty, null not annotated
and, where the images are resized copies (`hilum data convert --to png`), those of `COPIES`,
where augmented ones stand beside them (`--enrich`), those of `ENRICHED`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from hilum.core.errors import DataError
from hilum.core.geometry import FARTHEST_PX

TEXT = (
    *("image_id", "path", "patient", "study", "series", "view", "sex"),
    *("modality", "photometric", "source", "split"),
)
NUMBERS = {"age": "float32", "width": "int32", "height": "int32"}  # years, px; NaN / 0 unknown
NAMES = ("image_id", "path")  # of files: blanks at their ends belong to them
LISTS = ("boxes", "box_labels")  # flat x1, y1, x2, y2 per box, px; null = not annotated
FIXED = (*TEXT, *NUMBERS, *LISTS)
PREFIXES = ("label_", "study_", "mask_")
COPIES = (
    "original",  # path of the file that the copy was made from, below the set's own directory
    *("scale_x", "scale_y"),  # pixels of the copy per pixel of the original
    *("spacing_row_mm", "spacing_column_mm"),  # of the copy's pixels
)
SCALES, SPACINGS = COPIES[1:3], COPIES[3:]
ENRICHED = (
    "copy_of",  # image id of the row that an augmented copy was made from, "" for no copy
    "augment",  # policy and its augmentation, e.g. "pneumothorax: 2 Optical"
)


def filled(rows: pd.DataFrame, name: str) -> pd.DataFrame:
    """`rows` with every fixed column, in order; missing ones are unknown.

    Raises:
        DataError: text where a number belongs.
    """
    _check_names(rows, name)
    table = rows.copy()
    for column in TEXT:
        values = table[column] if column in table else pd.Series("", index=table.index)
        table[column] = _text(values) if column in NAMES else _text(values).str.strip()
    for column, kind in NUMBERS.items():
        values = table[column] if column in table else pd.Series(np.nan, index=table.index)
        numeric = _measures(values, column, name, blank=True).to_numpy(np.float64)
        table[column] = (numeric if kind == "float32" else np.nan_to_num(numeric)).astype(kind)
    for column in LISTS:
        if column not in table:
            table[column] = pd.Series([None] * len(table), index=table.index, dtype=object)
    table.loc[table["source"] == "", "source"] = name
    order = [*FIXED, *(c for c in table.columns if c not in FIXED)]
    return table[order]


def _text(values: pd.Series[Any]) -> pd.Series[str]:
    """As text, blank where unknown; 1.0 of a column of floats is "1", as in its whole numbers."""
    # As objects first: an empty column read from CSV is all NaN and numeric.
    text = values.astype(object).where(values.notna(), "").astype(str)
    return text.str.removesuffix(".0") if values.dtype.kind == "f" else text


def checked(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """The table with its columns in their types.

    Raises:
        DataError: missing or unknown columns, an image without patient, an id or file that stands
            twice, a label that is neither 0 nor 1, boxes that fit no labels.
    """
    missing = [column for column in FIXED if column not in table]
    if missing:
        raise DataError(f"catalog {name!r} lacks the columns {', '.join(missing)}")
    known = (*FIXED, *COPIES, *ENRICHED)
    unknown = [c for c in table.columns if c not in known and not c.startswith(PREFIXES)]
    if unknown:
        raise DataError(
            f"catalog {name!r} has unknown columns {', '.join(unknown)}; allowed beside the fixed "
            f"ones: {', '.join(p + '*' for p in PREFIXES)}, " + ", ".join((*COPIES, *ENRICHED))
        )
    for pair in (SCALES, SPACINGS):
        if len(lost := [column for column in pair if column not in table]) == 1:
            raise DataError(f"catalog {name!r} has {' and '.join(pair)} but for {lost[0]}")
    _check_names(table, name)
    table = table.reset_index(drop=True)
    for column in TEXT:
        table[column] = _texts(table[column], column, name)
    for column, kind in {**NUMBERS, **dict.fromkeys(SCALES + SPACINGS, "float64")}.items():
        if column in table:
            dtype: Any = kind  # a name that the stubs do not list
            table[column] = _measures(table[column], column, name).astype(dtype)
    _check_ids(table, name)
    _check_files(table, name)
    for column in table.columns:
        if column.startswith(("label_", "study_")):
            table[column] = _presence(table[column], column, name)
        if column.startswith("mask_"):
            there = table[column].notna()
            references = table[column].astype(object).where(there, None)
            _texts(references[there], column, name)
            table[column] = references
    for column in LISTS:
        table[column] = table[column].astype(object).where(table[column].notna(), None)
        _check_lists(table, column, name)
    _check_boxes(table, name)
    return table


def _check_ids(table: pd.DataFrame, name: str) -> None:
    nobody = table["patient"] == ""
    if nobody.any():
        raise DataError(
            f"catalog {name!r}: {int(nobody.sum())} images have no patient, the first is "
            f"{table.loc[nobody, 'image_id'].iat[0]!r}; where a set has none, use the study"
        )
    twice = table["image_id"].duplicated()
    if twice.any():
        raise DataError(
            f"catalog {name!r}: image id {table.loc[twice, 'image_id'].iat[0]!r} stands twice"
        )


def _check_names(table: pd.DataFrame, name: str) -> None:
    if not table.columns.is_unique:
        twice = table.columns[table.columns.duplicated()][0]
        raise DataError(f"catalog {name!r} has two columns {twice!r}")


def _check_files(table: pd.DataFrame, name: str) -> None:
    shared = (table["path"] != "") & table["path"].duplicated(keep=False)
    if shared.any():
        first = table.loc[shared, "path"].iat[0]
        images = table.loc[table["path"] == first, "image_id"].tolist()
        raise DataError(f"catalog {name!r}: {images[0]!r} and {images[1]!r} share file {first!r}")


def _texts(values: pd.Series[Any], column: str, name: str) -> pd.Series[Any]:
    """Raises DataError for a cell that is no text."""
    if pd.api.types.infer_dtype(values, skipna=False) not in ("string", "empty"):
        other = next(value for value in values if not isinstance(value, str))
        raise DataError(
            f"catalog {name!r}: {column} is {str(other)[:40]!r} ({type(other).__name__}); needed: "
            'text, "" where it is unknown'
        )
    return values


def _measures(
    values: pd.Series[Any], column: str, name: str, *, blank: bool = False
) -> pd.Series[float]:
    """Raises DataError for what is no length, scale or age; `blank` where it may be unknown."""
    numeric = _numeric(values, column, name)
    wrong = ~numeric.between(0, FARTHEST_PX)
    if column in (*SCALES, *SPACINGS):  # a size of 0 is unknown, a scale cannot be
        wrong |= numeric == 0
    if blank or column not in ("width", "height"):  # NaN is unknown, there it is 0
        wrong &= numeric.notna()
    if wrong.any():
        raise DataError(
            f"catalog {name!r}, image {wrong.idxmax()}: {column} is {numeric[wrong].iat[0]:g}; "
            "needed: a number that an image can have"
        )
    return numeric


def _check_lists(table: pd.DataFrame, column: str, name: str) -> None:
    """Raises DataError for a cell that is no list of numbers, or of texts."""
    kinds = (float, int, np.floating, np.integer) if column == "boxes" else (str,)
    for image, cell in zip(table["image_id"], table[column], strict=True):
        if cell is None:
            continue
        proper = isinstance(cell, list | tuple | np.ndarray) and all(
            isinstance(one, kinds) and not isinstance(one, bool) for one in cell
        )
        if not proper:
            raise DataError(
                f"catalog {name!r}, image {image!r}: {column} is {str(cell)[:40]!r}; needed: a "
                "list, or null where nobody annotated"
            )


def _presence(values: pd.Series[Any], column: str, name: str) -> pd.Series[Any]:
    """float32, 1 present, 0 absent, NaN unknown; raises DataError for anything else."""
    numeric = _numeric(values, column, name)
    wrong = numeric.notna() & ~numeric.isin((0, 1))
    if wrong.any():
        raise DataError(
            f"catalog {name!r}: {column} is {numeric[wrong].iat[0]:g}; needed: 1 (present), "
            "0 (absent) or NaN (unknown)"
        )
    return numeric.astype("float32")


def _check_boxes(table: pd.DataFrame, name: str) -> None:
    known = table["boxes"].notna()
    counts = table.loc[known, "boxes"].map(len)
    labels: Any = table.loc[known, "box_labels"].map(lambda v: -1 if v is None else len(v))
    wrong = counts != 4 * labels
    if wrong.any():
        row = wrong.idxmax()
        raise DataError(
            f"catalog {name!r}, image {table['image_id'][row]!r}: {counts[row]} box numbers for "
            f"{labels[row]} labels; needed: four numbers a box"
        )
    if not counts.sum():
        return
    corners = np.concatenate([np.asarray(b, np.float64) for b in table.loc[known, "boxes"]])
    corners = corners.reshape(-1, 4)
    damaged = ~(np.abs(corners) <= FARTHEST_PX).all(axis=1)
    damaged |= (corners[:, 2:] < corners[:, :2]).any(axis=1)
    if damaged.any():
        box = int(np.flatnonzero(damaged)[0])
        ends = (counts // 4).cumsum().to_numpy()
        row = counts.index[int(np.searchsorted(ends, box, side="right"))]
        raise DataError(
            f"catalog {name!r}, image {table['image_id'][row]!r}: box {corners[box].tolist()}; "
            "needed: finite x1, y1, x2, y2 with x1 ≤ x2 and y1 ≤ y2"
        )


def _numeric(values: pd.Series[Any], column: str, name: str) -> pd.Series[float]:
    """Raises DataError for what is neither a number nor blank."""
    if values.dtype.kind in "fiub":
        return values.astype("float64")
    values = values.astype(object).where(values.notna(), np.nan)
    numeric = pd.to_numeric(values, errors="coerce").astype("float64")
    text = numeric.isna() & values.notna() & (values.astype(str).str.strip() != "")
    text &= ~values.map(lambda v: isinstance(v, float))
    if text.any():
        raise DataError(
            f"catalog {name!r}: {column} {values[text].iat[0]!r} is no number; needed: a number, "
            "or NaN where it is unknown"
        )
    return numeric
