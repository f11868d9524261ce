"""What all adapters share: finding tables and files, grouping boxes, joining the two.

Knows no set. Decodes no pixels; DICOM headers are read only where a set needs them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from hilum.core.errors import DataError

DICOM = (".dcm", ".dicom")
PICTURES = (".png", ".jpg", ".jpeg", ".webp")
CORNERS = ("x1", "y1", "x2", "y2")


@dataclass(slots=True)
class Source:
    """The directory of one set, and what had to be assumed while reading it."""

    name: str
    root: Path
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not self.root.is_dir():
            raise DataError(f"set {self.name!r}: there is no directory {self.root}")

    def note(self, count: int, text: str) -> None:
        """Remember something that concerns `count` rows; nothing if there are none."""
        if count:
            self.notes.append(f"{count} {text}")

    def find(self, *names: str) -> Path | None:
        """The first of these files, plain or gzipped."""
        for name in names:
            for candidate in (self.root / name, self.root / f"{name}.gz"):
                if candidate.is_file():
                    return candidate
        return None

    def require(self, *names: str) -> Path:
        """As `find`.

        Raises:
            DataError: none is there; names the files looked for.
        """
        found = self.find(*names)
        if found is None:
            raise DataError(
                f"set {self.name!r}: {self.root} holds none of the files looked for: "
                f"{', '.join(names)} (or .gz). Is it the directory of that set?"
            )
        return found

    def table(self, path: Path, columns: Sequence[str]) -> pd.DataFrame:
        """A CSV as text with trimmed column names; a byte order mark is skipped.

        Raises:
            DataError: not a table, or columns are missing.
        """
        try:
            rows = pd.read_csv(path, dtype=str, encoding="utf-8-sig", keep_default_na=False)
        except (ValueError, OSError, EOFError) as error:
            raise DataError(f"set {self.name!r}: {path} is not a readable CSV: {error}") from error
        rows.columns = rows.columns.str.strip()
        missing = [c for c in columns if c not in rows]
        if missing:
            raise DataError(
                f"set {self.name!r}: {path.name} lacks the columns {', '.join(missing)}; "
                f"it has {', '.join(map(str, rows.columns))}"
            )
        return rows

    def files(self, suffixes: Iterable[str], *folders: str) -> pd.DataFrame:
        """Columns image_id (stem) and path (relative, "/"), in order of the path.

        Only below `folders` where any of them exists, else below the whole root. Two files of
        one name: the first path counts, the others are noted.
        """
        starts = [self.root / f for f in folders if (self.root / f).is_dir()] or [self.root]
        wanted = tuple(suffixes)
        found: list[tuple[str, str]] = []
        for start in starts:
            for folder, _, names in os.walk(start):
                below = Path(folder).relative_to(self.root).as_posix()
                prefix = "" if below == "." else below + "/"
                found += [
                    (name.rpartition(".")[0], prefix + name)
                    for name in names
                    if name.lower().endswith(wanted) and not name.startswith("._")
                ]
        table = pd.DataFrame(found, columns=["image_id", "path"]).sort_values("path")
        twice = table["image_id"].duplicated()
        self.note(int(twice.sum()), "files have the name of another file and were left out")
        return table[~twice].reset_index(drop=True)


def numbers(values: pd.Series[str]) -> pd.Series[float]:
    """Text to float64; blank or not a number is NaN."""
    return pd.to_numeric(values.str.strip(), errors="coerce").astype("float64")


def group_boxes(
    rows: pd.DataFrame, images: pd.Series[str], source: Source, annotated: pd.Series[bool]
) -> pd.DataFrame:
    """Columns boxes and box_labels for each image, in the order of the rows.

    Args:
        rows: image_id, x1, y1, x2, y2 (px), label; only the `proper` ones are taken.
        images: the catalog's image ids.
        annotated: for each of `images`, whether "no box" means that there is none.
    """
    rows = proper(rows, source)
    corners = rows[list(CORNERS)].to_numpy(np.float64)
    known = rows["image_id"].isin(images).to_numpy(bool)
    position = pd.Index(images).get_indexer(pd.Index(rows["image_id"][known]))
    order = np.argsort(position, kind="stable")
    counts = np.bincount(position, minlength=len(images))
    ends = np.cumsum(counts)
    flat = corners[known][order]
    labels = rows["label"].to_numpy(object)[known][order]
    boxes = np.empty(len(images), object)
    names = np.empty(len(images), object)
    for i in np.flatnonzero(counts):
        part = slice(ends[i] - counts[i], ends[i])
        boxes[i], names[i] = flat[part].ravel().tolist(), labels[part].tolist()
    for i in np.flatnonzero((counts == 0) & annotated.to_numpy(bool)):
        boxes[i], names[i] = [], []
    return pd.DataFrame({"boxes": boxes, "box_labels": names})


def proper(rows: pd.DataFrame, source: Source) -> pd.DataFrame:
    """Without boxes whose corners are NaN, infinite or reversed, which are noted.

    Boxes outside the image or without area stay: they are the set's truth, and `hilum data check`
    reports them.
    """
    corners = rows[list(CORNERS)].to_numpy(np.float64)
    good = np.isfinite(corners).all(axis=1)
    good &= (corners[:, 2] >= corners[:, 0]) & (corners[:, 3] >= corners[:, 1])
    source.note(int((~good).sum()), "boxes with NaN or reversed corners were left out")
    return rows.loc[pd.Series(good, rows.index)]


def join_files(
    rows: pd.DataFrame, files: pd.DataFrame, source: Source, splits: Mapping[str, str]
) -> pd.DataFrame:
    """Rows with their files: `path` "" where there is none; files without a row are appended.

    Args:
        rows: one per image, with image_id and perhaps split.
        files: as `Source.files`.
        splits: folder at the start of a path -> split, for files without a row.
    """
    out = rows.merge(files, on="image_id", how="left")
    out["path"] = out["path"].fillna("")
    if files.empty:
        source.notes.append("without pixels: no image file is here, only the tables")
    else:
        source.note(int((out["path"] == "").sum()), "labelled images have no file")
    extra = files[~files["image_id"].isin(rows["image_id"])].copy()
    extra["split"] = extra["path"].str.split("/").str[0].map(splits).astype(object).fillna("")
    unlabelled = extra["split"] != "test"
    source.note(int(unlabelled.sum()), "files have no label row and are kept without labels")
    if extra.empty:
        return out.reset_index(drop=True)
    return pd.concat([out, extra], ignore_index=True)


def first_per_image(rows: pd.DataFrame, column: str, source: Source) -> pd.DataFrame:
    """One row per image id: equal duplicates are dropped.

    Raises:
        DataError: two rows of one image contradict each other in `column`.
    """
    single = rows.drop_duplicates(["image_id", column])
    torn = single["image_id"].duplicated()
    if torn.any():
        raise DataError(
            f"set {source.name!r}: image {single.loc[torn, 'image_id'].iat[0]!r} has two different "
            f"values of {column}"
        )
    return single.reset_index(drop=True)


def patients(table: pd.DataFrame, source: Source) -> pd.Series[str]:
    """The patient of each row; without one the study is the patient, without that the image."""
    patient, study = (
        table[c].fillna("").astype(str).str.strip()
        if c in table
        else pd.Series("", index=table.index)
        for c in ("patient", "study")
    )
    without = patient == ""
    source.note(
        int((without & (study != "")).sum()), "images have no patient id: each study is one patient"
    )
    source.note(
        int((without & (study == "")).sum()),
        "images have neither patient nor study id: each image is one patient",
    )
    substitute = ("study:" + study).where(study != "", "image:" + table["image_id"])
    out: pd.Series[str] = patient.where(~without, substitute)
    return out
