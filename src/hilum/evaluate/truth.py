"""What is true of an image, as the catalog says it. Knows no prediction and no metric."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hilum.data.catalog import Catalog
from hilum.data.frames import ROUNDING_PX, same_shape
from hilum.data.pixels import open_mask

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Size:
    """Width and height of an image as the catalog states it, 0 where it does not."""

    own: tuple[int, int]
    original: tuple[float, float]  # of the file that a resized copy was made from

    @classmethod
    def of(cls, width: int, height: int) -> Size:
        """Of an image that is no copy."""
        return cls(own=(width, height), original=(width, height))

    @property
    def known(self) -> bool:
        return min(self.own) > 0

    def scales(self, size: tuple[int, int] | None) -> bool:
        """Whether what is of `size` must be scaled to this one."""
        return size is not None and self.known and size != self.own

    def scale(self, size: tuple[int, int]) -> tuple[float, float] | None:
        """Pixels of the image per pixel of a copy of `size`; None if it is no copy of it."""
        squeezed = all(
            abs(side - other) <= ROUNDING_PX
            for side, other in zip(size, self.original, strict=True)
        )
        if not (same_shape(size, self.own) or squeezed):
            return None
        return self.own[0] / size[0], self.own[1] / size[1]


@dataclass(frozen=True, slots=True, eq=False)
class ImageTruth:
    """One image's annotations in its own pixels. What nobody annotated is not there."""

    image_id: str
    patient: str
    size: Size
    boxes_px: Float | None = None  # (n, 4) x1, y1, x2, y2; None = nobody annotated boxes
    box_labels: tuple[str, ...] = ()  # (n,)
    image_labels: Mapping[str, float] = field(default_factory=dict)  # 1 present, 0 absent
    masks: Mapping[str, Callable[[int, int], Bool]] = field(default_factory=dict)
    """Name -> opens the mask at a height and width."""

    @property
    def width(self) -> int:
        """Px, 0 unknown."""
        return self.size.own[0]

    @property
    def height(self) -> int:
        return self.size.own[1]

    def boxes(self, finding: str) -> Float | None:
        """The boxes of one label."""
        if self.boxes_px is None:
            return None
        keep = np.array([label == finding for label in self.box_labels], np.bool_)
        return self.boxes_px[keep].reshape(-1, 4)

    def label(self, finding: str) -> float:
        """1, 0 or NaN: the image's label, else whether a box of it is there, else whether its mask
        has a pixel."""
        if finding in self.image_labels:
            return self.image_labels[finding]
        boxes = self.boxes(finding)
        if boxes is not None:
            return float(len(boxes) > 0)
        if finding in self.masks and self.size.known:
            return float(self.masks[finding](self.height, self.width).any())
        return float("nan")


def truths_of(catalog: Catalog) -> list[ImageTruth]:
    """Of every row, in the catalog's order and pixels."""
    table = catalog.table
    kept = ["image_id", "patient", "width", "height"]
    kept += [c for c in table.columns if c.startswith(("label_", "mask_", "scale_"))]
    columns = {name: table[name].tolist() for name in kept}
    return [
        _truth(catalog, row, {name: values[row] for name, values in columns.items()})
        for row in range(len(table))
    ]


def _truth(catalog: Catalog, row: int, record: Mapping[str, Any]) -> ImageTruth:
    annotated = catalog.boxes(row)
    own = int(record["width"]), int(record["height"])
    scale = (record["scale_x"], record["scale_y"]) if "scale_x" in record else (1.0, 1.0)
    labels = {c.removeprefix("label_"): v for c, v in record.items() if c.startswith("label_")}
    masks = {c.removeprefix("mask_"): v for c, v in record.items() if c.startswith("mask_")}
    return ImageTruth(
        image_id=str(record["image_id"]),
        patient=str(record["patient"]),
        size=Size(own=own, original=(own[0] / scale[0], own[1] / scale[1])),
        boxes_px=None if annotated is None else annotated[0].astype(np.float64),
        box_labels=() if annotated is None else tuple(annotated[1]),
        image_labels={name: float(value) for name, value in labels.items() if value == value},
        masks={
            name: partial(open_mask, catalog.root, reference)
            for name, reference in masks.items()
            if isinstance(reference, str)
        },
    )
