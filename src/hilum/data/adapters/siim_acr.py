"""SIIM-ACR Pneumothorax Segmentation, both editions (2019 train-rle.csv; stage 2 with ID_… names).

Masks stay run lengths in the catalog: "rle:1024x1024:" (height, width) and the rows, joined by ";".
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from hilum.data.adapters.common import DICOM, Source, join_files, numbers, patients
from hilum.data.adapters.headers import add_headers
from hilum.data.catalog import Catalog, build
from hilum.data.formats.runs import EMPTY

TABLES = ("train-rle.csv", "stage_2_train.csv", "siim-pneumothorax-train-rle.csv")
FOLDERS = {
    "dicom-images-train": "train",
    "dicom-images-test": "test",
    "dicom-images-test-stage2": "test",
    "stage_2_images": "",  # holds train and test: only the table tells
}
SIDE = 1024  # every mask of the challenge; columns Height and Width say otherwise


def load(path: Path, headers: bool = True) -> Catalog:
    """The challenge's directory, or its table alone.

    Label pneumothorax, mask pneumothorax; several rows of one image are a union. Where several
    editions' tables are there, the first of `TABLES` counts.

    Raises:
        DataError: no run-length table.
    """
    source = Source("siim-acr", path)
    rows = source.table(source.require(*TABLES), ["ImageId", "EncodedPixels"])
    own_sizes = {"Height", "Width"} <= set(rows)
    sizes = [numbers(rows[c]) if own_sizes else SIDE for c in ("Height", "Width")]
    rows = pd.DataFrame(
        {"image_id": rows["ImageId"].str.strip(), "text": rows["EncodedPixels"].str.strip()}
    ).assign(height=sizes[0], width=sizes[1])
    images = _masks(rows, source).assign(split="train")
    if not own_sizes:  # those of the masks; the headers tell those of the images
        images = images.drop(columns=["height", "width"])
    table = join_files(images, source.files(DICOM, *FOLDERS), source, FOLDERS)
    if headers:
        table = add_headers(table, source)
    for side in ("width", "height"):
        table[side] = table[side].fillna(SIDE) if side in table else SIDE
    table["patient"] = patients(table, source)
    return build("siim-acr", table, path, tuple(source.notes))


def _masks(rows: pd.DataFrame, source: Source) -> pd.DataFrame:
    """image_id, size, label_pneumothorax, mask_pneumothorax; blank cells are not annotated."""
    order = pd.DataFrame({"image_id": rows["image_id"].unique()})
    blank = rows["text"] == ""
    source.note(int(blank.sum()), "rows have a blank mask cell and were left out")
    positive = rows[~blank & (rows["text"] != EMPTY)]
    joined = positive.groupby("image_id")["text"].agg(";".join)
    sizes = rows.drop_duplicates("image_id").set_index("image_id")[["height", "width"]].astype(int)
    sides = sizes.loc[joined.index].astype(str)
    joined = "rle:" + sides["height"] + "x" + sides["width"] + ":" + joined
    known = order["image_id"].isin(rows["image_id"][~blank])
    mask = order["image_id"].map(joined).astype(object)
    order["mask_pneumothorax"] = mask.where(mask.notna(), None)
    order.loc[mask.isna() & known, "mask_pneumothorax"] = ""
    order = order.join(sizes, on="image_id")
    order["label_pneumothorax"] = mask.notna().astype("float32").where(known)
    return order
