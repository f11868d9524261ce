"""Any tree of DICOM, PNG, JPEG and WebP files, or one zip of them, with an optional CSV."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from zipfile import BadZipFile, ZipFile

import pandas as pd

from hilum.core.errors import DataError
from hilum.data.adapters import box_table, sidecar, trees, user_table, values
from hilum.data.adapters.headers import fill, read_headers
from hilum.data.adapters.match import file_ids
from hilum.data.adapters.source import DICOM, IMAGES, NOT_FOLDERS, Source
from hilum.data.catalog import Catalog
from hilum.data.references import archive_and_member

ANNOTATIONS = (".csv", ".csv.gz", ".tsv", ".xlsx", ".parquet", ".json", ".xml", ".txt")


def load(
    path: Path,
    table: str | Path | None = None,
    columns: Mapping[str, str] | None = None,
    folder: str = "",
    classes: str = "",
    masks: Mapping[str, str] | None = None,
    unit: str = "pixels",
    unknown: str = "",
    no_mask: str = "",
    merged: str = "",
) -> Catalog:
    """Every image below a directory or in a zip; ids are paths without their suffix.

    Args:
        table: CSV, relative to the directory (or beside the zip) or to where we are.
        columns: catalog column -> CSV column, e.g. {"image_id": "file", "patient": "pid",
            "label_opacity": "y"}. image_id holds paths or names, with or without suffix; instead
            of it header elements say whose row it is ({"AccessionNumber": "exam"}; all of
            `user_table.KEYWORDS`), a row for every image that has them. class holds one class an
            image. mask_<name> holds files (whose images are then no radiographs) or run
            lengths as the catalog does, "" for an annotated empty one. Boxes, a row each: x1, y1,
            x2, y2, or x, y, w, h, or xc, yc (the centre), w, h, and box_label; blank cells say
            that the image has none.
        folder: only the images below this one, relative to the directory; masks may lie beside.
        classes: "folders": the folder that an image lies in is its class (normal/, covid/), and
            train/, valid/, test/ its split.
        masks: name -> the folder whose files are masks, under the names of the images, e.g.
            {"opacity": "masks"}, or what their names are beside the images': {"opacity": "*_mask"}.
        unit: of the boxes: "pixels", "parts" (0 to 1) or "percent" of the image.
        unknown: words of the table, with commas, for "nobody knows": "unclear,fraglich".
        merged: columns of the table, with commas, whose blank cells mean the cell above, as cells
            that were merged in a spreadsheet do.
        no_mask: "empty": an image without a mask of `masks` has nothing drawn; else it is unknown.

    Raises:
        DataError: nothing to read, a mapping that does not fit, a cell that means nothing, a name
            that several files have, rows that contradict each other.
    """
    archive = path.is_file()
    source = Source("folder", path.parent if archive else path)
    everything = _members(path, source) if archive else source.everything()
    _check_options(classes, no_mask)
    columns = columns or {}
    rows, drawn, placed, boxes = None, set[str](), None, None
    cells = user_table.open_table(table, columns, source, unknown=unknown, merged=merged)
    if cells is not None:
        rows = user_table.read(cells, columns, source)
        if box_table.KEYS & {*columns}:
            boxes = box_table.read_boxes(cells, columns, unit, source)
        rows, drawn = user_table.with_masks(rows, everything, source)
    if masks:
        placed, in_folders = trees.masks(
            masks, everything, user_table.KINDS, source=source, without_is_empty=bool(no_mask)
        )
        drawn |= in_folders
    files = _images(everything, folder.strip("/"), drawn, source)
    if files.empty:
        raise DataError(
            f"set 'folder': {path} holds none of the files looked for: "
            f"*{', *'.join(DICOM + IMAGES)}, or DICOM without a suffix"
        )
    headers = read_headers(files["path"], source, user_table.keys_of(columns))
    files = _with_folders(files, classes, placed, source)
    if rows is not None:
        rows = user_table.placed(files, headers, rows, source)
        _check_drawn(rows, bool(drawn) or boxes is not None)
        files = user_table.joined(files, rows, source, boxes is not None)
    else:
        _tell_annotations(everything, source)
        if not classes:
            trees.hint(list(files["path"]), source)
    if boxes is not None and rows is not None:
        ids = rows["path"].map(files.set_index("path")["image_id"])
        named = boxes.loc[rows.index].assign(image_id=ids)
        own = box_table.box_columns(named, files, headers, unit, source=source)
        files = files.drop(columns=["width", "height"], errors="ignore")
        files = files.join(own[[c for c in own if c not in files]])  # a label of the table counts
    elif any(str(column).startswith("mask_") for column in files):
        turned = int((headers["turned"].fillna(1) != 1).sum())
        source.note(turned, "images are turned by EXIF: masks are of them as they are shown")
    files = fill(files, headers)
    names = files.pop("name").fillna(files["image_id"]) if rows is not None else files["image_id"]
    files = sidecar.fill(files, names, source)
    files["sex"] = values.sexes(files["sex"].fillna(""), source)
    files["patient"] = values.patients(files, source)
    return source.catalog(files)


def _tell_annotations(everything: Sequence[str], source: Source) -> None:
    beside = [p for p in everything if p.lower().endswith(ANNOTATIONS) and not _for_people(p)]
    text = "tables or annotations lie there and are not read: name a table (table=labels.csv)"
    first = f"or their form (--kind coco, voc, yolo) (first: {next(iter(beside), '')!r})"
    source.note(len(beside), f"{text}, {first}")


def _for_people(path: str) -> bool:
    return path.rpartition("/")[2].lower().startswith(("readme", "license", "licence"))


def _check_options(classes: str, no_mask: str) -> None:
    if classes not in ("", "folders"):
        raise DataError(f"set 'folder': classes={classes!r}; needed: classes=folders")
    if no_mask not in ("", "empty"):
        raise DataError(f"set 'folder': no_mask={no_mask!r}; needed: no_mask=empty, or none")


def _check_drawn(rows: pd.DataFrame, drawn: bool) -> None:
    shared = rows.index.duplicated()
    if drawn and shared.any():
        raise DataError(
            f"set 'folder': the row of {rows['name'][shared].iat[0]!r} is of several images, and "
            "boxes or masks are of one; needed: columns.SOPInstanceUID, or image_id"
        )


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
