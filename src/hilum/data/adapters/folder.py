"""Any tree of DICOM, PNG, JPEG and WebP files, or one zip of them, with an optional CSV."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import pandas as pd

from hilum.core.errors import DataError
from hilum.data.adapters import box_table, sidecar, trees, values
from hilum.data.adapters.headers import add_headers
from hilum.data.adapters.match import Files, file_ids, match, restored
from hilum.data.adapters.source import DICOM, IMAGES, NOT_FOLDERS, OTHER_IMAGES, Source
from hilum.data.catalog import Catalog
from hilum.data.columns import NUMBERS, PREFIXES, TEXT
from hilum.data.formats import runs
from hilum.data.references import archive_and_member

RLE = "rle:"
ANNOTATIONS = (".csv", ".csv.gz", ".tsv", ".xlsx", ".parquet", ".json", ".xml", ".txt")
KINDS = (*IMAGES, *OTHER_IMAGES)  # that masks may be stored as


def load(
    path: Path,
    table: str | Path | None = None,
    columns: Mapping[str, str] | None = None,
    folder: str = "",
    classes: str = "",
    masks: Mapping[str, str] | None = None,
    unit: str = "pixels",
) -> Catalog:
    """Every image below a directory or in a zip; ids are paths without their suffix.

    Args:
        table: CSV, relative to the directory (or beside the zip).
        columns: catalog column -> CSV column, e.g. {"image_id": "file", "patient": "pid",
            "label_opacity": "y"}. image_id is needed; its values may be paths or names, with or
            without suffix. mask_<name> holds files (whose images are then no radiographs) or run
            lengths as the catalog does, "" for an annotated empty one. Boxes, a row each: x1, y1,
            x2, y2, or x, y, w, h, or xc, yc (the centre), w, h, and box_label; blank cells say
            that the image has none.
        folder: only the images below this one, relative to the directory; masks may lie beside.
        classes: "folders": the folder that an image lies in is its class (normal/, covid/), and
            train/, valid/, test/ its split.
        masks: name -> the folder whose files are masks, under the names of the images, e.g.
            {"opacity": "masks"}.
        unit: of the boxes: "pixels", "parts" (0 to 1) or "percent" of the picture.

    Raises:
        DataError: nothing to read, a mapping that does not fit, a cell that means nothing, a name
            that several files have, rows that contradict each other.
    """
    archive = path.is_file()
    source = Source("folder", path.parent if archive else path)
    everything = _members(path, source) if archive else source.everything()
    _check_options(table, columns, classes)
    rows, drawn, placed, boxes = None, set[str](), None, None
    if table is not None:
        cells = source.table(source.require(str(table)), [])
        rows = _read(cells, columns or {}, source)
        if box_table.KEYS & {*(columns or {})}:
            boxes = box_table.read_boxes(cells, columns or {}, unit)
        rows, drawn = _with_masks(rows, everything, source)
    if masks:
        placed, in_folders = trees.masks(masks, everything, KINDS, source)
        drawn |= in_folders
    files = _images(everything, folder.strip("/"), drawn, source)
    if files.empty:
        raise DataError(
            f"set 'folder': {path} holds none of the files looked for: "
            f"*{', *'.join(DICOM + IMAGES)}, or DICOM without a suffix"
        )
    files = _with_folders(files, classes, placed, source)
    if rows is not None:
        rows = _placed(files, rows, source)
        files = _joined(files, rows, source, boxes is not None)
    else:
        _tell_annotations(everything, source)
        if not classes:
            trees.hint(list(files["path"]), source)
    files = add_headers(files, source)
    if boxes is not None and rows is not None:
        ids = rows["path"].map(files.set_index("path")["image_id"])
        own = box_table.box_columns(boxes.loc[rows.index].assign(image_id=ids), files, unit, source)
        files = files.join(own[[c for c in own if c not in files]])  # a label of the table counts
    names = files.pop("name").fillna(files["image_id"]) if rows is not None else files["image_id"]
    files = sidecar.fill(files, names, source)
    files["sex"] = values.sexes(files["sex"].fillna(""), source)
    files["patient"] = values.patients(files, source)
    return source.catalog(files)


def _tell_annotations(everything: Sequence[str], source: Source) -> None:
    beside = [p for p in everything if p.lower().endswith(ANNOTATIONS)]
    text = "tables or annotations lie there and are not read: name a table (table=labels.csv)"
    first = f"or their form (--set coco, voc, yolo) (first: {next(iter(beside), '')!r})"
    source.note(len(beside), f"{text}, {first}")


def _check_options(table: object, columns: object, classes: str) -> None:
    if classes not in ("", "folders"):
        raise DataError(f"set 'folder': classes={classes!r}; needed: classes=folders")
    if columns and table is None:
        raise DataError("set 'folder': columns are of a table: name it, table=labels.csv")


def _with_folders(
    files: pd.DataFrame, classes: str, masks: pd.DataFrame | None, source: Source
) -> pd.DataFrame:
    """Files with what the folders of the tree say of them."""
    if classes:
        files = files.merge(trees.labels(list(files["path"]), source), on="path", how="left")
    return files if masks is None else files.merge(masks, on="path", how="left")


def _members(path: Path, source: Source) -> list[str]:
    try:
        with ZipFile(path) as opened:
            names = opened.namelist()
    except (BadZipFile, OSError) as error:
        raise DataError(f"set 'folder': {path} is neither a directory nor a zip") from error
    if path.suffix.lower() != ".zip":
        raise DataError(f"set 'folder': {path} is a zip; needed: a name that ends in .zip")
    source.note(
        len(names) - len(set(names)), "members of the zip stand there twice: the last counts"
    )
    shown = [n for n in sorted(set(names)) if not _hidden(n) and not n.endswith("/")]
    return [f"{path.name}!{n}" for n in shown]


def _hidden(member: str) -> bool:
    parts = member.replace("\\", "/").split("/")
    return any(p in NOT_FOLDERS or (p[:1] == "." and p not in (".", "..")) for p in parts)


def _images(
    everything: Sequence[str], folder: str, masks: set[str], source: Source
) -> pd.DataFrame:
    """image_id and path of the radiographs; ids are below `folder`, or in the zip."""
    inside = f"{folder}/" if folder else ""
    files = [p for p in everything if p.startswith(inside) and p not in masks]
    paths = [p for p in files if p.lower().endswith((*DICOM, *IMAGES)) or _bare(p, source)]
    source.skip_kinds(set(files) - set(paths))
    shown = [_below(p, inside) for p in paths]
    return pd.DataFrame({"image_id": file_ids(shown), "path": paths}, dtype=object)


def _below(path: str, folder: str) -> str:
    archive, member = archive_and_member(path)
    return member.replace("\\", "/") if archive else path.removeprefix(folder)


def _bare(path: str, source: Source) -> bool:
    return not archive_and_member(path)[0] and _is_dicom(source.root / path)


def _is_dicom(file: Path) -> bool:
    # Archives export DICOM under bare UIDs; DICM stands at byte 128 (PS3.10, 7.1).
    try:
        with file.open("rb") as stream:
            return stream.read(132)[128:] == b"DICM" and file.name != "DICOMDIR"
    except OSError:
        return False


def _read(cells: pd.DataFrame, columns: Mapping[str, str], source: Source) -> pd.DataFrame:
    """The columns of the mapping as values; `name` is what the table calls the image."""
    if "image_id" not in columns:
        raise DataError("set 'folder': the mapping needs image_id, e.g. {'image_id': 'file'}")
    known = (*TEXT, *NUMBERS)
    for own, theirs in columns.items():
        if theirs not in cells:
            raise DataError(f"the CSV has no column {theirs!r}; it has {', '.join(cells.columns)}")
        if own not in (*known, *box_table.KEYS) and not own.startswith(PREFIXES):
            raise DataError(
                f"{own!r} is no catalog column; known: {', '.join(known)}, "
                + ", ".join(f"{p}*" for p in PREFIXES)
                + f"; of boxes: {', '.join(sorted(box_table.KEYS))}"
            )
    for own in {"image_id", "patient", "study"} & set(columns):
        values.check_ids(cells[columns[own]], columns[own])
    if cells.empty:
        raise DataError("the CSV has no rows below its header; needed: one an image")
    names = cells[columns["image_id"]].str.strip()
    out = {"name": names}
    for own, theirs in columns.items():
        if own != "image_id" and own not in box_table.KEYS:
            out[own] = _values(own, theirs, cells[theirs], names=names, source=source)
    return pd.DataFrame(out)


def _values(
    own: str, theirs: str, cells: pd.Series[str], names: pd.Series[str], source: Source
) -> pd.Series[Any]:
    if own.startswith(("label_", "study_")):
        return values.flags(cells, theirs, names)
    if own == "age":
        return values.ages(cells, source)
    if own == "sex":
        return values.sexes(cells, source)
    if own == "split":
        return _parts(cells, source)
    if own in NUMBERS:
        return values.numbers(cells)
    return cells.str.strip() if own.startswith("mask_") else values.texts(cells)


def _parts(cells: pd.Series[str], source: Source) -> pd.Series[str]:
    """The column of splits; numbers are folds, other names of one's own are told."""
    parts = values.splits(values.texts(cells))
    own = parts[~parts.isin(["", "train", "validation", "test"]) & ~parts.str.isdigit()]
    names = ", ".join(map(repr, sorted(own.unique())[:5]))
    source.note(len(own), f"rows are of parts that are no train, validation or test: {names}")
    return parts


def _with_masks(
    rows: pd.DataFrame, everything: Sequence[str], source: Source
) -> tuple[pd.DataFrame, set[str]]:
    """Rows with the paths of their masks, and all of those.

    Raises:
        DataError: run lengths that are none, a name of several files, a mask of two images.
    """
    out, masks = rows.copy(), set[str]()
    for column in (c for c in rows if str(c).startswith("mask_")):
        files = Files([p for p in everything if p.lower().endswith(KINDS)], source.root)
        cells = rows[column]
        drawn = cells.str.startswith(RLE)
        for name, text in zip(rows.loc[drawn, "name"], cells[drawn], strict=True):
            _check_rle(str(name), str(text))
        named = (cells != "") & ~drawn
        places = match(cells[named], files)
        # A folder that is ours (masks/ of phantoms) holds no radiographs, but masks.
        places = [
            p or (name if (source.root / name).is_file() else "")
            for p, name in zip(places, cells[named], strict=True)
        ]
        paths = pd.Series(places, index=cells.index[named], dtype=object)
        lost = cells[named][paths == ""]
        text = f"files of {column} are not there: unknown"
        source.skip("mask-without-file", len(lost), text, next(iter(lost), ""))
        out.loc[named, column] = paths.where(paths != "", None)
        source.note(int((cells == "").sum()), f"cells of {column} are blank: annotated, and empty")
        masks |= set(paths) - {""}
    return out, masks


def _check_rle(image: str, text: str) -> None:
    try:
        runs.union_of(text)
    except DataError as error:
        raise DataError(f"set 'folder', image {image!r}: mask {text!r:.50}: {error}") from error


def _placed(files: pd.DataFrame, rows: pd.DataFrame, source: Source) -> pd.DataFrame:
    """The rows that have a file, with its path.

    Raises:
        DataError: no row is of a file.
    """
    here = Files(files["path"], source.root)
    by_id = dict(zip(files["image_id"], files["path"], strict=True))
    path = rows["name"].map(by_id).astype(object)
    path[path.isna()] = match(rows.loc[path.isna(), "name"], here)
    rows = rows.assign(path=restored(rows["name"].tolist(), path.tolist(), files["path"], source))
    lost = rows.loc[rows["path"] == "", "name"]
    values.check_ids(lost, "image_id")
    source.skip("no-file", len(lost), "rows of the table have no file", next(iter(lost), ""))
    rows = rows[rows["path"] != ""]
    if rows.empty:
        raise DataError(
            f"set 'folder': no row of the table names a file: {next(iter(lost), '')!r} is none of "
            f"{len(files)} like {files['path'].iat[0]!r}; is that the column of image_id?"
        )
    return rows


def _joined(files: pd.DataFrame, rows: pd.DataFrame, source: Source, boxed: bool) -> pd.DataFrame:
    """Files with their rows, of which those of a table of boxes repeat their image.

    Raises:
        DataError: two rows of one file contradict each other, or folders say the same.
    """
    twice = sorted(({*files} & {*rows}) - {"image_id", "path", "name"})
    if twice:
        raise DataError(
            f"set 'folder': {', '.join(twice)}: of the table and of folders; needed: one"
        )
    rows = rows.assign(image_id=rows["path"])
    columns = [c for c in map(str, rows) if c not in ("image_id", "path", "name")]
    before = len(rows)
    rows = values.first_per_image(rows, columns, source).drop(columns="image_id")
    repeats = 0 if boxed else before - len(rows)
    source.note(repeats, "rows repeat an image and were left out")
    without = files[~files["path"].isin(rows["path"])]
    first = next(iter(without["path"]), "")
    source.skip("no-row", len(without), "files have no row in the table", first)
    return files.merge(rows, on="path", how="left")
