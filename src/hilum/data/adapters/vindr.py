"""VinDr-CXR and VinBigData: boxes of several radiologists for each image."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hilum.core.errors import DataError
from hilum.core.geometry import iou_matrix
from hilum.data.adapters.boxes import CORNERS, group_boxes, proper
from hilum.data.adapters.headers import add_headers
from hilum.data.adapters.match import join_files, within
from hilum.data.adapters.source import DICOM, IMAGES, Source
from hilum.data.adapters.values import first_per_image, numbers, patients
from hilum.data.catalog import Catalog

TABLES = ("train.csv", "annotations/annotations_train.csv", "annotations_train.csv")
# PhysioNet's test part: what five readers agreed on, without their names.
TEST_TABLES = ("annotations/annotations_test.csv", "annotations_test.csv")
CORNER_NAMES = ("x_min", "y_min", "x_max", "y_max")
FOLDERS = {"train": "train", "test": "test"}
NO_FINDING = "no-finding"
SAME = 0.4  # intersection over union from which two readers' boxes mean the same finding

# How many of an image's n readers must have seen a finding.
NEEDED: dict[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "union": np.ones_like,
    "majority": lambda readers: readers // 2 + 1,
    "consensus": lambda readers: readers,
}


def load(path: Path, readers: str = "union", headers: bool = False) -> Catalog:
    """The challenge's directory, or its table alone.

    Args:
        readers: "union" keeps every reader's box as drawn; "majority" and "consensus" merge
            boxes of one class that overlap (IoU ≥ .4) into their mean and keep those that more
            than half, or all, of the image's readers drew. Image labels follow the same rule.
        headers: read the DICOM headers too (sex, age, size).

    Raises:
        DataError: no table, or an unknown rule.
    """
    if readers not in NEEDED:
        raise DataError(f"readers={readers!r}; known: {', '.join(NEEDED)}")
    source = Source("vindr", path)
    rows = _rows(source)
    rows["label"] = rows["class_name"].map(short)  # of boxes as of images: lung-opacity
    for own, theirs in zip(CORNERS, CORNER_NAMES, strict=True):
        rows[own] = numbers(rows[theirs])
    twice = rows.duplicated(["image_id", "rad_id", "label", *CORNERS])
    source.note(int(twice.sum()), "rows repeat another and were left out")
    rows = rows[~twice].reset_index(drop=True)
    images = first_per_image(rows[["image_id", "split"]], ["split"], source)
    parts = images["split"].tolist()
    files = source.files(DICOM + IMAGES, *FOLDERS)
    table = join_files(images, files, source, splits=FOLDERS, wanted=lambda i: (within(parts[i]),))
    if len(table):  # pandas joins no empty column of text
        table = table.join(_labels(rows, readers), on="image_id")
    nothing = rows["label"] == NO_FINDING
    drawn = nothing & rows[list(CORNERS)].notna().any(axis=1)
    text, first = (
        f"boxes are of {NO_FINDING!r}: no box",
        next(iter(rows.loc[drawn, "image_id"]), ""),
    )
    source.skip("box-lost", int(drawn.sum()), text, first)
    boxes = rows[~nothing]
    if readers != "union":
        boxes = _merged(boxes, _readers(rows), NEEDED[readers])
    annotated = table["image_id"].isin(rows["image_id"])
    table = pd.concat([table, group_boxes(boxes, table["image_id"], source, annotated)], axis=1)
    if headers:
        table = add_headers(table, source)
    table["patient"] = patients(table, source)
    return source.catalog(table)


def _rows(source: Source) -> pd.DataFrame:
    """The rows of the training part and, where it is there, of the test part, with their split."""
    files = {"train": source.require(*TABLES), "test": source.find(*TEST_TABLES)}
    out = []
    for split, file in files.items():
        if file is None:
            continue
        rows = source.table(file, ["image_id", "class_name", *CORNER_NAMES]).assign(split=split)
        if "rad_id" not in rows:
            rows["rad_id"] = "one"
            source.notes.append(f"{file.name} has no rad_id column: taken as one reader")
        out.append(rows)
    rows = pd.concat(out, ignore_index=True)
    return rows.assign(image_id=rows["image_id"].str.strip())


def _readers(rows: pd.DataFrame) -> pd.Series[int]:
    """Number of readers of each image."""
    return rows.groupby("image_id")["rad_id"].nunique()


def _labels(rows: pd.DataFrame, rule: str) -> pd.DataFrame:
    """image_id x label_<class>: 1 where enough readers named the class."""
    votes = rows.drop_duplicates(["image_id", "rad_id", "label"])
    counted = pd.crosstab(votes["image_id"], votes["label"])
    needed = NEEDED[rule](_readers(rows).reindex(counted.index).to_numpy())
    out = counted.ge(needed, axis=0).astype("float32")
    if NO_FINDING in out and rule == "union":  # a finding of anyone outweighs "nothing" of another
        out[NO_FINDING] = (out.drop(columns=NO_FINDING).sum(axis=1) == 0).astype("float32")
    return out.add_prefix("label_").rename_axis(columns=None)


def short(finding: str) -> str:
    """The label's name in the catalog: lower case, hyphens."""
    return "-".join(finding.lower().replace("/", " ").split())


def _merged(
    boxes: pd.DataFrame, readers: pd.Series[int], needed: Callable[[NDArray[Any]], NDArray[Any]]
) -> pd.DataFrame:
    """Clusters that enough readers drew; damaged boxes stay, so that their images are unknown."""
    good = proper(boxes)
    damaged = boxes.loc[~good, ["image_id", "label", *CORNERS]]
    boxes = boxes[good]
    out: list[tuple[Any, ...]] = []
    for (image, label), group in boxes.groupby(["image_id", "label"], sort=False):
        count = int(readers.loc[str(image)])
        corners = group[list(CORNERS)].to_numpy(np.float64)
        who = group["rad_id"].to_numpy(object)
        enough = int(needed(np.array([count]))[0])
        for members in _clusters(corners):
            if len(set(who[members])) >= enough:
                out.append((image, label, *corners[members].mean(axis=0)))
    merged = pd.DataFrame(out, columns=["image_id", "label", *CORNERS])
    return pd.concat([merged, damaged], ignore_index=True) if len(damaged) else merged


def _clusters(corners: NDArray[np.float64]) -> list[list[int]]:
    """Each box joins the first earlier box that it overlaps enough."""
    overlap = iou_matrix(corners, corners) >= SAME
    clusters: list[list[int]] = []
    for i in range(len(corners)):
        for cluster in clusters:
            if overlap[i, cluster[0]]:
                cluster.append(i)
                break
        else:
            clusters.append([i])
    return clusters
