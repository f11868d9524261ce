"""Pascal VOC: one XML an image, corners counted from 1 with the last pixel included."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pandas as pd

from hilum.core.errors import DataError
from hilum.data.adapters import sidecar, user_table
from hilum.data.adapters.boxes import CORNERS, UNNAMED, labels_of_boxes, tell_unnamed
from hilum.data.adapters.match import Files, file_ids, match, need_one, stem, unshared, within
from hilum.data.adapters.source import DICOM, IMAGES, Source
from hilum.data.adapters.turned import upright_boxes
from hilum.data.adapters.values import number_of, patients, split_of, text_of
from hilum.data.catalog import Catalog

FOLDERS = ("JPEGImages", "images")
CORNER_NAMES = ("xmin", "ymin", "xmax", "ymax")
MARKS = ("1", "-1", "0")  # of a class in ImageSets/Main/CLASS_train.txt


def load(
    path: Path,
    table: str | Path | None = None,
    columns: Mapping[str, str] | None = None,
    unknown: str = "",
    merged: str = "",
) -> Catalog:
    """A directory with Annotations/**/*.xml, JPEGImages/ and, if there, ImageSets/Main/*.txt;
    without a folder of annotations each may stand beside its image.

    An annotation is of the image of its own name in its own folder, or of its <filename>, in
    <folder> where several have that name.
    VOC's pixel 1 … xmax becomes the edges xmin - 1 … xmax.

    Args:
        table, columns, unknown, merged: a table of patients, sex, labels and the like beside it, as
            of the reader of folders; of boxes and masks it says nothing.

    Raises:
        DataError: no annotation, one that is not VOC, one that may be of two images, or an image
            in two lists.
    """
    source = Source("voc", path)
    places = (path / "Annotations", path / "annotations")
    folder = next((place for place in places if place.is_dir()), path)
    files = sorted(f for f in folder.rglob("*.xml") if f.name[0] != ".")
    if not files:
        raise DataError(
            f"set 'voc': {path} holds none of the files looked for: Annotations/*.xml, or *.xml "
            "beside the images"
        )
    parsed = [_parse(file, file.relative_to(folder).as_posix()) for file in files]
    images = _with_files(pd.DataFrame([image for image, _ in parsed]), source)
    images["split"] = _splits(path, images, source)
    boxes = pd.DataFrame(
        [box for _, own in parsed for box in own], columns=["name", "label", *CORNERS]
    )
    boxes["image_id"] = boxes["name"].map(
        images.dropna(subset="name").set_index("name")["image_id"]
    )
    tell_unnamed(boxes["label"] == UNNAMED, source)
    zero = (boxes["x1"] == -1) | (boxes["y1"] == -1)
    text = "boxes begin at 0, VOC counts from 1: if this set counts from 0, all lie a pixel aside"
    source.note(int(zero.sum()), text)
    annotated = images["name"].notna()
    images, drawn, _ = upright_boxes(images, boxes, annotated, source)
    names = sorted(boxes["label"].unique())
    labels = labels_of_boxes(boxes, images["image_id"], names, annotated)
    images = pd.concat([images, drawn, labels], axis=1)
    images = sidecar.fill(images, images.pop("name").fillna(images["path"]), source)
    images = user_table.beside(images, table, columns, source, unknown=unknown, merged=merged)
    images["patient"] = patients(images, source)
    return source.catalog(images)


def _parse(file: Path, place: str) -> tuple[dict[str, Any], list[tuple[Any, ...]]]:
    content = file.read_bytes()
    if b"<!DOCTYPE" in content or b"<!ENTITY" in content:
        raise DataError(f"set 'voc': {file} declares a DOCTYPE, which no VOC file needs")
    name = place.removesuffix(".xml")
    try:
        root = ElementTree.fromstring(content)  # noqa: S314  entities are refused above
    except (ElementTree.ParseError, ValueError) as error:
        raise DataError(f"set 'voc': {file} is not a VOC annotation: {error}") from error
    if root.tag != "annotation":  # a tool's own XML would be an image without any box
        raise DataError(
            f"set 'voc': {file} is <{root.tag}>, not VOC's <annotation>; export it as VOC or COCO"
        )
    boxes = [
        (name, text_of(item.findtext("name")) or UNNAMED, *_corners(item))
        for item in root.iter("object")
    ]
    image = {
        "name": name,
        "filename": (root.findtext("filename") or "").strip(),
        "folder": (root.findtext("folder") or "").strip(),
        "width": number_of(root.findtext("size/width")),
        "height": number_of(root.findtext("size/height")),
        "patient": text_of(root.findtext("patient")),
        "study": text_of(root.findtext("study")),
    }
    return image, boxes


def _corners(item: ElementTree.Element) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = (number_of(item.findtext(f"bndbox/{n}")) for n in CORNER_NAMES)
    return x1 - 1, y1 - 1, x2, y2


def _with_files(images: pd.DataFrame, source: Source) -> pd.DataFrame:
    """Images with image_id and path; images without annotation appended, their name missing."""
    exported = sidecar.paths(source)
    paths = sorted({*source.files((*IMAGES, *DICOM), *FOLDERS), *exported.values()})
    files = Files(paths, source.root)
    out = images.copy()
    own = images["name"].map(exported)
    by_name = match(own.where(own.notna(), images["name"]), files, lambda i: (within(*FOLDERS),))
    given = images["filename"].where(images["filename"] != "", images["name"]).tolist()
    folders = images["name"].map(lambda name: name.rpartition("/")[0])
    beside = [f"{f}/{n}" if f and "/" not in n else n for f, n in zip(folders, given, strict=True)]
    folder_names = images["folder"].str.replace("\\", "/").str.rpartition("/")[2].tolist()
    by_filename = match(beside, files, lambda i: (within(folder_names[i]), within(*FOLDERS)))
    for name, one, other in zip(images["name"], by_name, by_filename, strict=True):
        if one and other and one != other:
            raise DataError(
                f"set 'voc': annotation {name!r} is of {one!r} by its own name and of {other!r} by "
                "its <filename>"
            )
    out["path"] = [one or other for one, other in zip(by_name, by_filename, strict=True)]
    unshared(images["name"].tolist(), out["path"].tolist(), source)
    ids = dict(zip(paths, file_ids(paths), strict=True))
    own = out["path"].map(ids)
    out["image_id"] = own.where(own.notna(), out["name"])
    clash = own.isna() & out["image_id"].isin(own)
    out["image_id"] = out["image_id"].where(~clash, "Annotations/" + out["name"])
    lost = out.loc[out["path"] == "", "name"]
    need_one(lost.tolist(), len(out), paths, source)
    source.skip("no-file", len(lost), "annotations have no image file", next(iter(lost), ""))
    extra = [p for p in paths if p not in set(out["path"])]
    text = "files have no annotation and are kept without labels"
    source.skip("no-row", len(extra), text, next(iter(extra), ""))
    out = out.drop(columns=["filename", "folder"])
    if not extra:
        return out
    more = pd.DataFrame({"path": extra, "image_id": [ids[p] for p in extra]})
    return pd.concat([out, more.astype(object)], ignore_index=True)


def _splits(path: Path, table: pd.DataFrame, source: Source) -> pd.Series[str]:
    """Split of each image by the lists in ImageSets/Main; names may hold blanks."""
    calls = table["name"].where(table["name"].notna(), table["path"].map(_below))
    names = set(calls)
    out: dict[str, str] = {}
    strange: list[str] = []
    for file in sorted((path / "ImageSets" / "Main").glob("*.txt")):
        split = split_of(file.stem)
        lines = file.read_text(encoding="utf-8-sig").splitlines() if split else []
        for line in filter(None, map(str.strip, lines)):
            name = _listed(line, names)
            if name is None:
                strange.append(line)
            elif out.setdefault(name, split) != split:
                raise DataError(
                    f"set 'voc': {name!r} stands in the lists of {out[name]!r} and of {split!r}"
                )
    text = "lines of ImageSets/Main name no image or annotation"
    source.skip("list-unread", len(strange), text, next(iter(strange), ""))
    return calls.map(out).astype(object).fillna("")


def _below(path: str) -> str:
    """A file's path without the folder of images and the suffix."""
    return stem(path.partition("/")[2] if path.startswith(FOLDERS) else path)


def _listed(line: str, names: set[str]) -> str | None:
    """What a line names: "name", "name.jpg" or "name 1" (whether a class is in it)."""
    head, _, mark = line.rpartition(" ")
    readings = [line, stem(line), *([head.strip()] if mark in MARKS else [])]
    return next((name for name in readings if name in names), None)
