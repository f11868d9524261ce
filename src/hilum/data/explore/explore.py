"""What is in a data set: counts from the catalog, and facts of a sample of its files.

Draws nothing (`figures` does) and looks for no fault (`check` does). Every
column of a catalog may be unknown; then its part is empty.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hilum.core.errors import DataError, InputRefused
from hilum.core.progress import counted
from hilum.core.radiograph import Radiograph
from hilum.data.catalog import Catalog
from hilum.data.pixels import open_radiograph

Float32 = NDArray[np.float32]

SIDE = 256  # px of the average radiograph
FACTS = (
    *("bits", "photometric", "syntax", "spacing_mm", "width", "height"),
    *("view", "sex", "age", "body_part"),
)
BOXES = 4  # boxes of an exam that are counted one by one
PATIENT = 10  # likewise images of a patient


@dataclass(frozen=True, slots=True, eq=False)
class Files:
    """What a sample of the files says: `facts` has columns `FACTS`, one row a file read."""

    facts: pd.DataFrame
    sampled: int = 0  # how many were to be read
    unreadable: tuple[str, ...] = ()  # paths of those that could not be read
    average: Float32 | None = None  # (SIDE, SIDE) mean of the images, squeezed to a square

    def body_parts(self) -> pd.Series[str]:
        """What the files that name a part of the body name; upper case, as the standard has it."""
        return self.facts["body_part"].dropna().astype(str).str.strip().str.upper()


NO_FILES = Files(pd.DataFrame(columns=list(FACTS)))


@dataclass(frozen=True, slots=True, eq=False)
class Summary:
    """A catalog in numbers."""

    catalog: Catalog
    files: Files = NO_FILES
    # One row a box: image, its view, label; x, y, w, h as shares; aspect, height : width in pixels.
    boxes: pd.DataFrame = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "boxes", _boxes(self.catalog))

    def counts(self) -> dict[str, Any]:
        """The numbers of the page, for machines."""
        per_image = self.boxes_per_image()
        return {
            "images": len(self.catalog),
            "patients": int(self.catalog.table["patient"].nunique()),
            "files_read": len(self.files.facts),
            "files_sampled": self.files.sampled,
            "unreadable": list(self.files.unreadable),
            "withheld": int(self.catalog.withheld.sum()),
            "classes": self.classes().to_dict("index"),
            "images_by_boxes": {str(k): int(v) for k, v in per_image.items()},
        }

    @property
    def label_columns(self) -> list[str]:
        return [c for c in map(str, self.catalog.table) if c.startswith(("label_", "study_"))]

    def classes(self) -> pd.DataFrame:
        """The exams × target × class table: a row a label, counts of images unless named."""
        table = self.catalog.table
        counts = table["boxes"].map(lambda b: 0 if b is None else len(b) // 4).to_numpy()
        annotated = table["boxes"].notna().to_numpy()
        rows = {}
        for column in self.label_columns:
            here = (table[column] == 1).to_numpy()
            rows[column.removeprefix("label_").replace("study_", "study: ")] = {
                "present": int(here.sum()),
                "absent": int((table[column] == 0).sum()),
                "unknown": int(table[column].isna().sum()),
                "patients with it": int(table.loc[here, "patient"].nunique()),
                "present, with boxes": int((here & (counts > 0)).sum()),
                "present, boxes none": int((here & annotated & (counts == 0)).sum()),
                "boxes in them": int(counts[here].sum()),
            }
        return pd.DataFrame.from_dict(rows, orient="index")

    def exams(self) -> pd.DataFrame:
        """Images by class (a row a label) and number of boxes ("0", "1" … "4+")."""
        table = self.catalog.table[self.catalog.table["boxes"].notna()]
        counts = table["boxes"].map(len) // 4
        columns = [*map(str, range(BOXES)), f"{BOXES}+"]
        rows = {}
        for column in self.label_columns:
            here = counts[table[column] == 1].clip(upper=BOXES)
            if len(here):
                name = column.removeprefix("label_").replace("study_", "study: ")
                rows[name] = np.bincount(here.astype(int), minlength=BOXES + 1)
        out = pd.DataFrame.from_dict(rows, orient="index", columns=columns)
        return out.loc[:, (out > 0).any()]

    def images_per_patient(self) -> pd.Series[int]:
        """Number of patients by number of their images, the last row all with so many or more."""
        counts = self.catalog.table["patient"].value_counts().clip(upper=PATIENT)
        out = counts.value_counts().sort_index()
        names = out.index.astype(str) + np.where(out.index == PATIENT, "+", "")
        return out.set_axis(names)

    def boxes_per_image(self) -> pd.Series[int]:
        """Number of images by number of boxes, where somebody annotated boxes."""
        known = self.catalog.table["boxes"].dropna()
        return known.map(lambda b: len(b) // 4).value_counts().sort_index()

    def column(self, name: str) -> pd.Series[str]:
        """A text column without its blanks; from the sampled files where the catalog has none."""
        values = self.catalog.table[name]
        if (values != "").any() or name not in self.files.facts:
            return values[values != ""]
        return self.files.facts[name].dropna().astype(str)

    def ages(self) -> pd.DataFrame:
        """age and sex ("" unknown) of the images with an age."""
        own = self.catalog.table[["age", "sex"]]
        if not own["age"].notna().any() and len(self.files.facts):
            own = self.files.facts[["age", "sex"]]
        known = own[own["age"].notna()]
        return pd.DataFrame({"age": known["age"].astype(float), "sex": known["sex"].fillna("")})

    def sizes(self) -> pd.DataFrame:
        """width and height in pixels of the images whose size is known."""
        own = self.catalog.table[["width", "height"]]
        known = own[(own > 0).all(axis=1)]
        return known if len(known) else self.files.facts[["width", "height"]].dropna()


def sampled(catalog: Catalog, files: int, seed: int = 0) -> Catalog:
    """At most `files` random rows that have a file, in the catalog's order.

    Raises:
        DataError: the folder of the catalog is not there.
    """
    catalog.need_files()
    rows = np.flatnonzero(catalog.table["path"] != "")
    if len(rows) > files:
        rows = np.sort(np.random.default_rng(seed).choice(rows, files, replace=False))
    keep = np.zeros(len(catalog), bool)
    keep[rows] = True
    return catalog.where(keep)


def read_files(sample: Catalog) -> Files:
    """Facts and the average of these images; files that cannot be read are listed."""
    rows, lost, total = [], list[str](), np.zeros((SIDE, SIDE), np.float64)
    for radiograph in _readable(sample, lost):
        rows.append(_facts(radiograph))
        total += cv2.resize(radiograph.pixels, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    average = (total / len(rows)).astype(np.float32) if rows else None
    facts = pd.DataFrame(rows, columns=list(FACTS))
    return Files(facts=facts, sampled=len(sample), unreadable=tuple(lost), average=average)


def _readable(sample: Catalog, lost: list[str]) -> Iterator[Radiograph]:
    for path in counted(sample.table["path"], "reading", len(sample)):
        try:
            yield open_radiograph(sample.root, path)
        except (InputRefused, DataError):
            lost.append(path)


def _facts(radiograph: Radiograph) -> tuple[object, ...]:
    decoding = radiograph.decoding
    return (
        decoding.bits_stored,
        decoding.photometric,
        decoding.transfer_syntax or decoding.format,
        radiograph.spacing_mm[0] if radiograph.spacing_mm else np.nan,
        radiograph.width,
        radiograph.height,
        radiograph.view,
        radiograph.sex,
        np.nan if radiograph.age_years is None else radiograph.age_years,
        radiograph.body_part or None,
    )


def _boxes(catalog: Catalog) -> pd.DataFrame:
    """Centre and size of every box as shares of its image; images of unknown size left out."""
    table = catalog.table
    rows: list[dict[str, str | float]] = []
    names = ("image_id", "view", "boxes", "box_labels", "width", "height")
    for image, view, flat, labels, width, height in zip(*(table[c] for c in names), strict=True):
        if flat is None or not len(flat) or width < 1 or height < 1:
            continue
        corners = np.reshape(np.asarray(flat, float), (-1, 4)) / [width, height, width, height]
        for (x1, y1, x2, y2), label in zip(corners.tolist(), labels, strict=True):
            w, h = x2 - x1, y2 - y1
            place = {"x": (x1 + x2) / 2, "y": (y1 + y2) / 2, "w": w, "h": h}
            aspect = h * height / max(w * width, 1e-9)
            rows.append({"image": image, "view": view, "label": label, **place, "aspect": aspect})
    return pd.DataFrame(rows, columns=["image", "view", "label", "x", "y", "w", "h", "aspect"])
