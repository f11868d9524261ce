"""Annotations of a catalog -> COCO, VOC, YOLO, mask pictures, run lengths.

The way back is `load("coco" | "voc" | "yolo" | "siim-acr", folder)` and, for outlines,
`mask_of_outlines`. Converts no images. Images that nobody annotated are left out and counted.

Rounding: COCO and run lengths are exact; VOC holds whole pixels, boxes grow outwards by less than
one; YOLO is written to 1e-10 of the image; outlines are exact but for holes, which they fill.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import cv2
import numpy as np
import pandas as pd
import yaml
from numpy.typing import NDArray

from hilum.core.errors import ConfigError, DataError
from hilum.core.files import write_bytes, write_text
from hilum.data import rle
from hilum.data.catalog import Catalog
from hilum.data.pixels import open_mask

Bool = NDArray[np.bool_]
Float64 = NDArray[np.float64]

IMAGE_EXTRAS = ("patient", "study", "view", "sex")


@dataclass(frozen=True, slots=True)
class Converted:
    """What was written, and how many images were left out because nobody annotated them."""

    images: int
    left_out: int


def convert(catalog: Catalog, form: str, out: str | Path, mask: str = "") -> Converted:
    """Write a catalog's annotations into a new folder.

    Args:
        form: coco, voc, yolo (boxes), yolo-segments, masks or rle.
        mask: which mask_<name> column, for the last three.

    Raises:
        ConfigError: unknown form, or the folder is not empty.
        DataError: the catalog lacks what the form needs (sizes, boxes, that mask).
    """
    folder = Path(out)
    if form not in FORMS:
        raise ConfigError(f"unknown form {form!r}; known: {', '.join(FORMS)}")
    if folder.exists() and any(folder.iterdir()):
        raise ConfigError(f"{folder} is not empty; annotations go into a new folder")
    column = "boxes" if form in BOX_FORMS else f"mask_{mask}"
    if column not in catalog.table:
        masks = [str(c).removeprefix("mask_") for c in catalog.table if str(c).startswith("mask_")]
        raise DataError(f"the catalog has no mask {mask!r}; it has: {', '.join(masks) or 'none'}")
    kept = catalog.where(catalog.table[column].notna())
    if kept.table.empty:
        raise DataError(f"catalog {catalog.name!r} has no image with known {column}")
    unsized = (kept.table[["width", "height"]] < 1).any(axis=1)
    if unsized.any():
        raise DataError(
            f"{int(unsized.sum())} images have no known size, the first is "
            f"{kept.table.loc[unsized, 'image_id'].iat[0]!r}; load the set with its headers"
        )
    FORMS[form](kept, folder, column)
    return Converted(len(kept), len(catalog) - len(kept))


def outlines(mask: Bool) -> list[Float64]:
    """(n, 2) x, y outlines of each connected piece, on pixel centres; holes are lost."""
    found, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    return [contour.reshape(-1, 2) + 0.5 for contour in found]


def mask_of_outlines(pieces: list[Float64], height: int, width: int) -> Bool:
    """The (height, width) mask that `outlines` came from, holes filled."""
    image = np.zeros((height, width), np.uint8)
    for piece in pieces:
        cv2.fillPoly(image, [np.round(piece - 0.5).astype(np.int32)], 1)
    filled: Bool = image > 0
    return filled


def _rows(catalog: Catalog) -> Iterator[tuple[Any, Float64, list[str]]]:
    for row in catalog.table.itertuples():
        yield row, np.array(row.boxes, np.float64).reshape(-1, 4), list(row.box_labels)  # type: ignore[arg-type]


def _names(catalog: Catalog) -> list[str]:
    return sorted({name for names in catalog.table["box_labels"] for name in names})


def _stem(image_id: str) -> str:
    return image_id.replace("/", "__")


def _coco(catalog: Catalog, folder: Path, column: str) -> None:
    names = _names(catalog)
    categories = [{"id": i, "name": name} for i, name in enumerate(names, 1)]
    for split, part in catalog.parts():
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for row, boxes, labels in _rows(part):
            # Ids start at 1: the reference evaluator never matches id 0.
            number = len(images) + 1
            images.append(_coco_image(number, row))
            for (x1, y1, x2, y2), label in zip(boxes.tolist(), labels, strict=True):
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": number,
                        "category_id": names.index(label) + 1,
                        "bbox": [x1, y1, x2 - x1, y2 - y1],
                        "area": (x2 - x1) * (y2 - y1),
                        "iscrowd": 0,
                    }
                )
        content = {"images": images, "annotations": annotations, "categories": categories}
        target = folder / "annotations" / f"instances_{split or 'all'}.json"
        write_text(target, json.dumps(content, ensure_ascii=False))


def _coco_image(number: int, row: Any) -> dict[str, Any]:
    image = {
        "id": number,
        "file_name": row.path or f"{row.image_id}.png",
        "hilum_id": row.image_id,
        "width": int(row.width),
        "height": int(row.height),
    }
    return image | {k: getattr(row, k) for k in IMAGE_EXTRAS if getattr(row, k)}


def _voc(catalog: Catalog, folder: Path, column: str) -> None:
    for row, boxes, labels in _rows(catalog):
        whole = np.concatenate([np.floor(boxes[:, :2]) + 1, np.ceil(boxes[:, 2:])], axis=1)
        objects = [
            f"<object><name>{escape(label)}</name><bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin>"
            f"<xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>"
            for (x1, y1, x2, y2), label in zip(whole.astype(int).tolist(), labels, strict=True)
        ]
        name = Path(row.path).name or f"{row.image_id}.png"
        head = (
            f"<filename>{escape(name)}</filename><patient>{escape(row.patient)}</patient>"
            f"<study>{escape(row.study)}</study><size><width>{row.width}</width>"
            f"<height>{row.height}</height><depth>1</depth></size>"
        )
        text = "\n".join(["<annotation>", head, *objects, "</annotation>\n"])
        write_text(folder / "Annotations" / f"{_stem(row.image_id)}.xml", text)
    for split, part in catalog.parts():
        stems = "".join(f"{_stem(i)}\n" for i in part.table["image_id"])
        write_text(folder / "ImageSets" / "Main" / f"{split or 'all'}.txt", stems)


def _yolo(catalog: Catalog, folder: Path, column: str) -> None:
    names = _names(catalog)
    for row, boxes, labels in _rows(catalog):
        size = np.array([row.width, row.height])
        centre, side = (
            (boxes[:, :2] + boxes[:, 2:]) / 2 / size,
            (boxes[:, 2:] - boxes[:, :2]) / size,
        )
        lines = [
            f"{names.index(label)} " + " ".join(f"{v:.10g}" for v in values)
            for values, label in zip(np.hstack([centre, side]), labels, strict=True)
        ]
        _yolo_label(folder, row, lines)
    _yolo_names(folder, names)


def _yolo_segments(catalog: Catalog, folder: Path, column: str) -> None:
    for row in catalog.table.itertuples():
        size = np.array([row.width, row.height])
        lines = []
        for piece in outlines(_mask(catalog, row, column)):
            # A line needs three points; a single pixel or a straight piece repeats its own.
            points = piece if len(piece) > 2 else np.resize(piece, (3, 2))
            lines.append("0 " + " ".join(f"{v:.10g}" for v in (points / size).ravel()))
        _yolo_label(folder, row, lines)
    _yolo_names(folder, [column.removeprefix("mask_")])


def _yolo_label(folder: Path, row: Any, lines: list[str]) -> None:
    target = folder / "labels" / (row.split or ".") / f"{_stem(row.image_id)}.txt"
    write_text(target, "".join(f"{line}\n" for line in lines))


def _yolo_names(folder: Path, names: list[str]) -> None:
    content = {"path": ".", "train": "images/train", "names": dict(enumerate(names))}
    write_text(folder / "data.yaml", yaml.safe_dump(content, sort_keys=False))


def _masks(catalog: Catalog, folder: Path, column: str) -> None:
    for row in catalog.table.itertuples():
        mask = _mask(catalog, row, column)
        _, coded = cv2.imencode(".png", mask.astype(np.uint8) * 255)
        write_bytes(folder / f"{_stem(str(row.image_id))}.png", coded.tobytes())


def _run_lengths(catalog: Catalog, folder: Path, column: str) -> None:
    texts = [rle.encode(_mask(catalog, row, column)) for row in catalog.table.itertuples()]
    rows = pd.DataFrame({"ImageId": catalog.table["image_id"], "EncodedPixels": texts})
    write_text(folder / "train-rle.csv", rows.to_csv(index=False))


def _mask(catalog: Catalog, row: Any, column: str) -> Bool:
    return open_mask(catalog.root, getattr(row, column), int(row.height), int(row.width))


BOX_FORMS: dict[str, Callable[[Catalog, Path, str], None]] = {
    "coco": _coco,
    "voc": _voc,
    "yolo": _yolo,
}
FORMS: dict[str, Callable[[Catalog, Path, str], None]] = {
    **BOX_FORMS,
    "yolo-segments": _yolo_segments,
    "masks": _masks,
    "rle": _run_lengths,
}
