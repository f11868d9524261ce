"""Annotations of a catalog -> COCO, VOC, YOLO, mask images, run lengths.

The way back is `load("coco" | "voc" | "yolo" | "siim-acr", folder)`, and for mask images the
folder adapter with `masks.csv`. Converts no images (see `images`). Images that nobody annotated
are left out and counted, and so are those without a file, where others have theirs. Beside the
annotations lies `hilum-images.csv` (see `adapters.sidecar`): ids, patients, splits and labels come
back as they went out.

Boxes and sizes are those of the files, where the files are there: what was drawn in a frame of
another size is scaled, and refused where the shape differs.

Rounding: COCO, mask images and run lengths are exact; VOC holds whole pixels, boxes grow
outwards by less than one; YOLO is written to 1e-10 of the image; YOLO's polygons are exact but
for holes, which they fill.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from hilum.core.errors import ConfigError, DataError
from hilum.core.folders import claimed
from hilum.data.adapters import sidecar
from hilum.data.adapters.headers import read_headers
from hilum.data.adapters.source import Source
from hilum.data.box_masks import with_box_masks
from hilum.data.catalog import Catalog
from hilum.data.formats import coco, mask_files, voc, yolo

# Writes the annotations of a column; gives what each image id is called there.
Writer = Callable[[Catalog, Path, str], dict[str, str]]

BOX_FORMS: dict[str, Writer] = {
    "coco": coco.write_boxes,
    "voc": voc.write_boxes,
    "yolo": yolo.write_boxes,
}
MASK_FORMS: dict[str, Writer] = {
    "coco-segments": coco.write_segments,
    "yolo-segments": yolo.write_segments,
    "masks": mask_files.write_masks,
    "rle": mask_files.write_run_lengths,
}
FORMS = {**BOX_FORMS, **MASK_FORMS}


@dataclass(frozen=True, slots=True)
class Converted:
    """How many images were written and left out."""

    images: int
    left_out: int  # nobody annotated them
    without_file: int  # of a set that has files of others


def convert(
    catalog: Catalog, form: str, out: str | Path, mask: str = "", *, from_boxes: bool = False
) -> Converted:
    """Write a catalog's annotations into a new folder, or the one where this was broken off.

    Args:
        form: coco, voc, yolo (boxes); coco-segments, yolo-segments, masks or rle.
        mask: which mask_<name> column, for the last four.
        from_boxes: draw the masks from the boxes instead (B6), those of label `mask` or all.

    Raises:
        ConfigError: unknown form, or the folder holds something else.
        DataError: the catalog lacks what the form needs (sizes, boxes, that mask), or a file is of
            another shape than the frame of its boxes.
    """
    folder = Path(out)
    if form not in FORMS:
        raise ConfigError(f"unknown form {form!r}; known: {', '.join(FORMS)}")
    if from_boxes and form in BOX_FORMS:
        raise ConfigError(f"masks of boxes belong to {', '.join(MASK_FORMS)}, not to {form}")
    column = "boxes" if form in BOX_FORMS or from_boxes else f"mask_{mask}"
    if column not in catalog.table:
        masks = [str(c).removeprefix("mask_") for c in catalog.table if str(c).startswith("mask_")]
        raise DataError(
            f"the catalog has no mask {mask!r}; name one of: {', '.join(masks) or 'none'}"
        )
    there = catalog.with_files()
    kept = there.where(there.table[column].notna())
    if kept.table.empty:
        raise DataError(f"catalog {catalog.name!r} has no image with known {column}")
    kept = _in_files(kept)
    unsized = (kept.table[["width", "height"]] < 1).any(axis=1)
    if unsized.any():
        raise DataError(
            f"{int(unsized.sum())} images have no known size, the first is "
            f"{kept.table.loc[unsized, 'image_id'].iat[0]!r}; load the set with its headers"
        )
    if from_boxes:
        kept, column = with_box_masks(kept, mask)
    content = json.dumps([form, column, kept.table.to_json(default_handler=str)])
    settings = hashlib.sha256(content.encode()).hexdigest()
    with claimed(folder, "convert", settings=settings, stays=False):
        sidecar.write(kept, FORMS[form](kept, folder, column), folder)
    return Converted(
        images=len(kept),
        left_out=len(there) - len(kept),
        without_file=len(catalog) - len(there),
    )


def _in_files(catalog: Catalog) -> Catalog:
    """The catalog with the sizes of its files, and boxes in them."""
    if not catalog.root.is_dir() or not (catalog.table["path"] != "").any():
        return catalog
    sizes = read_headers(catalog.table["path"], Source("convert", catalog.root))
    known = (sizes[["width", "height"]] > 0).all(axis=1)
    frames = sizes[["width", "height"]].where(known, catalog.table[["width", "height"]], axis=0)
    frames = frames.astype("int32")
    boxes: list[list[float] | None] = []
    for row, (width, height) in enumerate(frames.to_numpy().tolist()):
        annotation = catalog.boxes_in(row, width, height)
        boxes.append(None if annotation is None else annotation[0].ravel().tolist())
    return replace(
        catalog, table=catalog.table.assign(**frames, boxes=pd.Series(boxes, dtype=object))
    )
