"""Catalog: the typed table that every adapter produces and everything else reads.

One row per image; `width` and `height` are the frame its boxes were drawn in, which need not be
the size of its file (`boxes_in` leads from one to the other). Knows no data set's own format and
decodes no pixels; its columns stand in `columns`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from hilum.core.documents import decoded, parse_json
from hilum.core.errors import ConfigError, DataError, DocumentError
from hilum.core.files import atomic_path, is_file
from hilum.core.options import checked as checked_options
from hilum.core.options import unknown
from hilum.data.columns import PREFIXES, checked, filled
from hilum.data.frames import into
from hilum.data.licences import licence_of
from hilum.data.parquet import read_parquet

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Bool = NDArray[np.bool_]

FORMS = ("coco", "voc", "yolo", "folder")  # names that say how a set is stored, not which it is


@dataclass(frozen=True, slots=True, eq=False)
class Catalog:
    """A checked table with one row per image.

    `path` is relative to `root`, "archive.zip!member" inside an archive, "" without pixels.
    `notes` say in words what the adapter assumed and left out; `skips` count by kind what it could
    not use (kinds: docs/data.md).
    """

    name: str
    table: pd.DataFrame
    root: Path = Path()
    notes: tuple[str, ...] = ()
    skips: Mapping[str, int] = field(default_factory=dict)
    licence: str = ""  # of the source; "" where nobody has said it

    def __post_init__(self) -> None:
        object.__setattr__(self, "table", checked(self.table, self.name))

    def __len__(self) -> int:
        return len(self.table)

    @property
    def title(self) -> str:
        """What people call the set: its name, for a form that any set may have its folder's."""
        folder = self.root.resolve().name
        return f"{folder} ({self.name})" if self.name in FORMS and folder else self.name

    @property
    def label_names(self) -> list[str]:
        return [c.removeprefix("label_") for c in self.table.columns if c.startswith("label_")]

    @property
    def box_names(self) -> list[str]:
        """The labels that boxes have, sorted."""
        return sorted({name for names in self.table["box_labels"].dropna() for name in names})

    @property
    def annotated(self) -> Bool:
        """(n,) whether anything at all is known of an image: a label, a mask or boxes."""
        columns = [c for c in map(str, self.table) if c.startswith(PREFIXES)]
        known = self.table[[*columns, "boxes"]].notna().any(axis=1)
        return known.to_numpy(bool)

    @property
    def withheld(self) -> Bool:
        """(n,) images of a challenge's test part whose truth the organisers keep.

        They belong into no split, fold or sample: nothing can be learnt from or tested on them.
        """
        test = (self.table["split"] == "test").to_numpy(bool)
        return np.asarray(test & ~self.annotated)

    def boxes(self, row: int) -> tuple[Float32, list[str]] | None:
        """(n, 4) boxes of one image in its frame and their n labels, None where nobody annotated
        boxes."""
        exact = self.exact_boxes(row)
        return None if exact is None else (exact[0].astype(np.float32), exact[1])

    def boxes_in(self, row: int, width: int, height: int) -> tuple[Float64, list[str]] | None:
        """As `boxes`, but float64 in the pixels of an image of that size.

        Raises:
            DataError: the image is of another shape than the frame the boxes were drawn in.
        """
        exact = self.exact_boxes(row)
        if exact is None:
            return None
        frame = self.frame(row)
        image = str(self.table["image_id"].iat[row])
        return into(exact[0], frame, (width, height), image), exact[1]

    def frame(self, row: int) -> tuple[int, int]:
        """Width and height that an image's boxes were drawn in, px; 0, 0 unknown."""
        width, height = self.table[["width", "height"]].iloc[row].tolist()
        return int(width), int(height)

    def original_boxes(self, row: int) -> tuple[Float64, list[str]] | None:
        """As `boxes`, but (n, 4) float64 in the pixels of the file that a copy was made from."""
        exact = self.exact_boxes(row)
        if exact is None or "scale_x" not in self.table:
            return exact
        x, y = self.table["scale_x"].iat[row], self.table["scale_y"].iat[row]
        return exact[0] / [x, y, x, y], exact[1]

    def exact_boxes(self, row: int) -> tuple[Float64, list[str]] | None:
        """As `boxes`, but float64, as they are stored."""
        flat: Any = self.table["boxes"].iat[row]
        names: Any = self.table["box_labels"].iat[row]
        if flat is None:
            return None
        return np.asarray(flat, np.float64).reshape(-1, 4), list(names)

    def where(self, keep: pd.Series[bool] | NDArray[np.bool_]) -> Catalog:
        """The rows for which `keep` is true."""
        return replace(self, table=self.table[np.asarray(keep)])

    def without(self, skip: Bool, kind: str, text: str) -> Catalog:
        """The rows for which `skip` is false; the others are counted as `kind`, and noted."""
        count = int(np.count_nonzero(skip))
        if not count:
            return self
        skips = {**self.skips, kind: self.skips.get(kind, 0) + count}
        notes = (*self.notes, f"{count} {text}")
        return replace(self, table=self.table[~np.asarray(skip)], notes=notes, skips=skips)

    def with_files(self) -> Catalog:
        """The rows that have a file; all of a set's tables alone, where none has one."""
        kept = (self.table["path"] != "").to_numpy(bool)
        return self.where(kept) if kept.any() else self

    def need_files(self) -> None:
        """Raises DataError where the catalog names files but its folder is not there."""
        if (self.table["path"] != "").any() and not self.root.is_dir():
            raise DataError(
                f"catalog {self.name!r}: its images lie below {self.root}, which is not there. "
                "If they were moved: hilum data catalog CATALOG --root FOLDER --out NEW"
            )

    def parts(self) -> Iterator[tuple[str, Catalog]]:
        """Each split's name and rows."""
        for split in sorted(self.table["split"].unique()):
            yield split, self.where(self.table["split"] == split)

    def in_part(self, names: str) -> NDArray[np.bool_]:
        """Which rows are of a part of its split, or of several ("validation,test"); "": all.

        Raises:
            ConfigError: there is no such part.
        """
        parts = self.table["split"]
        wanted = names.split(",") if names else sorted(parts.unique())
        for name in wanted:
            if name not in set(parts):
                raise ConfigError(unknown("part", name, sorted(set(parts) - {""})))
        return parts.isin(wanted).to_numpy(bool)

    def save(self, path: str | Path) -> None:
        """Write one Parquet file, atomically; name, root, notes and licence travel as metadata.

        A root beside or below the file is stored relative to it, so that both can be moved.
        """
        here, root = Path(path).resolve().parent, self.root.resolve()
        root = root.relative_to(here) if root.is_relative_to(here) else root
        table = pa.Table.from_pandas(self.table, preserve_index=False)
        own = {
            b"hilum.name": self.name.encode(),
            b"hilum.root": str(root).encode(),
            b"hilum.notes": json.dumps(self.notes).encode(),
            b"hilum.skips": json.dumps(dict(self.skips)).encode(),
            b"hilum.licence": self.licence.encode(),
        }
        with atomic_path(path) as temporary:
            pq.write_table(
                table.replace_schema_metadata({**(table.schema.metadata or {}), **own}), temporary
            )


def open_catalog(path: str | Path, root: str | Path | None = None) -> Catalog:
    """Read what `Catalog.save` wrote.

    Args:
        root: where the images lie now, if they were moved.

    Raises:
        DataError: not a Parquet file of ours, or one that lacks columns.
    """
    if not is_file(path):
        raise DataError(f"there is no catalog {path}")
    table, meta = _parquet(path)
    keys = ("name", "root", "notes", "skips", "licence")
    own = {key: meta.get(f"hilum.{key}".encode()) for key in keys}
    if own["name"] is None or own["root"] is None:
        raise DataError(
            f"{path} is a Parquet file, but not a hilum catalog; hilum data catalog writes one"
        )
    try:
        beside = checked_options(
            _Beside,
            {
                "name": decoded(own["name"]),
                "root": decoded(own["root"]),
                "notes": parse_json(own["notes"] or b"[]"),
                "skips": parse_json(own["skips"] or b"{}"),
                "licence": decoded(own["licence"] or b""),
            },
            "its notes are damaged",
            DataError,
        )
        return Catalog(
            name=beside.name,
            table=table,
            root=Path(root) if root else Path(path).parent / beside.root,
            notes=tuple(beside.notes),
            skips=beside.skips,
            licence=beside.licence,
        )
    except (DataError, DocumentError) as error:
        raise DataError(f"{path}: {error}") from error


class _Beside(BaseModel):
    """What travels beside the table."""

    model_config = ConfigDict(strict=True)

    name: str
    root: str
    notes: list[str]
    skips: dict[str, Annotated[int, Field(ge=0)]]
    licence: str


def _parquet(path: str | Path) -> tuple[pd.DataFrame, dict[bytes, bytes]]:
    try:
        return read_parquet(path)
    except DataError as error:
        raise DataError(
            f"{path} is not a readable catalog (Parquet): {error}. From a "
            "set's directory or a table: hilum data catalog DIRECTORY --kind NAME --out C.parquet"
        ) from error


def build(
    name: str,
    rows: pd.DataFrame,
    root: Path,
    notes: tuple[str, ...] = (),
    skips: Mapping[str, int] | None = None,
    licence: str = "",
) -> Catalog:
    """A catalog from the columns an adapter knows; missing fixed ones are unknown.

    Args:
        licence: of the source; else that of the set of this name, if it is known.

    Raises:
        DataError: as `columns.filled` and `columns.checked`.
    """
    table = filled(rows, name)
    return Catalog(
        name=name,
        table=table,
        root=root,
        notes=notes,
        skips=skips or {},
        licence=licence or licence_of(name).licence,
    )
