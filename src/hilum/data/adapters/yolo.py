"""YOLO text labels, boxes (`cls xc yc w h`) or polygons (`cls x y x y …`), parts of the image."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hilum.core.documents import parse_yaml, read_document
from hilum.core.errors import DataError
from hilum.data.adapters import headers, sidecar, user_table
from hilum.data.adapters.boxes import CORNERS, group_boxes, labels_of_boxes
from hilum.data.adapters.match import before_upload, file_ids, need_one, stem
from hilum.data.adapters.source import DICOM, IMAGES, Source
from hilum.data.adapters.values import number_of, patients, split_of_path, text_of
from hilum.data.catalog import Catalog
from hilum.data.formats import runs as rle
from hilum.data.formats.polygons import mask_of_polygons

NAMES = ("data.yaml", "dataset.yaml", "data.yml", "dataset.yml")
LISTS = ("classes.txt", "labels/classes.txt", "obj.names")  # one name a line: labelImg, darknet
BEYOND = 1.5  # of the image: no hasty hand draws so far outside
NAN = float("nan")


def load(
    path: Path,
    table: str | Path | None = None,
    columns: Mapping[str, str] | None = None,
    unknown: str = "",
    merged: str = "",
) -> Catalog:
    """A directory with images/…, labels/… (the same names) and data.yaml.

    The folders may stand below those of the splits too (train/images); without any labels/ each
    label file stands beside its image. A list of names (classes.txt, obj.names) will do. A
    image without a label file has no object, as YOLO understands it, where its split has label
    files at all; both are noted. Without the image, boxes have no size and stay unknown.
    Polygons become boxes and masks.

    Args:
        table, columns, unknown, merged: a table of patients, sex, labels and the like beside it, as
            of the reader of folders; of boxes and masks it says nothing.

    Raises:
        DataError: no class names, no labels folder, a damaged line, two images of one label
            file, or boxes that are no parts of the image.
    """
    source = Source("yolo", path)
    names = _names(source.require(*NAMES, *LISTS))
    images = _pairs(source)
    texts = images.pop("text")
    facts = headers.read_headers(images["path"], source)
    turned = facts["turned"].fillna(1) != 1
    source.note(int(turned.sum()), "images are turned by EXIF: labels are of them as shown")
    images = headers.fill(images, facts)
    calls = images.pop("name")
    sizes = sidecar.fill(images, calls, source)[["width", "height"]].fillna(0)
    images[["width", "height"]] = sizes
    rows = [
        (image, *box)
        for image, text, (w, h) in zip(images["image_id"], texts, sizes.to_numpy(), strict=True)
        if text and w and h
        for box in _boxes(path / text, names, w, h)
    ]
    boxes = pd.DataFrame(rows, columns=["image_id", "label", *CORNERS, "largest", "polygon"])
    _check_parts(boxes, source)
    annotated = _annotated(images, texts, source) & (sizes > 0).all(axis=1)
    drawn = group_boxes(boxes, images["image_id"], source, annotated)
    labels = labels_of_boxes(boxes, images["image_id"], names.values(), annotated)
    images = pd.concat([images, drawn, labels, _masks(boxes, images, annotated)], axis=1)
    images = sidecar.fill(images, calls, source)
    images = user_table.beside(images, table, columns, source, unknown=unknown, merged=merged)
    images["patient"] = patients(images, source)
    return source.catalog(images)


def _pairs(source: Source) -> pd.DataFrame:
    """image_id, path, text (label file), name (of that, below labels/), split.

    First the images, then label files without one.
    """
    files = source.files((*IMAGES, *DICOM))
    written = [p for p in source.files((".txt",)) if not f"/{p}".endswith("/classes.txt")]
    texts = [p for p in written if "labels" in p.split("/")[:-1]]
    flat = not texts and not {f"{stem(p)}.txt" for p in files}.isdisjoint(written)
    if flat:
        texts = [p for p in written if p in {f"{stem(p)}.txt" for p in files}]
    exported = sidecar.paths(source)
    by_path = {exported[_name(t)]: t for t in texts if exported.get(_name(t))}
    images = [p for p in files if flat or p in by_path or "images" in p.split("/")[:-1]]
    if not images and not texts:
        raise DataError(
            f"set 'yolo': {source.root} holds no folders images/ and labels/, and no label file "
            "beside an image"
        )
    there, owner = {before_upload(t): t for t in texts} | {t: t for t in texts}, dict[str, str]()
    rows = []
    for image, own in zip(images, file_ids(images), strict=True):
        text = by_path.get(image) or next(filter(None, map(there.get, _label_files(image))), "")
        if text and owner.setdefault(text, image) != image:
            raise DataError(
                f"set 'yolo': label file {text!r} may be of {owner[text]!r} or {image!r}"
            )
        name = _name(text) if text else _name(next(_label_files(image)))
        rows.append((own, image, text, name, split_of_path(image)))
    lone = [t for t in texts if t not in owner]
    if not (source.root / sidecar.FILE).is_file():  # which knows sizes without images
        need_one(lone, len(texts), images, source)
    text = "label files have no image: their boxes have no size"
    source.skip("no-file", len(lone), text, next(iter(lone), ""))
    rows += [(_name(t), "", t, _name(t), split_of_path(t)) for t in lone]
    return pd.DataFrame(rows, columns=["image_id", "path", "text", "name", "split"], dtype=object)


def _label_files(image: str) -> Iterator[str]:
    """Where the labels of an image may be: one of its folders images/ is labels/, or beside."""
    parts = image.split("/")
    for i in [i for i, part in enumerate(parts[:-1]) if part == "images"][::-1]:
        below = "/".join([*parts[:i], "labels", *parts[i + 1 :]])
        yield f"{stem(below)}.txt"
        yield f"{below}.txt"  # as hilum tells a.png and a.jpg apart
    yield f"{stem(image)}.txt"


def _name(text: str) -> str:
    """A label file's path without labels/ and suffix."""
    parts = text.removesuffix(".txt").split("/")
    if "labels" in parts:
        parts.remove("labels")
    return "/".join(parts)


def _annotated(table: pd.DataFrame, texts: pd.Series[str], source: Source) -> pd.Series[bool]:
    """Whether someone looked: an image with a label file, or of a split that has some."""
    having = set(table.loc[texts != "", "split"])
    looked = table["split"].isin(having)
    source.note(int((looked & (texts == "")).sum()), "images have no label file: no objects")
    text = "images are of a split without any label file: unknown"
    first = next(iter(table.loc[~looked, "path"]), "")
    source.skip("no-row", int((~looked).sum()), text, first)
    return looked


def _masks(
    polygons: pd.DataFrame, images: pd.DataFrame, annotated: pd.Series[bool]
) -> pd.DataFrame:
    """mask_<name> of the classes drawn as polygons; an image where one is a bare box is unknown."""
    out = pd.DataFrame(index=images.index)
    sizes = images.set_index("image_id")[["height", "width"]]
    for name in sorted(polygons.loc[polygons["polygon"].notna(), "label"].unique()):
        masks: dict[str, str | None] = dict.fromkeys(images.loc[annotated, "image_id"], "")
        for image, rows in polygons[polygons["label"] == name].groupby("image_id"):
            masks[str(image)] = None
            if rows["polygon"].notna().all():
                height, width = (int(side) for side in sizes.loc[str(image)].to_numpy())
                mask = mask_of_polygons(list(rows["polygon"]), height, width)
                masks[str(image)] = f"rle:{height}x{width}:{rle.encode(mask)}"
        out[f"mask_{name}"] = images["image_id"].map(masks).astype(object)
    return out


def _names(file: Path) -> dict[int, str]:
    if file.suffix in (".txt", ".names"):
        lines = file.read_text(encoding="utf-8-sig").splitlines()
        return {number: name for number, line in enumerate(lines) if (name := text_of(line))}
    content = read_document(file, parse_yaml, DataError)
    try:
        names = content["names"]
        pairs = names.items() if isinstance(names, dict) else enumerate(names)
        return {int(k): name for k, v in pairs if (name := text_of(v))}
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"set 'yolo': {file} has no list of class names: {error!r}") from error


def _check_parts(boxes: pd.DataFrame, source: Source) -> None:
    """Boxes with numbers in pixels or per cent are damaged; where most are so, the set is.

    Raises:
        DataError: most numbers are no parts of an image.
    """
    wrong = boxes["largest"] > BEYOND
    if wrong.sum() * 2 > len(boxes):
        raise DataError(
            f"set 'yolo': {int(wrong.sum())} of {len(boxes)} boxes hold numbers such as "
            f"{boxes['largest'].max():g}; needed: parts of the image, 0 to 1. Are they pixels, "
            "or per cent? Divide them by its width and height, or give them as a table (--kind "
            "folder, unit=pixels)"
        )
    source.note(int(wrong.sum()), f"boxes hold numbers above {BEYOND}, no parts: damaged")
    boxes.loc[wrong, list(CORNERS)] = NAN
    boxes.loc[wrong, "polygon"] = None


def _boxes(file: Path, names: dict[int, str], w: float, h: float) -> Iterator[tuple[Any, ...]]:
    """label, corners in px, the largest number as it stands there, polygon or None; corners are NaN
    where a number is none."""
    for number, line in enumerate(file.read_text(encoding="utf-8-sig").splitlines(), 1):
        if not line.strip():
            continue
        key, *cells = line.split()
        label = _class(key, names)
        if label is None:
            raise DataError(
                f"set 'yolo': {file}, line {number}: {line[:60]!r}; needed: the number of a class, "
                f"0 to {max(names, default=-1)}, and its box"
            )
        if len(cells) != 4 and (len(cells) < 6 or len(cells) % 2):
            raise DataError(
                f"set 'yolo': {file}, line {number} has {len(cells)} numbers after the class; "
                "needed: 4 (box) or an even number from 6 (polygon), without scores of a model "
                "or keypoints"
            )
        values = np.array([number_of(cell) for cell in cells])
        largest = float(values.max())
        if len(cells) == 4:
            xc, yc, bw, bh = values.tolist()
            yield (
                *(label, (xc - bw / 2) * w, (yc - bh / 2) * h),
                *((xc + bw / 2) * w, (yc + bh / 2) * h, largest, None),
            )
            continue
        points = values.reshape(-1, 2) * [w, h]
        sound = bool(np.isfinite(points).all())
        polygon = points if sound else None
        yield label, *points.min(axis=0), *points.max(axis=0), largest, polygon


def _class(text: str, names: dict[int, str]) -> str | None:
    number = number_of(text)
    return names.get(int(number)) if number == number and number.is_integer() else None
