"""Catalogs -> prepared samples in memory, and the groups that a stage mixes.

The tensor a sample starts from is core.prepare's: the same one a bundle sees.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hilum.augment.policy import Sample
from hilum.core.geometry import Letterbox
from hilum.core.prepare import Preprocessing, square
from hilum.data.catalog import Catalog
from hilum.data.pixels import open_mask, open_radiograph
from hilum.data.sets import NIH_FINDINGS, load_set

MASKS = ("opacity", "lungs", "lungs_full")
CLASSES = ("normal", "not-normal", "opacity")
UNKNOWN = 255

# Lung masks differ in kind: with or without the lung behind the heart.
LUNG_MASK = {
    "shenzhen_512": "lungs",
    "jsrt_128": "lungs",
    "covid_adult_512": "lungs_full",
    "kermany_lungs_320": "lungs_full",
}


@dataclass(slots=True)
class Item:
    """One prepared image with its annotation; None or NaN or 255 where there is none."""

    image_id: str
    group: str
    patient: str
    image: NDArray[np.float16]  # (s, s)
    boxes: NDArray[np.float32] | None
    masks: dict[str, NDArray[np.uint8]]
    label: NDArray[np.float32]  # (3,)
    findings: NDArray[np.float32]  # (14,)

    def sample(self) -> Sample:
        size = self.image.shape[0]
        unknown = np.full((size, size), UNKNOWN, np.uint8)
        boxes = np.zeros((0, 4), np.float32) if self.boxes is None else self.boxes
        return Sample(
            self.image.astype(np.float32),
            boxes,
            ("opacity",) * len(boxes),
            {name: self.masks.get(name, unknown) for name in MASKS},
        )


def load_catalogs(folder: Path) -> dict[str, Catalog]:
    """The groups that stages mix, each a catalog; adults only where age is known."""
    nih = load_set("nih_128", folder)
    adult = (nih.table["age"] >= 18).to_numpy()
    rsna = nih.table["boxes"].notna().to_numpy()
    groups = {"rsna": nih.where(adult & rsna), "nih": nih.where(adult & ~rsna)}
    for name in ("covid_opacity_512", "shenzhen_512", "jsrt_128", "kermany_lungs_320"):
        groups[name] = load_set(name, folder)
    covid = load_set("covid_adult_512", folder)
    groups["covid_adult_512"] = covid.where(covid.table["mask_lungs"].notna())
    return groups


def prepare_items(group: str, catalog: Catalog, spec: Preprocessing) -> list[Item]:
    """Every image of a catalog, prepared."""
    return [_item(group, catalog, row, spec) for row in range(len(catalog))]


def _item(group: str, catalog: Catalog, row: int, spec: Preprocessing) -> Item:
    record = catalog.table.iloc[row]
    radiograph = open_radiograph(catalog.root, record["path"])
    image, box = square(radiograph, spec)
    height, width = radiograph.height, radiograph.width
    label = np.array([record.get(f"label_{c}", np.nan) for c in CLASSES], np.float32)
    if label[2] == 1:
        label[:2] = 0
    found = catalog.boxes(row)
    boxes = None if found is None else box.boxes_to_square(found[0])
    if boxes is None and label[0] == 1:
        boxes = np.zeros((0, 4), np.float32)  # a normal film has no opacity

    masks: dict[str, NDArray[np.uint8]] = {}
    if group == "covid_opacity_512":
        parts = [
            open_mask(catalog.root, record[f"mask_{m}"], height, width)
            for m in ("ggo", "consolidation")
        ]
        masks["opacity"] = _small(parts[0] | parts[1], box)
        if pd.notna(record["mask_lung_l"]) and pd.notna(record["mask_lung_r"]):
            lungs = [open_mask(catalog.root, record[f"mask_lung_{s}"], height, width) for s in "lr"]
            masks["lungs_full"] = _small(lungs[0] | lungs[1], box)
    elif group in LUNG_MASK and pd.notna(record["mask_lungs"]):
        mask = open_mask(catalog.root, record["mask_lungs"], height, width)
        masks[LUNG_MASK[group]] = _small(mask, box)
    if "opacity" not in masks and boxes is not None:
        masks["opacity"] = _from_boxes(boxes, spec.size)
    findings = [record.get(f"label_nih_{f}", np.nan) for f in NIH_FINDINGS]
    return Item(
        str(record["image_id"]),
        group,
        str(record["patient"]),
        image.astype(np.float16),
        boxes,
        masks,
        label,
        np.array(findings, np.float32),
    )


def _small(mask: NDArray[np.bool_], box: Letterbox) -> NDArray[np.uint8]:
    return (box.apply(mask.astype(np.float32)) >= 0.5).astype(np.uint8)


def _from_boxes(boxes: NDArray[np.float32], size: int) -> NDArray[np.uint8]:
    """A weak mask: the inner ellipse of a box is opacity, the rest of the box unknown."""
    mask = np.zeros((size, size), np.uint8)
    for x1, y1, x2, y2 in boxes:
        corner, far = (round(float(x1)), round(float(y1))), (round(float(x2)), round(float(y2)))
        cv2.rectangle(mask, corner, far, UNKNOWN, -1)
    for x1, y1, x2, y2 in boxes:
        centre = (round(float(x1 + x2) / 2), round(float(y1 + y2) / 2))
        axes = (max(1, round(float(x2 - x1) * 0.35)), max(1, round(float(y2 - y1) * 0.35)))
        cv2.ellipse(mask, centre, axes, 0, 0, 360, 1, -1)
    return mask


def picture_vectors(items: list[Item], side: int = 24) -> NDArray[np.float32]:
    """(n, side * side) zero-mean unit vectors; equal pictures have a product near 1."""
    rows = [
        cv2.resize(item.image.astype(np.float32), (side, side), interpolation=cv2.INTER_AREA)
        for item in items
    ]
    flat = np.stack(rows).reshape(len(rows), -1)
    flat = flat - flat.mean(axis=1, keepdims=True)
    out: NDArray[np.float32] = flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6)
    return out


def without_copies(items: list[Item], held_out: list[Item], similarity: float = 0.99) -> list[Item]:
    """Training items that are no copy of a held-out picture (the sets overlap)."""
    if not items or not held_out:
        return items
    best = (picture_vectors(items) @ picture_vectors(held_out).T).max(axis=1)
    return [item for item, value in zip(items, best, strict=True) if value < similarity]
