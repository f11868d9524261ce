"""Catalog rows -> prepared images with their annotations, in memory.

The tensor that a sample starts from is core.prepare's: the same one a bundle sees. An image that
cannot be read, or a mask of it, is listed and left out. Knows no network and no order of samples.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from hilum.augment.sample import UNKNOWN, Sample
from hilum.core.errors import DataError, InputRefused
from hilum.core.geometry import Letterbox, box_areas, clip_boxes
from hilum.core.prepare import Preprocessing, square
from hilum.core.progress import counted
from hilum.data.alike import shown_by, thumbnail
from hilum.data.pixels import open_radiograph
from hilum.train.annotations import boxes_of, label_of, mask_of
from hilum.train.sources import Source

LUNGS = ("lungs", "lungs_full")  # no findings
NORMAL = "normal"  # the class that says that there is no box


@dataclass(slots=True)
class PreparedImage:
    """One image in the square with its annotations; None, NaN or 255 where there is none."""

    image_id: str
    source: str
    group: str
    patient: str
    image: NDArray[np.float16]  # (s, s) in [0, 1]
    frame: Letterbox  # back to source pixels
    boxes: NDArray[np.float32] | None  # (n, 4) in the square
    masks: dict[str, NDArray[np.uint8]]  # (s, s) 0, 1, 255
    label: NDArray[np.float32]  # (C,)
    findings: NDArray[np.float32]  # (F,)
    box_labels: tuple[str, ...] = ()  # of `boxes`
    positive_class: bool = False  # whether its class is one that says "there is a finding"

    @property
    def positive(self) -> bool:
        """Whether anything that is looked for is known to be there."""
        marked = self.boxes is not None and len(self.boxes) > 0
        drawn = any((mask == 1).any() for name, mask in self.masks.items() if name not in LUNGS)
        return bool(marked or drawn or self.positive_class or (self.findings == 1).any())

    def sample(self, masks: tuple[str, ...]) -> Sample:
        """What augmentation moves; of the masks those that are asked for."""
        size = self.image.shape[0]
        blank = np.full((size, size), UNKNOWN, np.uint8)
        return Sample(
            image=self.image.astype(np.float32),
            boxes_px=np.zeros((0, 4), np.float32) if self.boxes is None else self.boxes,
            labels=self.box_labels,
            masks={name: self.masks.get(name, blank) for name in masks},
            classes=self.label,
            findings=self.findings,
            boxed=self.boxes is not None,
        )


@dataclass(slots=True)
class Prepared:
    """The images of some rows that could be read, their rows, and why others could not."""

    images: list[PreparedImage] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)  # "source/image" -> reason


def prepare_rows(source: Source, rows: Sequence[int], spec: Preprocessing) -> Prepared:
    """Those rows of a source."""
    out = Prepared()
    for row, image in prepared(source, rows, spec):
        if isinstance(image, PreparedImage):
            out.images.append(image)
            out.rows.append(row)
        else:
            out.unreadable[f"{source.name}/{source.catalog.table['image_id'].iat[row]}"] = image
    return out


def prepared(
    source: Source, rows: Sequence[int], spec: Preprocessing
) -> Iterator[tuple[int, PreparedImage | str]]:
    """Each row with its image, or with the reason why there is none."""
    for row in counted(rows, f"preparing {source.name} at {spec.size} px", len(rows)):
        try:
            yield row, prepare_row(source, row, spec)
        except (InputRefused, DataError) as error:
            yield row, str(error)


def prepare_row(source: Source, row: int, spec: Preprocessing) -> PreparedImage:
    """One image of a source, as the network learns it.

    Raises:
        InputRefused, DataError: the image or one of its masks cannot be read, or a box has no area
            in it: nobody knows what it is around.
    """
    catalog, targets = source.lessons, source.targets
    record = catalog.table.iloc[row]
    radiograph = open_radiograph(catalog.root, record["path"], spec.window)
    image, frame = square(radiograph, spec)
    label, findings = (
        np.array([label_of(record, name) for name in names], np.float32)
        for names in (targets.classes, targets.findings)
    )
    if (label == 1).any():
        label[label != 1] = 0  # one class is true, so the others are not
    size = radiograph.width, radiograph.height
    drawn = boxes_of(source, catalog, row, size)
    names = () if drawn is None else drawn[1]
    boxes: NDArray[np.float32] | None = None
    if drawn is not None:
        if not box_areas(clip_boxes(drawn[0], *size)).all():
            raise DataError(
                f"a box has no area in its image of {size[0]}×{size[1]} px; hilum data check "
                "names it, and leaves it out with --fix"
            )
        boxes = frame.boxes_to_square(drawn[0].astype(np.float32)).reshape(-1, 4)
    if boxes is None and NORMAL in targets.classes and label[targets.classes.index(NORMAL)] == 1:
        boxes = np.zeros((0, 4), np.float32)  # a normal image has no opacity
    masks = {
        name: (frame.apply(mask(*size[::-1]).astype(np.float32)) >= 0.5).astype(np.uint8)
        for name in targets.masks
        if (mask := mask_of(source, record, name)) is not None
    }
    for name in source.options.weak_masks:
        if name in masks:
            masks[name] = _weak(masks, name, spec.size)
    for name in targets.labels:
        if name in targets.masks and name not in masks and boxes is not None:
            masks[name] = _from_boxes(boxes, names, name, spec.size)
    return PreparedImage(
        image_id=str(record["image_id"]),
        source=source.name,
        group=source.group,
        patient=str(record["patient"]),
        image=image.astype(np.float16),
        frame=frame,
        boxes=boxes,
        masks=masks,
        label=label,
        findings=findings,
        box_labels=names,
        positive_class=bool((label[targets.positive_columns] == 1).any()),
    )


def _weak(masks: dict[str, NDArray[np.uint8]], name: str, size: int) -> NDArray[np.uint8]:
    """What is marked is sure, the rest of the lungs (a little widened) unknown, all else empty."""
    marked = masks[name] == 1
    drawn = [masks[lung] == 1 for lung in LUNGS if lung in masks]
    if not drawn:
        return np.where(marked, 1, UNKNOWN).astype(np.uint8)
    kernel = np.ones((max(3, size // 32),) * 2, np.uint8)
    lungs = cv2.dilate(np.logical_or.reduce(drawn).astype(np.uint8), kernel)
    return np.where(marked, 1, np.where(lungs == 1, UNKNOWN, 0)).astype(np.uint8)


def drawn_masks(image: PreparedImage) -> dict[str, NDArray[np.uint8]]:
    """Its masks without those that were made of its boxes."""
    boxes, labels = image.boxes, image.box_labels
    return {
        name: mask
        for name, mask in image.masks.items()
        if boxes is None or not np.array_equal(mask, _from_boxes(boxes, labels, name, len(mask)))
    }


def _from_boxes(
    boxes: NDArray[np.float32], labels: Sequence[str], name: str, size: int
) -> NDArray[np.uint8]:
    """A weak mask: the inner ellipse of a box of that label is it, the rest of the box unknown."""
    mask = np.zeros((size, size), np.uint8)
    boxes = boxes[np.array([label == name for label in labels], bool)]
    for x1, y1, x2, y2 in boxes:
        corner, far = (round(float(x1)), round(float(y1))), (round(float(x2)), round(float(y2)))
        cv2.rectangle(mask, corner, far, UNKNOWN, -1)
    for x1, y1, x2, y2 in boxes:
        centre = (round(float(x1 + x2) / 2), round(float(y1 + y2) / 2))
        axes = (max(1, round(float(x2 - x1) * 0.35)), max(1, round(float(y2 - y1) * 0.35)))
        cv2.ellipse(mask, centre, axes, 0, 0, 360, 1, -1)
    return mask


def thumbnails(images: Sequence[PreparedImage]) -> NDArray[np.float32]:
    """(n, THUMB, THUMB) of what is inside the frames."""
    rows = []
    for one in images:
        x, y, width, height = one.frame.inner
        rows.append(thumbnail(one.image[y : y + height, x : x + width].astype(np.float32)))
    return np.stack(rows)


def without_copies(
    images: Sequence[PreparedImage], held_out: Sequence[PreparedImage]
) -> list[PreparedImage]:
    """Training images that are no copy of a held-out image (the sets overlap), as `hilum data
    check` knows copies: in another size, contrast or turn, mirrored, or negative."""
    if not images or not held_out:
        return list(images)
    seen = shown_by(thumbnails(images), thumbnails(held_out)).tolist()
    return [one for one, copy in zip(images, seen, strict=True) if not copy]
