"""YOLO text labels, boxes (`cls xc yc w h`) or outlines (`cls x y x y …`), parts of the image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from hilum.core.errors import DataError
from hilum.data.adapters.common import CORNERS, PICTURES, Source, group_boxes, patients
from hilum.data.adapters.headers import add_headers
from hilum.data.catalog import Catalog, build
from hilum.data.formats import runs as rle
from hilum.data.formats.polygons import mask_of_outlines

NAMES = ("data.yaml", "dataset.yaml")
SPLITS = ("train", "val", "valid", "test")


def load(path: Path) -> Catalog:
    """A directory with images/…, labels/… (the same names) and data.yaml.

    A picture without a label file has no object, as YOLO understands it; that is noted. Without
    the picture, boxes have no size and stay unknown. Outlines become boxes and masks.

    Raises:
        DataError: no class names, no labels folder, or a damaged line.
    """
    source = Source("yolo", path)
    names = _names(source.require(*NAMES))
    if not (path / "labels").is_dir() or not (path / "images").is_dir():
        raise DataError(f"set 'yolo': {path} holds no folders images/ and labels/")
    table = _pairs(source)
    texts = [path / "labels" / text for text in table.pop("text")]
    source.note(sum(not t.is_file() for t in texts), "images have no label file: no objects")
    table = add_headers(table, source)
    sizes = table[["width", "height"]].fillna(0).to_numpy() if len(table) else np.zeros((0, 2))
    rows: list[tuple[Any, ...]] = []
    for image, file, (w, h) in zip(table["image_id"], texts, sizes, strict=True):
        if file.is_file() and w and h:
            rows += [(image, *box) for box in _boxes(file, names, w, h)]
    boxes = pd.DataFrame(rows, columns=["image_id", "label", *CORNERS, "outline"])
    annotated = pd.Series(sizes.all(axis=1), index=table.index)
    table = pd.concat([table, group_boxes(boxes, table["image_id"], source, annotated)], axis=1)
    for name in names.values():
        having = table["image_id"].isin(boxes.loc[boxes["label"] == name, "image_id"])
        table[f"label_{name}"] = having.astype("float32").where(annotated)
    table = pd.concat([table, _masks(boxes, table, annotated)], axis=1)
    table["patient"] = patients(table, source)
    return build("yolo", table, path, tuple(source.notes))


def _pairs(source: Source) -> pd.DataFrame:
    """image_id, path, split, text: pictures, then label files without one; text below labels/."""
    pictures = source.files(PICTURES, "images")
    texts = source.files((".txt",), "labels")
    pictures["text"] = pictures["path"].str.partition("/")[2].str.rsplit(".", n=1).str[0] + ".txt"
    texts["text"] = texts["path"].str.partition("/")[2]
    lone = texts[~texts["text"].isin(pictures["text"])].assign(path="")
    lone = lone[~lone["image_id"].isin(pictures["image_id"])]
    source.note(len(lone), "label files have no picture")
    table = pd.concat([pictures, lone], ignore_index=True)
    folder = table["text"].str.partition("/")[0]
    table["split"] = folder.where(folder.isin(SPLITS), "")
    return table


def _masks(found: pd.DataFrame, images: pd.DataFrame, annotated: pd.Series[bool]) -> pd.DataFrame:
    """mask_<name> of the classes drawn as outlines; an image where one is a bare box is unknown."""
    out = pd.DataFrame(index=images.index)
    sizes = images.set_index("image_id").reindex(columns=["height", "width"])
    for name in sorted(found.loc[found["outline"].notna(), "label"].unique()):
        masks: dict[str, str | None] = dict.fromkeys(images.loc[annotated, "image_id"], "")
        for image, rows in found[found["label"] == name].groupby("image_id"):
            masks[str(image)] = None
            if rows["outline"].notna().all():
                height, width = (int(side) for side in sizes.loc[str(image)].to_numpy())
                mask = mask_of_outlines(list(rows["outline"]), height, width)
                masks[str(image)] = f"rle:{height}x{width}:{rle.encode(mask)}"
        out[f"mask_{name}"] = images["image_id"].map(masks).astype(object)
    return out


def _names(file: Path) -> dict[int, str]:
    try:
        names = yaml.safe_load(file.read_text(encoding="utf-8-sig"))["names"]
        pairs = names.items() if isinstance(names, dict) else enumerate(names)
        return {int(k): str(v) for k, v in pairs}
    except (yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"set 'yolo': {file} has no list of class names: {error!r}") from error


def _boxes(file: Path, names: dict[int, str], w: float, h: float) -> list[tuple[Any, ...]]:
    out: list[tuple[Any, ...]] = []
    for number, line in enumerate(file.read_text(encoding="utf-8-sig").splitlines(), 1):
        if not line.strip():
            continue
        try:
            key, *values = (float(v) for v in line.split())
            label = names[int(key)]
        except (ValueError, KeyError):
            raise DataError(f"set 'yolo': {file}, line {number}: {line[:60]!r}") from None
        outline = None
        if len(values) == 4:
            xc, yc, bw, bh = values
            corners = (xc - bw / 2, yc - bh / 2, xc + bw / 2, yc + bh / 2)
        elif len(values) >= 6 and len(values) % 2 == 0:
            outline = np.array(values).reshape(-1, 2) * [w, h]
            corners = (min(values[::2]), min(values[1::2]), max(values[::2]), max(values[1::2]))
        else:
            raise DataError(
                f"set 'yolo': {file}, line {number} has {len(values)} numbers after the class; "
                "needed: 4 (box) or an even number from 6 (outline)"
            )
        out.append((label, corners[0] * w, corners[1] * h, corners[2] * w, corners[3] * h, outline))
    return out
