"""Radiographs of a catalog -> PNG or WebP files of a chosen size, and the catalog of the copies.

Boxes, masks and spacing are scaled along; everything else of the catalog stays, and what the
headers know fills its blanks. Knows no annotation format (see `convert`).

Grey values go linearly from [0, 1] to the whole range of the bits, after VOI and inversion: air is
dark. Padding and shutters become ordinary grey. PNG and WebP are both written without loss.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from hilum.core.errors import ConfigError, DataError, InputRefused
from hilum.core.files import write_bytes
from hilum.core.radiograph import Radiograph, Window, check_window
from hilum.data.catalog import Catalog, build
from hilum.data.formats.file_names import file_names
from hilum.data.pixels import open_mask, open_radiograph
from hilum.data.resume import Facts, each_file, stamp

FORMS = ("png", "webp")
BITS = (8, 16)
WEBP_LIMIT = 16383  # px a side (WebP container specification)
CATALOG = "catalog.parquet"


@dataclass(frozen=True, slots=True)
class ImageFormat:
    """What to write.

    Args:
        form: "png" or "webp".
        bits: grey depth, 8 or 16; WebP has 8 only.
        side: px of the longer side, 0 keeps the size. Both sides are rounded to whole pixels, so
            the two scales differ a little; both are stored.
        window: (centre, width) in modality units instead of each file's own VOI (B1).

    Raises:
        ConfigError: an option that is unknown or that the form cannot hold.
    """

    form: str = "png"
    bits: int = 8
    side: int = 0
    window: Window | None = None

    def __post_init__(self) -> None:
        if self.form not in FORMS:
            raise ConfigError(f"images as {self.form!r}; known: {', '.join(FORMS)}")
        if self.bits not in BITS:
            raise ConfigError(f"{self.bits} bits; known: 8, 16")
        if self.form == "webp" and self.bits != 8:
            raise ConfigError("WebP holds 8 bits only; take PNG for 16")
        if self.side < 0 or (self.form == "webp" and self.side > WEBP_LIMIT):
            raise ConfigError(f"side {self.side} px; needed: 0 to keep it, at most 16383 in WebP")
        if self.window is not None:
            check_window(self.window)

    @property
    def name(self) -> str:
        """Of what is wanted, such as png-8-512."""
        window = [] if self.window is None else [f"{v:g}" for v in self.window]
        return "-".join([self.form, str(self.bits), str(self.side), *window])

    @property
    def memory(self) -> str:
        """The file of what is done."""
        return f"done-{self.name}.jsonl"

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height of the copy of an image."""
        if not self.side:
            return width, height
        factor = self.side / max(width, height)
        return max(1, round(width * factor)), max(1, round(height * factor))


def write_images(
    catalog: Catalog, wanted: ImageFormat, out: str | Path, workers: int = 2
) -> Iterator[Facts]:
    """Write the images (`images/`) and masks (`masks/NAME/`), one result a file as it is done.

    A rerun with the same `wanted` goes on where it was interrupted; `finish` makes the catalog.
    Whether the folder may be written to is the caller's to know (`export`).
    """
    catalog.need_files()
    folder = Path(out)
    memory = folder / wanted.memory
    names = file_names(catalog.table["image_id"])
    masks = [c for c in map(str, catalog.table) if c.startswith("mask_")]
    rows = {path: i for i, path in enumerate(catalog.table["path"]) if path}

    def mark(path: str) -> list[str]:
        """What the files of an earlier run must have been made of to count."""
        drawn = [str(r or "") for r in catalog.table[masks].iloc[rows[path]]]
        stem = names[str(catalog.table["image_id"].iat[rows[path]])]
        return [stem, *(f"{r} {stamp(catalog.root, r)}" for r in drawn)]

    def work(path: str) -> Facts:
        own = mark(path)
        try:
            catalog_row = catalog.table.iloc[rows[path]]
            references = {m: catalog_row[m] for m in masks}
            facts = _write(
                catalog.root, path, references, wanted=wanted, folder=folder, stem=own[0]
            )
        except InputRefused as refusal:
            facts = {"reason": f"{refusal.code}: {refusal.reason}"}
        except DataError as error:
            facts = {"reason": str(error)}
        return {"reason": None, "mark": own, **facts}

    def holds(facts: Facts) -> bool:
        if facts["reason"] or facts.get("mark") != mark(facts["path"]):
            return False
        own = [facts["image"], *filter(None, facts["masks"].values())]
        return all((folder / name).is_file() for name in own)

    return each_file(catalog.root, rows, work, memory=memory, workers=workers, holds=holds)


def finish(catalog: Catalog, facts: list[Facts], out: str | Path) -> tuple[Catalog, pd.DataFrame]:
    """The catalog of the copies, and what was left out: image_id, path, reason.

    Boxes go from the frame they were drawn in to the copy; an image whose file is of another shape
    than that is left out.
    """
    by_path = {f["path"]: f for f in facts}
    table = catalog.table
    scaled = [_scaled(catalog, row, by_path.get(path)) for row, path in enumerate(table["path"])]
    bad = pd.Series([why for why, _ in scaled], index=table.index, dtype=object)
    left = table.loc[bad.notna(), ["image_id", "path"]].assign(reason=bad[bad.notna()])
    if len(left) == len(table):
        raise DataError(f"catalog {catalog.name!r}: no image could be written: {bad.iloc[0]}")
    kept = catalog.without(bad.notna().to_numpy(bool), "left-out", "images could not be written")
    own = [by_path[p] for p in kept.table["path"]]
    boxes = [b for (_, b), why in zip(scaled, bad, strict=True) if why is None]
    rows = _copies(kept.table, own, boxes)
    empty = sum(len(f["empty_masks"]) for f in own)
    notes = (*kept.notes, *([f"{empty} mask files hold nothing"] if empty else []))
    licence, skips = kept.licence, kept.skips
    return build(catalog.name, rows, Path(out), notes, skips=skips, licence=licence), left


def _scaled(
    catalog: Catalog, row: int, facts: Facts | None
) -> tuple[str | None, list[float] | None]:
    """Why an image is left out (None if it is not), and its boxes in the pixels of the copy."""
    if facts is None:
        return "labelled, but there is no such file", None
    if facts["reason"]:
        return str(facts["reason"]), None
    try:
        boxes = catalog.boxes_in(row, *facts["size"])
    except DataError as error:
        return str(error), None
    if boxes is None:
        return None, None
    scale = np.array([facts["scale_x"], facts["scale_y"]] * 2)
    return None, [float(v) for v in (boxes[0] * scale).ravel()]


def _copies(kept: pd.DataFrame, own: list[Facts], boxes: list[list[float] | None]) -> pd.DataFrame:
    out = kept.copy()
    new = pd.DataFrame(own)
    if "original" not in out:  # copies of copies keep their first file and the whole scale
        out["original"] = out["path"]
        out["scale_x"] = out["scale_y"] = 1.0
    out["path"], out["width"], out["height"] = new["image"], new["width"], new["height"]
    out["scale_x"] *= new["scale_x"]
    out["scale_y"] *= new["scale_y"]
    for side in ("row", "column"):
        out[f"spacing_{side}_mm"] = new[f"spacing_{side}_mm"].astype("float64")
    out["boxes"] = pd.Series(boxes, dtype=object)
    for name in own[0]["masks"]:
        out[name] = pd.Series([f["masks"][name] for f in own], dtype=object)
    for name in own[0]["header"]:
        given = pd.Series([f["header"][name] for f in own], dtype=object)
        blank = out[name].isna() if name == "age" else out[name] == ""
        out[name] = out[name].where(~(blank & given.notna()), given)
    return out


def _write(
    root: Path,
    path: str,
    references: dict[str, str | None],
    wanted: ImageFormat,
    folder: Path,
    stem: str,
) -> Facts:
    radiograph = open_radiograph(root, path, wanted.window)
    width, height = wanted.size(radiograph.width, radiograph.height)
    if wanted.form == "webp" and max(width, height) > WEBP_LIMIT:
        raise DataError(f"{width}×{height} px is more than WebP holds; give a smaller size")
    scale = width / radiograph.width, height / radiograph.height
    masks, empty = _masks(
        root, references, radiograph, size=(width, height), folder=folder, stem=stem
    )
    image = f"images/{stem}.{wanted.form}"
    write_bytes(folder / image, _coded(radiograph, (width, height), wanted))
    return {
        "image": image,
        "size": (radiograph.width, radiograph.height),
        **{"width": width, "height": height, "scale_x": scale[0], "scale_y": scale[1]},
        **_spacing(radiograph, scale),
        "masks": masks,
        "empty_masks": empty,
        "header": {
            "view": radiograph.view,
            "sex": radiograph.sex,
            "age": radiograph.age_years,
            "modality": radiograph.modality,
            "photometric": radiograph.decoding.photometric,
            "study": radiograph.ids.study_instance_uid,
            "series": radiograph.ids.series_instance_uid,
        },
    }


def _coded(radiograph: Radiograph, size: tuple[int, int], wanted: ImageFormat) -> bytes:
    grey: NDArray[np.float32] = radiograph.pixels
    if size != (radiograph.width, radiograph.height):
        smaller = size[0] < radiograph.width
        way = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
        grey = cv2.resize(grey, size, interpolation=way).clip(0, 1)
    return image_bytes(grey, wanted)


def image_bytes(grey: NDArray[np.float32], wanted: ImageFormat) -> bytes:
    """(H, W) grey in [0, 1] as the wanted file; its size is kept."""
    top = 2**wanted.bits - 1
    stored = np.round(grey.astype(np.float64) * top)
    stored = stored.astype(np.uint8 if wanted.bits == 8 else np.uint16)
    if wanted.form == "webp":
        out = BytesIO()
        # Pillow rather than OpenCV, whose effort cannot be chosen and is twice as slow.
        Image.fromarray(stored).save(out, "WEBP", lossless=True, quality=25, method=1)
        return out.getvalue()
    _, coded = cv2.imencode(".png", stored)
    return coded.tobytes()


def mask_bytes(mask: NDArray[np.bool_]) -> bytes:
    """(H, W) mask as a PNG of 0 and 255."""
    _, coded = cv2.imencode(".png", mask.astype(np.uint8) * 255)
    return coded.tobytes()


def _spacing(radiograph: Radiograph, scale: tuple[float, float]) -> dict[str, float | None]:
    row, column = radiograph.spacing_mm or (None, None)
    return {
        "spacing_row_mm": None if row is None else row / scale[1],
        "spacing_column_mm": None if column is None else column / scale[0],
    }


def _masks(
    root: Path,
    references: dict[str, str | None],
    radiograph: Radiograph,
    size: tuple[int, int],
    folder: Path,
    stem: str,
) -> tuple[dict[str, str | None], list[str]]:
    """mask_<name> -> its copy, and those that hold nothing; "" (annotated, empty) and None (not
    annotated) stay."""
    out = dict(references)
    empty = []
    for name, reference in references.items():
        if not reference:
            continue
        mask = open_mask(root, reference, radiograph.height, radiograph.width)
        if not mask.any():
            empty.append(name)
        small = mask.astype(np.uint8) * 255
        if size != (radiograph.width, radiograph.height):  # a pixel is set where most of it was
            small = cv2.resize(small, size, interpolation=cv2.INTER_AREA)
        target = f"masks/{name.removeprefix('mask_')}/{stem}.png"
        write_bytes(folder / target, mask_bytes(small > 127))
        out[name] = target
    return out, empty
