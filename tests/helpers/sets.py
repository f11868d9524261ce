"""Small data sets on disk for tests: pictures, tables, annotations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from hilum.data import Catalog


def picture(
    path: Path, width: int = 100, height: int = 100, seed: int = 0, turned: int = 1
) -> Path:
    """A noise picture, `width` by `height` as shown; `turned`: its EXIF orientation."""
    path.parent.mkdir(parents=True, exist_ok=True)
    grey = np.random.default_rng(seed).integers(0, 255, (height, width), dtype=np.uint8)
    return stored(path, grey, turned)


def stored(path: Path, grey: Any, turned: int = 1) -> Path:
    """Pixels as a file that viewers turn to show them as they are here."""
    path.parent.mkdir(parents=True, exist_ok=True)
    raw = {
        1: grey,
        2: grey[:, ::-1],
        3: grey[::-1, ::-1],
        4: grey[::-1],
        5: grey.T,
        6: np.rot90(grey),
        7: grey[::-1, ::-1].T,
        8: np.rot90(grey, -1),
    }[turned]
    exif = Image.Exif()
    exif[0x0112] = turned
    options: dict[str, Any] = {"exif": exif.tobytes()} if turned != 1 else {}
    if path.suffix.lower() in (".jpg", ".jpeg"):
        options["quality"] = 95
    Image.fromarray(np.ascontiguousarray(raw)).save(path, **options)
    return path


def text(path: Path, content: str, encoding: str = "utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding=encoding)
    return path


def coco(path: Path, images: list[dict[str, Any]], boxes: list[tuple[Any, list[Any]]]) -> Path:
    """A file of annotations of one category, opacity; `boxes`: image id and x, y, w, h."""
    annotations = [
        {"id": i, "image_id": image, "category_id": 1, "bbox": box}
        for i, (image, box) in enumerate(boxes, 1)
    ]
    content = {
        "images": [{"width": 100, "height": 100, **image} for image in images],
        "categories": [{"id": 1, "name": "opacity"}],
        "annotations": annotations,
    }
    return text(path, json.dumps(content))


def voc(
    path: Path,
    *boxes: tuple[Any, ...],
    size: tuple[int, int] = (100, 100),
    more: str = "",
    name: str = "opacity",
) -> Path:
    """An annotation of opacities with the corners xmin, ymin, xmax, ymax."""
    objects = "".join(
        f"<object><name>{name}</name><bndbox>"
        + "".join(
            f"<{k}>{v}</{k}>" for k, v in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
        )
        + "</bndbox></object>"
        for box in boxes
    )
    frame = f"<size><width>{size[0]}</width><height>{size[1]}</height></size>"
    return text(path, f"<annotation>{more}{frame}{objects}</annotation>")


def row(catalog: Catalog, image: str) -> pd.Series[Any]:
    """The row of an image id, or of a file."""
    table = catalog.table
    result = table[(table["image_id"] == image) | (table["path"] == image)]
    assert len(result) == 1, f"{image} stands {len(result)} times in {table['image_id'].tolist()}"
    return result.iloc[0]
