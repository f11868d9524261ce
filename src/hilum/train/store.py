"""Catalogs -> prepared samples in memory, and the groups that a stage mixes.

The tensor a sample starts from is core.prepare's: the same one a bundle sees.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hilum.augment.sample import UNKNOWN, Sample
from hilum.core.geometry import Letterbox
from hilum.core.prepare import Preprocessing, square
from hilum.data.catalog import Catalog
from hilum.data.pixels import open_mask, open_radiograph
from hilum.data.sets import NIH_FINDINGS, load_set
from hilum.models.model import Targets

TARGETS = Targets(findings=tuple(f"nih_{name}" for name in NIH_FINDINGS))
MASKS, CLASSES = TARGETS.masks, TARGETS.classes
LUNGS = ("lungs", "lungs_full")

# Lung masks differ in kind: with or without the lung behind the heart.
LUNG_MASK = {
    "shenzhen_512": "lungs",
    "jsrt_128": "lungs",
    "covid_adult_512": "lungs_full",
    "kermany_lungs_320": "lungs_full",
}
# Masks that are unions of a catalog's own; all of them must be annotated.
MASK_PARTS = {
    ("covid_opacity_512", "opacity"): ("ggo", "consolidation"),
    ("covid_opacity_512", "lungs_full"): ("lung_l", "lung_r"),
    **dict.fromkeys(LUNG_MASK.items(), ("lungs",)),
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
    label: NDArray[np.float32]  # (C,)
    findings: NDArray[np.float32]  # (F,)
    box_labels: tuple[str, ...] | None = None  # of `boxes`; None: all are opacities
    called: bool = False  # whether its class is one of the positive ones

    @property
    def positive(self) -> bool:
        """Whether anything that is looked for is known to be there."""
        marked = self.boxes is not None and len(self.boxes) > 0
        drawn = any((mask == 1).any() for name, mask in self.masks.items() if name not in LUNGS)
        return bool(marked or drawn or self.called or (self.findings == 1).any())

    def sample(self, masks: tuple[str, ...] = MASKS) -> Sample:
        """What augmentation moves; of the masks those that are asked for."""
        size = self.image.shape[0]
        unknown = np.full((size, size), UNKNOWN, np.uint8)
        boxes = np.zeros((0, 4), np.float32) if self.boxes is None else self.boxes
        return Sample(
            self.image.astype(np.float32),
            boxes,
            self.box_labels or ("opacity",) * len(boxes),
            {name: self.masks.get(name, unknown) for name in masks},
            self.label,
            self.findings,
            self.boxes is not None,
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


def prepare_items(
    group: str, catalog: Catalog, spec: Preprocessing, targets: Targets = TARGETS
) -> list[Item]:
    """Every image of a catalog, prepared; what `targets` does not name is left out."""
    return [prepare_item(group, catalog, row, spec, targets) for row in range(len(catalog))]


def prepare_item(
    group: str, catalog: Catalog, row: int, spec: Preprocessing, targets: Targets
) -> Item:
    """One of them."""
    record = catalog.table.iloc[row]
    radiograph = open_radiograph(catalog.root, record["path"])
    image, box = square(radiograph, spec)
    label = np.array([_label(record, name) for name in targets.classes], np.float32)
    if (label == 1).any():
        label[label != 1] = 0  # one class is true, so the others are not
    found, names = catalog.boxes(row), None
    boxes = None
    if found is not None:
        wanted = [name in targets.labels for name in found[1]]
        boxes = box.boxes_to_square(found[0][wanted]).reshape(-1, 4)
        names = tuple(name for name in found[1] if name in targets.labels)
    elif "normal" in targets.classes and label[targets.classes.index("normal")] == 1:
        boxes = np.zeros((0, 4), np.float32)  # a normal image has no opacity
    masks = {
        name: _small(mask, box)
        for name in targets.masks
        if (mask := _mask(catalog, record, name, radiograph.height, radiograph.width)) is not None
    }
    if "opacity" in targets.masks and "opacity" not in masks and boxes is not None:
        masks["opacity"] = _from_boxes(boxes, spec.size)
    findings = [_label(record, name) for name in targets.findings]
    return Item(
        str(record["image_id"]),
        group,
        str(record["patient"]),
        image.astype(np.float16),
        boxes,
        masks,
        label,
        np.array(findings, np.float32),
        names,
        called=bool((label[targets.positive_columns] == 1).any()),
    )


def _label(record: pd.Series[Any], name: str) -> float:
    """Of the image, or else of its study; NaN where neither is annotated."""
    return float(record.get(f"label_{name}", record.get(f"study_{name}", np.nan)))


def _mask(
    catalog: Catalog, record: pd.Series[Any], name: str, height: int, width: int
) -> NDArray[np.bool_] | None:
    """The mask of one image, None where it is not annotated."""
    columns = [f"mask_{p}" for p in MASK_PARTS.get((catalog.name, name), (name,))]
    references = [record.get(column) for column in columns]
    if any(reference is None or pd.isna(reference) for reference in references):
        return None
    parts = [open_mask(catalog.root, str(r), height, width) for r in references]
    whole: NDArray[np.bool_] = np.logical_or.reduce(parts)
    return whole


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
