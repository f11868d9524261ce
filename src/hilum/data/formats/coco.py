"""A catalog's boxes or one of its masks -> COCO JSON, one file a split (back: `adapters.coco`)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from hilum.core.files import write_text
from hilum.data.catalog import Catalog
from hilum.data.formats.image_names import split_names, whole_paths
from hilum.data.formats.polygons import coco_counts, pieces
from hilum.data.pixels import open_mask

EXTRAS = ("patient", "study", "view", "sex")  # of an image entry, beside COCO's own


# Of a part and a row of it: what stands there, without ids.
Annotations = Callable[[Catalog, int], Iterator[dict[str, Any]]]


def write_boxes(catalog: Catalog, folder: Path, column: str) -> dict[str, str]:
    """Boxes; returns what each image id is called."""
    names = catalog.box_names

    def boxes(part: Catalog, row: int) -> Iterator[dict[str, Any]]:
        corners, labels = part.exact_boxes(row) or (np.zeros((0, 4)), [])
        for (x1, y1, x2, y2), label in zip(corners.tolist(), labels, strict=True):
            yield {
                "category_id": names.index(label) + 1,
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "area": (x2 - x1) * (y2 - y1),
            }

    return _write(catalog, folder, names, boxes)


def write_segments(catalog: Catalog, folder: Path, column: str) -> dict[str, str]:
    """One annotation for each connected piece of a mask, as uncompressed run lengths."""

    def segments(part: Catalog, row: int) -> Iterator[dict[str, Any]]:
        record = part.table.iloc[row]
        mask = open_mask(part.root, record[column], int(record["height"]), int(record["width"]))
        for piece in pieces(mask):
            x, y, w, h = cv2.boundingRect(piece.astype(np.uint8))
            yield {
                "category_id": 1,
                "bbox": [float(v) for v in (x, y, w, h)],
                "area": int(piece.sum()),
                "segmentation": coco_counts(piece),
            }

    return _write(catalog, folder, [column.removeprefix("mask_")], segments)


def _write(
    catalog: Catalog, folder: Path, names: list[str], annotations_of: Annotations
) -> dict[str, str]:
    """Ids start at 1: the reference evaluator never matches id 0."""
    categories = [{"id": i, "name": name} for i, name in enumerate(names, 1)]
    calls, parts = whole_paths(catalog), split_names(catalog)
    for split, part in catalog.parts():
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for number, row in enumerate(part.table.itertuples(), 1):
            images.append(_image(number, row, calls[str(row.image_id)]))
            for annotation in annotations_of(part, number - 1):
                ids = {"id": len(annotations) + 1, "image_id": number, "iscrowd": 0}
                annotations.append(ids | annotation)
        content = {"images": images, "annotations": annotations, "categories": categories}
        target = folder / "annotations" / f"instances_{parts[split]}.json"
        write_text(target, json.dumps(content, ensure_ascii=False))
    return calls


def _image(number: int, row: Any, name: str) -> dict[str, Any]:
    sizes = {"width": int(row.width), "height": int(row.height)}
    extras = {k: getattr(row, k) for k in EXTRAS if getattr(row, k)}
    return {"id": number, "file_name": name} | sizes | extras
