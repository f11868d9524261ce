"""Catalog: the typed table that every adapter produces and everything else reads.

One row per image. Knows no data set's own format and decodes no pixels.

Columns beside the fixed ones below:
    label_<name>   float32, image level: 1 present, 0 absent, NaN not annotated
    study_<name>   float32, study level, likewise
    mask_<name>    reference of a mask ("file", "archive.zip!member" or "rle:..."), "" annotated
                   and empty, null not annotated
and, where the pictures are resized copies (`hilum data convert --to png`), those of `COPIES`,
where augmented ones stand beside them (`--enrich`), those of `ENRICHED`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from hilum.core.errors import DataError
from hilum.core.files import atomic_path

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

TEXT = (
    *("image_id", "path", "patient", "study", "series", "view", "sex"),
    *("modality", "photometric", "source", "split"),
)
NUMBERS = {"age": "float32", "width": "int32", "height": "int32"}  # years, px; NaN / 0 unknown
LISTS = ("boxes", "box_labels")  # flat x1, y1, x2, y2 per box, px; null = not annotated
FIXED = (*TEXT, *NUMBERS, *LISTS)
PREFIXES = ("label_", "study_", "mask_")
COPIES = (
    "original",  # path of the file that the picture was made from, below the set's own directory
    *("scale_x", "scale_y"),  # pixels of the picture per pixel of the original
    *("spacing_row_mm", "spacing_column_mm"),  # of the picture's pixels
)
ENRICHED = (
    "copy_of",  # image id of the row that an augmented copy was made from, "" for no copy
    "augment",  # policy and its augmentation, e.g. "pneumothorax: 2 Optical"
)


@dataclass(frozen=True, slots=True, eq=False)
class Catalog:
    """A checked table with one row per image.

    `path` is relative to `root`, "archive.zip!member" inside an archive, "" without pixels.
    """

    name: str
    table: pd.DataFrame
    root: Path = Path()
    notes: tuple[str, ...] = field(default=())  # what the adapter assumed, e.g. about patients

    def __post_init__(self) -> None:
        object.__setattr__(self, "table", _checked(self.table, self.name))

    def __len__(self) -> int:
        return len(self.table)

    @property
    def label_names(self) -> list[str]:
        return [c.removeprefix("label_") for c in self.table.columns if c.startswith("label_")]

    def boxes(self, row: int) -> tuple[Float32, list[str]] | None:
        """(n, 4) boxes and their n labels of one image, None where nobody annotated boxes."""
        flat = self.table["boxes"].iat[row]
        if flat is None:
            return None
        boxes = np.asarray(flat, np.float32).reshape(-1, 4)
        names: Any = self.table["box_labels"].iat[row]
        return boxes, list(names)

    def original_boxes(self, row: int) -> tuple[Float64, list[str]] | None:
        """As `boxes`, but (n, 4) float64 in the pixels of the file that a picture was made from."""
        flat: Any = self.table["boxes"].iat[row]
        names: Any = self.table["box_labels"].iat[row]
        if flat is None:
            return None
        boxes = np.asarray(flat, np.float64).reshape(-1, 4)
        if "scale_x" in self.table:
            x, y = self.table["scale_x"].iat[row], self.table["scale_y"].iat[row]
            boxes = boxes / [x, y, x, y]
        return boxes, list(names)

    def where(self, keep: pd.Series[bool] | NDArray[np.bool_]) -> Catalog:
        """The rows for which `keep` is true."""
        return Catalog(self.name, self.table[np.asarray(keep)], self.root, self.notes)

    def parts(self) -> Iterator[tuple[str, Catalog]]:
        """Each split's name and rows."""
        for split in sorted(self.table["split"].unique()):
            yield split, self.where(self.table["split"] == split)

    def save(self, path: str | Path) -> None:
        """Write one Parquet file, atomically; name, root and notes travel as metadata.

        A root beside or below the file is stored relative to it, so that both can be moved.
        """
        here, root = Path(path).resolve().parent, self.root.resolve()
        root = root.relative_to(here) if root.is_relative_to(here) else root
        table = pa.Table.from_pandas(self.table, preserve_index=False)
        own = {
            b"hilum.name": self.name.encode(),
            b"hilum.root": str(root).encode(),
            b"hilum.notes": "\n".join(self.notes).encode(),
        }
        with atomic_path(path) as temporary:
            pq.write_table(
                table.replace_schema_metadata({**(table.schema.metadata or {}), **own}), temporary
            )


def open_catalog(path: str | Path) -> Catalog:
    """Read what `Catalog.save` wrote.

    Raises:
        DataError: not a Parquet file of ours.
    """
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(f"{path} is not a readable catalog (Parquet): {error}") from error
    meta = table.schema.metadata or {}
    if b"hilum.name" not in meta:
        raise DataError(f"{path} is a Parquet file, but not a hilum catalog")
    notes = meta[b"hilum.notes"].decode()
    return Catalog(
        meta[b"hilum.name"].decode(),
        table.to_pandas(),
        Path(path).parent / meta[b"hilum.root"].decode(),
        tuple(notes.split("\n")) if notes else (),
    )


def build(name: str, rows: pd.DataFrame, root: Path, notes: tuple[str, ...] = ()) -> Catalog:
    """A catalog from the columns an adapter knows; missing fixed ones are unknown."""
    table = rows.copy()
    for column in TEXT:
        values = table[column] if column in table else pd.Series("", index=table.index)
        # As objects first: an empty column read from CSV is all NaN and numeric.
        table[column] = values.astype(object).where(values.notna(), "").astype(str)
    for column, kind in NUMBERS.items():
        values = table[column] if column in table else pd.Series(np.nan, index=table.index)
        numeric = pd.to_numeric(values, errors="coerce").to_numpy(np.float64)
        table[column] = (numeric if kind == "float32" else np.nan_to_num(numeric)).astype(kind)
    for column in LISTS:
        if column not in table:
            table[column] = pd.Series([None] * len(table), index=table.index, dtype=object)
    table.loc[table["source"] == "", "source"] = name
    order = [*FIXED, *(c for c in table.columns if c not in FIXED)]
    return Catalog(name, table[order], root, notes)


def _checked(table: pd.DataFrame, name: str) -> pd.DataFrame:
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
    table = table.reset_index(drop=True)
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
    for column in table.columns:
        if column.startswith(("label_", "study_")):
            table[column] = table[column].astype("float32")
        if column.startswith("mask_"):
            references = table[column].astype(object)
            table[column] = references.where(references.notna(), None)
    _check_box_lengths(table, name)
    return table


def _check_box_lengths(table: pd.DataFrame, name: str) -> None:
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
