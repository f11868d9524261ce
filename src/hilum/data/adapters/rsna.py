"""RSNA Pneumonia Detection Challenge 2018.

Every image has a patientId of its own there; one person may hide behind several of them, because
the pictures come from NIH ChestX-ray14. The catalog says so; nothing here can undo it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from hilum.data.adapters.common import (
    DICOM,
    Source,
    first_per_image,
    group_boxes,
    join_files,
    numbers,
)
from hilum.data.adapters.headers import add_headers
from hilum.data.catalog import Catalog, build

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
SIDE = 1024  # every image of the challenge


def load(path: Path, headers: bool = False) -> Catalog:
    """The challenge's directory, or its tables alone.

    Labels normal, not-normal, opacity (from the detailed classes; from Target alone only
    opacity is known); box label opacity.

    Args:
        headers: read the DICOM headers too (view, sex, age): some seconds for 30,000 files.

    Raises:
        DataError: no label table, or contradicting rows.
    """
    source = Source("rsna", path)
    columns = ["patientId", "x", "y", "width", "height", "Target"]
    rows = source.table(source.require(*LABELS), columns)
    twice = rows.duplicated(columns)  # the published stage-1 test file has 516
    source.note(int(twice.sum()), "rows repeat another and were left out")
    rows = rows[~twice].rename(columns={"patientId": "image_id"})
    rows["image_id"] = rows["image_id"].str.strip()
    images = first_per_image(rows[["image_id", "Target"]], "Target", source)
    images["split"] = "train"
    table = join_files(images, source.files(DICOM, *FOLDERS), source, FOLDERS)
    target = numbers(table["Target"].fillna(""))
    table = pd.concat([table.drop(columns="Target"), _labels(table, target, source)], axis=1)
    boxes = _corners(rows[numbers(rows["Target"]) == 1])
    table = pd.concat(
        [table, group_boxes(boxes, table["image_id"], source, target.notna())], axis=1
    )
    table["patient"] = table["image_id"]
    source.notes.append("each image is its own patient; one person may have several patientIds")
    if headers:
        table = add_headers(table, source)
    for side in ("width", "height"):
        table[side] = table[side].fillna(SIDE) if side in table else SIDE
    return build("rsna", table, path, tuple(source.notes))


def _corners(rows: pd.DataFrame) -> pd.DataFrame:
    x, y, w, h = (numbers(rows[c]) for c in ("x", "y", "width", "height"))
    return pd.DataFrame(
        {"image_id": rows["image_id"], "x1": x, "y1": y, "x2": x + w, "y2": y + h}
    ).assign(label="opacity")


def _labels(table: pd.DataFrame, target: pd.Series[float], source: Source) -> pd.DataFrame:
    found = source.find(*CLASSES)
    if found is None:
        source.notes.append("no detailed classes: normal and not-normal are unknown")
        return pd.DataFrame({"label_opacity": target})
    rows = source.table(found, ["patientId", "class"]).rename(columns={"patientId": "image_id"})
    classes = first_per_image(rows, "class", source).set_index("image_id")["class"]
    own = table["image_id"].map(classes)
    known = own.isin(list(NAMES.values()))
    out = pd.DataFrame(
        {f"label_{short}": np.where(known, own == text, np.nan) for short, text in NAMES.items()}
    )
    out["label_opacity"] = out["label_opacity"].where(known, target)
    disagree = known & target.notna() & ((own == NAMES["opacity"]) != (target == 1))
    source.note(int(disagree.sum()), "images whose class and Target contradict each other")
    source.note(int((target.notna() & ~known).sum()), "labelled images have no known class")
    return out
