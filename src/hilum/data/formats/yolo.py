"""A catalog's boxes or one of its masks -> YOLO text labels (back: `adapters.yolo`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import yaml

from hilum.core.files import write_text
from hilum.data.adapters.values import split_of
from hilum.data.catalog import Catalog
from hilum.data.formats.image_names import split_tree
from hilum.data.formats.polygons import polygons
from hilum.data.pixels import open_mask

KEYS = {"train": "train", "validation": "val", "test": "test"}  # of data.yaml


def write_boxes(catalog: Catalog, folder: Path, column: str) -> dict[str, str]:
    """Centre and size as parts of the image; returns what each image id is called."""
    names, calls = catalog.box_names, split_tree(catalog)
    for number, row in enumerate(catalog.table.itertuples()):
        boxes, labels = catalog.exact_boxes(number) or (np.zeros((0, 4)), [])
        size = np.array([row.width, row.height])
        centre = (boxes[:, :2] + boxes[:, 2:]) / 2 / size
        side = (boxes[:, 2:] - boxes[:, :2]) / size
        lines = [
            f"{names.index(label)} " + " ".join(f"{v:.10g}" for v in values)
            for values, label in zip(np.hstack([centre, side]), labels, strict=True)
        ]
        _write(folder, calls[str(row.image_id)], lines)
    _write_names(catalog, folder, names, calls)
    return calls


def write_segments(catalog: Catalog, folder: Path, column: str) -> dict[str, str]:
    """Polygons of a mask, without its holes."""
    calls = split_tree(catalog)
    for number, row in enumerate(catalog.table.itertuples()):
        size = np.array([row.width, row.height])
        mask = open_mask(catalog.root, str(catalog.table[column].iloc[number]), *_sides(row))
        lines = []
        for piece in polygons(mask):
            # A line needs three points; a single pixel or a straight piece repeats its own.
            points = piece if len(piece) > 2 else np.resize(piece, (3, 2))
            lines.append("0 " + " ".join(f"{v:.10g}" for v in (points / size).ravel()))
        _write(folder, calls[str(row.image_id)], lines)
    _write_names(catalog, folder, [column.removeprefix("mask_")], calls)
    return calls


def _sides(row: Any) -> tuple[int, int]:
    return int(row.height), int(row.width)


def _write(folder: Path, name: str, lines: list[str]) -> None:
    write_text(folder / "labels" / f"{name}.txt", "".join(f"{line}\n" for line in lines))


def _write_names(catalog: Catalog, folder: Path, names: list[str], calls: dict[str, str]) -> None:
    first = {name.partition("/")[0] for name in calls.values() if "/" in name}
    parts = {KEYS[s]: f"images/{f}" for f in sorted(first) if (s := split_of(f)) in KEYS}
    content = {"path": ".", **(parts or {"train": "images"}), "names": dict(enumerate(names))}
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    write_text(folder / "data.yaml", text)
