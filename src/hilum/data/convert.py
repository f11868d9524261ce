"""Annotations of a catalog -> COCO, VOC, YOLO, mask pictures, run lengths.

The way back is `load("coco" | "voc" | "yolo" | "siim-acr", folder)`, and for mask pictures the
folder adapter with `masks.csv`. Converts no images (see `pictures`). Images that nobody annotated
are left out and counted.

Rounding: COCO, mask pictures and run lengths are exact; VOC holds whole pixels, boxes grow
outwards by less than one; YOLO is written to 1e-10 of the image; YOLO's outlines are exact but
for holes, which they fill.
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
from hilum.data.catalog import Catalog
from hilum.data.formats import runs as rle
from hilum.data.formats.file_names import file_names
from hilum.data.formats.polygons import coco_counts, outlines, pieces
from hilum.data.pixels import open_mask

Bool = NDArray[np.bool_]
Float64 = NDArray[np.float64]

SIDE = 1024  # px; run lengths of other sizes have two columns more than SIIM-ACR's table
IMAGE_EXTRAS = ("patient", "study", "view", "sex")


@dataclass(frozen=True, slots=True)
class Converted:
    """What was written, and how many images were left out because nobody annotated them."""

    images: int
    left_out: int


def convert(catalog: Catalog, form: str, out: str | Path, mask: str = "") -> Converted:
    """Write a catalog's annotations into a new folder.

    Args:
        form: coco, voc, yolo (boxes); coco-segments, yolo-segments, masks or rle.
        mask: which mask_<name> column, for the last four.

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
        raise DataError(
            f"the catalog has no mask {mask!r}; name one of: {', '.join(masks) or 'none'}"
        )
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


def _rows(catalog: Catalog) -> Iterator[tuple[Any, Float64, list[str]]]:
    for row in catalog.table.itertuples():
        yield row, np.array(row.boxes, np.float64).reshape(-1, 4), list(row.box_labels)  # type: ignore[arg-type]


def _names(catalog: Catalog) -> list[str]:
    return sorted({name for names in catalog.table["box_labels"] for name in names})


def _coco(catalog: Catalog, folder: Path, column: str) -> None:
    names = _names(catalog)

    def found(part: Catalog, row: Any) -> Iterator[dict[str, Any]]:
        boxes = np.array(row.boxes, np.float64).reshape(-1, 4)
        for (x1, y1, x2, y2), label in zip(boxes.tolist(), row.box_labels, strict=True):
            yield {
                "category_id": names.index(label) + 1,
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "area": (x2 - x1) * (y2 - y1),
            }

    _coco_files(catalog, folder, names, found)


def _coco_segments(catalog: Catalog, folder: Path, column: str) -> None:
    """One annotation for each connected piece, as uncompressed run lengths."""

    def found(part: Catalog, row: Any) -> Iterator[dict[str, Any]]:
        for piece in pieces(_mask(part, row, column)):
            x, y, w, h = cv2.boundingRect(piece.astype(np.uint8))
            yield {
                "category_id": 1,
                "bbox": [float(v) for v in (x, y, w, h)],
                "area": int(piece.sum()),
                "segmentation": coco_counts(piece),
            }

    _coco_files(catalog, folder, [column.removeprefix("mask_")], found)


def _coco_files(
    catalog: Catalog,
    folder: Path,
    names: list[str],
    found: Callable[[Catalog, Any], Iterator[dict[str, Any]]],
) -> None:
    """One file a split. Ids start at 1: the reference evaluator never matches id 0."""
    categories = [{"id": i, "name": name} for i, name in enumerate(names, 1)]
    for split, part in catalog.parts():
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for number, row in enumerate(part.table.itertuples(), 1):
            images.append(_coco_image(number, row))
            for annotation in found(part, row):
                ids = {"id": len(annotations) + 1, "image_id": number, "iscrowd": 0}
                annotations.append(ids | annotation)
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
    stems = file_names(catalog.table["image_id"])
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
        write_text(folder / "Annotations" / f"{stems[row.image_id]}.xml", text)
    for split, part in catalog.parts():
        lines = "".join(f"{stems[i]}\n" for i in part.table["image_id"])
        write_text(folder / "ImageSets" / "Main" / f"{split or 'all'}.txt", lines)


def _yolo(catalog: Catalog, folder: Path, column: str) -> None:
    names, stems = _names(catalog), file_names(catalog.table["image_id"])
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
        _yolo_label(folder, row, stems, lines)
    _yolo_names(folder, names)


def _yolo_segments(catalog: Catalog, folder: Path, column: str) -> None:
    stems = file_names(catalog.table["image_id"])
    for row in catalog.table.itertuples():
        size = np.array([row.width, row.height])
        lines = []
        for piece in outlines(_mask(catalog, row, column)):
            # A line needs three points; a single pixel or a straight piece repeats its own.
            points = piece if len(piece) > 2 else np.resize(piece, (3, 2))
            lines.append("0 " + " ".join(f"{v:.10g}" for v in (points / size).ravel()))
        _yolo_label(folder, row, stems, lines)
    _yolo_names(folder, [column.removeprefix("mask_")])


def _yolo_label(folder: Path, row: Any, stems: dict[str, str], lines: list[str]) -> None:
    # Named as its picture is, as YOLO pairs them.
    stem = Path(row.path.rpartition("!")[2]).stem or stems[row.image_id]
    target = folder / "labels" / (row.split or ".") / f"{stem}.txt"
    write_text(target, "".join(f"{line}\n" for line in lines))


def _yolo_names(folder: Path, names: list[str]) -> None:
    content = {"path": ".", "train": "images/train", "names": dict(enumerate(names))}
    write_text(folder / "data.yaml", yaml.safe_dump(content, sort_keys=False))


def _masks(catalog: Catalog, folder: Path, column: str) -> None:
    stems = file_names(catalog.table["image_id"])
    for row in catalog.table.itertuples():
        mask = _mask(catalog, row, column)
        _, coded = cv2.imencode(".png", mask.astype(np.uint8) * 255)
        write_bytes(folder / f"{stems[str(row.image_id)]}.png", coded.tobytes())
    ids = catalog.table["image_id"]
    rows = pd.DataFrame({"image_id": ids, "mask": ids.map(stems) + ".png"})
    write_text(folder / "masks.csv", rows.to_csv(index=False))


def _run_lengths(catalog: Catalog, folder: Path, column: str) -> None:
    table = catalog.table
    texts = [rle.encode(_mask(catalog, row, column)) for row in table.itertuples()]
    rows = pd.DataFrame({"ImageId": table["image_id"], "EncodedPixels": texts})
    if not ((table["width"] == SIDE) & (table["height"] == SIDE)).all():
        rows["Height"], rows["Width"] = table["height"], table["width"]
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
    "coco-segments": _coco_segments,
    "yolo-segments": _yolo_segments,
    "masks": _masks,
    "rle": _run_lengths,
}
