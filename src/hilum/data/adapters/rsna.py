"""RSNA Pneumonia Detection Challenge 2018.

Every image has a patientId of its own there; one person may hide behind several of them, because
the images come from NIH ChestX-ray14. The catalog says so; nothing here can undo it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from hilum.data.adapters.boxes import group_boxes
from hilum.data.adapters.headers import add_headers
from hilum.data.adapters.match import join_files, within
from hilum.data.adapters.source import DICOM, Source
from hilum.data.adapters.values import first_per_image, flags, numbers, texts
from hilum.data.catalog import Catalog

LABELS = ("stage_2_train_labels.csv", "stage_1_train_labels.csv")
CLASSES = ("stage_2_detailed_class_info.csv", "stage_1_detailed_class_info.csv")
NAMES = {
    "normal": "Normal",
    "not-normal": "No Lung Opacity / Not Normal",
    "opacity": "Lung Opacity",
}
FOLDERS = {
    "stage_2_train_images": "train",
    "stage_1_train_images": "train",
    "stage_2_test_images": "test",
    "stage_1_test_images": "test",
}
SIDE = 1024  # px: every image of the challenge, and the frame of every box


def load(path: Path, headers: bool = False) -> Catalog:
    """The challenge's directory, or its tables alone.

    Labels normal, not-normal, opacity (from the detailed classes; from Target alone only
    opacity is known); box label opacity. Both stages' images may be there: those of the table's
    stage count.

    Args:
        headers: read the DICOM headers too (view, sex, age, size): some seconds for 30,000 files.

    Raises:
        DataError: no label table, contradicting rows, or a Target that is neither 0 nor 1.
    """
    source = Source("rsna", path)
    columns = ["patientId", "x", "y", "width", "height", "Target"]
    file = source.require(*LABELS)
    rows = source.table(file, columns)
    twice = rows.duplicated(columns)  # the published stage-1 test file has 516
    source.note(int(twice.sum()), "rows repeat another and were left out")
    rows = rows[~twice].rename(columns={"patientId": "image_id"}).reset_index(drop=True)
    rows["image_id"] = texts(rows["image_id"])
    rows["Target"] = flags(rows["Target"], "Target", rows["image_id"])
    images = first_per_image(rows[["image_id", "Target"]], ["Target"], source)
    images["split"] = "train"
    own = [folder for folder in FOLDERS if folder[:7] == file.name[:7]]
    wanted = [within(folder) for folder in [*own, *FOLDERS]]
    table = join_files(
        images, source.files(DICOM, *FOLDERS), source, splits=FOLDERS, wanted=lambda i: wanted
    )
    target = table.pop("Target")
    boxes = _corners(rows[rows["Target"] == 1])
    sides = rows[["x", "y", "width", "height"]].apply(texts)
    drawn_anyway = (rows["Target"] == 0) & (sides != "").any(axis=1)
    text = "boxes are of images whose Target is 0: no box"
    first = next(iter(rows.loc[drawn_anyway, "image_id"]), "")
    source.skip("box-lost", int(drawn_anyway.sum()), text, first)
    drawn = group_boxes(boxes, table["image_id"], source, target.notna())
    table = pd.concat([table, _labels(table, target, source), drawn], axis=1)
    table["patient"] = table["image_id"]
    source.notes.append("each image is its own patient; one person may have several patientIds")
    if headers:
        table = add_headers(table, source)
    return source.catalog(_framed(table, boxes, source))


def _framed(table: pd.DataFrame, boxes: pd.DataFrame, source: Source) -> pd.DataFrame:
    """The frame of the boxes: the challenge's, or the file's where its header says another.

    Square files of another size are copies, if a box of the set lies in 1024² and not in its file.
    """
    for side in ("width", "height"):
        table[side] = table[side].fillna(SIDE) if side in table else SIDE
    square = (table["width"] == table["height"]) & (table["width"] != SIDE)
    if not square.any():
        return table
    far = boxes[["x2", "y2"]].max(axis=1)
    sides = boxes["image_id"].map(table[square].set_index("image_id")["width"])
    if ((far > sides + 1) & (far <= SIDE)).any():
        source.note(int(square.sum()), f"images are copies of another size: boxes are of {SIDE} px")
        table.loc[square, ["width", "height"]] = SIDE
    return table


def _corners(rows: pd.DataFrame) -> pd.DataFrame:
    x, y, w, h = (numbers(rows[c]) for c in ("x", "y", "width", "height"))
    return pd.DataFrame(
        {"image_id": rows["image_id"], "x1": x, "y1": y, "x2": x + w, "y2": y + h}
    ).assign(label="opacity")


def _labels(table: pd.DataFrame, target: pd.Series[float], source: Source) -> pd.DataFrame:
    file = source.find(*CLASSES)
    if file is None:
        source.notes.append("no detailed classes: normal and not-normal are unknown")
        return pd.DataFrame({"label_opacity": target})
    rows = source.table(file, ["patientId", "class"]).rename(columns={"patientId": "image_id"})
    rows["image_id"] = texts(rows["image_id"])
    rows["class"] = rows["class"].str.strip()
    classes = first_per_image(rows, ["class"], source).set_index("image_id")["class"]
    own = table["image_id"].map(classes)
    known = own.isin(list(NAMES.values()))
    strange = own[own.notna() & ~known]
    source.skip("class-unread", len(strange), "classes are unknown", next(iter(strange), ""))
    out = pd.DataFrame(
        {f"label_{short}": np.where(known, own == text, np.nan) for short, text in NAMES.items()}
    )
    out["label_opacity"] = out["label_opacity"].where(known, target)
    disagree = known & target.notna() & ((own == NAMES["opacity"]) != (target == 1))
    source.note(int(disagree.sum()), "images whose class and Target contradict each other")
    source.note(int((target.notna() & ~known).sum()), "labelled images have no known class")
    return out
