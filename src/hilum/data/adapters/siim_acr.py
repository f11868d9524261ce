"""SIIM-ACR Pneumothorax Segmentation, both editions (2019 train-rle.csv; stage 2 with ID_… names).

Masks stay run lengths in the catalog: "rle:1024x1024:" (height, width) and the rows, joined by ";".
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from hilum.core.errors import DataError
from hilum.data.adapters import sidecar
from hilum.data.adapters.headers import add_headers
from hilum.data.adapters.match import join_files, within
from hilum.data.adapters.source import DICOM, IMAGES, Source
from hilum.data.adapters.values import UNKNOWN, numbers, patients, texts
from hilum.data.catalog import Catalog
from hilum.data.formats.runs import EMPTY, STARTS, are_starts, runs

TABLES = ("train-rle.csv", "stage_2_train.csv", "siim-pneumothorax-train-rle.csv")
FOLDERS = {
    "dicom-images-train": "train",
    "dicom-images-test": "test",
    "dicom-images-test-stage2": "test",
    "stage_2_images": "test",  # holds train and test: those of train have a row
}
SIDE = 1024  # every mask of the challenge; columns Height and Width say otherwise


def load(path: Path, headers: bool = True) -> Catalog:
    """The challenge's directory, or its table alone.

    Label pneumothorax, mask pneumothorax; several rows of one image are a union. Where several
    editions' tables are there, the first of `TABLES` counts.

    Raises:
        DataError: no run-length table, text that is no run length, an image both empty and not.
    """
    source = Source("siim-acr", path)
    rows = source.table(source.require(*TABLES), ["ImageId", "EncodedPixels"])
    rows["image_id"] = texts(rows["ImageId"])
    rows["text"] = rows["EncodedPixels"].str.strip()
    own_sizes = {"Height", "Width"} <= set(rows)
    for own, theirs in (("height", "Height"), ("width", "Width")):
        rows[own] = numbers(rows[theirs]) if own_sizes else float(SIDE)
    images = _masks(rows, source).assign(split="train")
    if not own_sizes:  # those of the masks; the headers tell those of the images
        images = images.drop(columns=["height", "width"])
    files = source.files(DICOM, *FOLDERS) or source.files(IMAGES, *FOLDERS)
    wanted = (within(*(f for f, split in FOLDERS.items() if split == "train")),)
    table = join_files(images, files, source, splits=FOLDERS, wanted=lambda i: wanted)
    if headers:
        table = add_headers(table, source)
    for side in ("width", "height"):
        table[side] = table[side].fillna(SIDE) if side in table else SIDE
    table = sidecar.fill(table, table["image_id"], source)
    table["patient"] = patients(table, source)
    return source.catalog(table)


def _masks(rows: pd.DataFrame, source: Source) -> pd.DataFrame:
    """image_id, size, label_pneumothorax, mask_pneumothorax; blank cells are not annotated."""
    order = pd.DataFrame({"image_id": rows["image_id"].unique()})
    blank = rows["text"].str.lower().isin(list(UNKNOWN))
    first = next(iter(rows.loc[blank, "image_id"]), "")
    text = "rows have a blank mask cell and were left out"
    source.skip("row-blank", int(blank.sum()), text, first)
    empty = rows["text"] == EMPTY
    positive = rows[~blank & ~empty].drop_duplicates(["image_id", "text"])
    if are_starts(positive["text"]):
        raise DataError(f"set 'siim-acr': {STARTS}")
    for image, text, height, width in zip(
        *(positive[c] for c in ("image_id", "text", "height", "width")), strict=True
    ):
        _check(image, text, height, width)
    both = rows.loc[empty, "image_id"].isin(positive["image_id"])
    if both.any():
        image = rows.loc[empty, "image_id"][both].iat[0]
        raise DataError(f"set 'siim-acr': image {image!r} has an empty mask and one that is not")
    joined = positive.groupby("image_id")["text"].agg(";".join)
    sizes = rows.drop_duplicates("image_id").set_index("image_id")[["height", "width"]]
    sizes = sizes.fillna(0).astype(int)
    sides = sizes.loc[joined.index].astype(str)
    joined = "rle:" + sides["height"] + "x" + sides["width"] + ":" + joined
    known = order["image_id"].isin(rows["image_id"][~blank])
    mask = order["image_id"].map(joined).astype(object)
    order["mask_pneumothorax"] = mask.where(mask.notna(), None)
    order.loc[mask.isna() & known, "mask_pneumothorax"] = ""
    order = order.join(sizes, on="image_id")
    order["label_pneumothorax"] = mask.notna().astype("float32").where(known)
    return order


def _check(image: str, text: str, height: float, width: float) -> None:
    """Raises DataError for a cell that draws no mask of its image."""
    try:
        if not (height >= 1 and width >= 1):
            raise DataError(f"Height {height:g}, Width {width:g}; needed: at least 1")
        pixels = runs(text)
        if not (pixels[:, 1] > pixels[:, 0]).any():
            raise DataError(f"run lengths {text!r:.40} hold no pixel; an empty mask is {EMPTY}")
        if pixels[-1, 1] > height * width:
            raise DataError(
                f"run lengths end at pixel {pixels[-1, 1]}, the mask has {height:g} × {width:g}"
            )
    except DataError as error:
        raise DataError(f"set 'siim-acr', image {image!r}: {error}") from error
