"""Any tree of DICOM, PNG, JPEG and WebP files, or one zip of them, with an optional CSV."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from zipfile import BadZipFile, ZipFile

import pandas as pd

from hilum.core.errors import DataError
from hilum.data.adapters.common import DICOM, PICTURES, Source, numbers, patients
from hilum.data.adapters.headers import add_headers
from hilum.data.catalog import NUMBERS, PREFIXES, TEXT, Catalog, build


def load(
    path: Path,
    table: str | Path | None = None,
    columns: Mapping[str, str] | None = None,
    folder: str = "",
) -> Catalog:
    """Every image below a directory or in a zip; ids are paths without their suffix.

    Args:
        table: CSV, relative to the directory (or beside the zip).
        columns: catalog column -> CSV column, e.g. {"image_id": "file", "patient": "pid",
            "label_opacity": "y"}. image_id is needed; its values may be paths or names, with or
            without suffix. mask_<name> holds references as the catalog does, "" for an
            annotated empty one.
        folder: only the images below this one, relative to the directory; masks may lie beside.

    Raises:
        DataError: nothing to read, or a mapping that does not fit.
    """
    archive = path.is_file()
    source = Source("folder", path.parent if archive else path)
    files = _members(path) if archive else _walk(source, folder)
    if files.empty:
        raise DataError(
            f"set 'folder': {path} holds none of the files looked for: "
            f"*{', *'.join(DICOM + PICTURES)}, or DICOM without a suffix"
        )
    rows = files
    if table is not None:
        rows = _joined(files, source.table(source.require(str(table)), []), columns or {}, source)
    rows = add_headers(rows, source)
    rows["patient"] = patients(rows, source)
    return build("folder", rows, source.root, tuple(source.notes))


def _walk(source: Source, folder: str) -> pd.DataFrame:
    start = source.root / folder
    found = [p for p in sorted(start.rglob("*")) if p.is_file() and _wanted(p)]
    inside = pd.Series([p.relative_to(start).as_posix() for p in found], dtype=object)
    table = _with_ids(inside)
    return table.assign(path=f"{folder}/" + inside) if folder else table


def _wanted(file: Path) -> bool:
    if file.name.startswith("."):
        return False
    if file.suffix.lower() in DICOM + PICTURES:
        return True
    # Archives export DICOM under bare UIDs; DICM stands at byte 128 (PS3.10, 7.1).
    try:
        with file.open("rb") as stream:
            return stream.read(132)[128:] == b"DICM" and file.name != "DICOMDIR"
    except OSError:
        return False


def _members(path: Path) -> pd.DataFrame:
    try:
        with ZipFile(path) as opened:
            names = sorted(opened.namelist())
    except (BadZipFile, OSError) as error:
        raise DataError(f"set 'folder': {path} is neither a directory nor a zip") from error
    wanted = [n for n in names if n.lower().endswith(DICOM + PICTURES) and "__MACOSX" not in n]
    table = _with_ids(pd.Series(wanted, dtype=object))
    return table.assign(path=f"{path.name}!" + table["path"])


def _with_ids(paths: pd.Series[str]) -> pd.DataFrame:
    suffix = r"\.(?:" + "|".join(s[1:] for s in DICOM + PICTURES) + ")$"
    ids = paths.str.replace(suffix, "", case=False, regex=True)
    # a.png and a.dcm side by side keep their suffix
    return pd.DataFrame({"image_id": ids.where(~ids.duplicated(keep=False), paths), "path": paths})


def _joined(
    files: pd.DataFrame, rows: pd.DataFrame, columns: Mapping[str, str], source: Source
) -> pd.DataFrame:
    if "image_id" not in columns:
        raise DataError("set 'folder': the mapping needs image_id, e.g. {'image_id': 'file'}")
    known = (*TEXT, *NUMBERS)
    for own, theirs in columns.items():
        if theirs not in rows:
            raise DataError(f"the CSV has no column {theirs!r}; it has {', '.join(rows.columns)}")
        if own not in known and not own.startswith(PREFIXES):
            raise DataError(
                f"{own!r} is no catalog column; known: {', '.join(known)}, "
                + ", ".join(f"{p}*" for p in PREFIXES)
            )
    labels = pd.DataFrame({own: rows[theirs].str.strip() for own, theirs in columns.items()})
    for own in columns:
        if str(own) in NUMBERS or str(own).startswith(("label_", "study_")):
            labels[own] = numbers(labels[own])
    labels["image_id"] = _match(labels["image_id"], files, source)
    labels = labels.dropna(subset="image_id")
    twice = labels["image_id"].duplicated()
    source.note(int(twice.sum()), "rows repeat an image and were left out")
    labels = labels[~twice].drop(columns="path", errors="ignore")
    without = ~files["image_id"].isin(labels["image_id"])
    source.note(int(without.sum()), "files have no row in the table")
    return files.merge(labels, on="image_id", how="left")


def _match(names: pd.Series[str], files: pd.DataFrame, source: Source) -> pd.Series[str]:
    """Names in a table -> image ids: by id, by path, or by bare name where it is unique."""
    inside = files["path"].str.rpartition("!")[2]
    keys = pd.concat(
        [
            pd.Series(files["image_id"].to_numpy(), index=key.to_numpy())
            for key in (
                *(files["image_id"], inside),
                *(inside.str.rpartition("/")[2], files["image_id"].str.rpartition("/")[2]),
            )
        ]
    )
    exact = keys.groupby(level=0).nunique() == 1
    unique = keys[~keys.index.duplicated()]
    unique = unique[exact.reindex(unique.index).to_numpy(bool)]
    out = names.map(unique)
    source.note(int(out.isna().sum()), "rows of the table have no file (or several of that name)")
    return out
