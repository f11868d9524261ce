"""SIIM-FISABIO-RSNA COVID-19 detection: image-level boxes, study-level appearance."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from hilum.core.documents import parse_foreign_json
from hilum.core.errors import DataError
from hilum.data.adapters.boxes import group_boxes
from hilum.data.adapters.headers import add_headers
from hilum.data.adapters.match import join_files, within
from hilum.data.adapters.source import DICOM, Source
from hilum.data.adapters.values import first_per_image, flags, numbers, patients
from hilum.data.catalog import Catalog

APPEARANCE = {
    "negative": "Negative for Pneumonia",
    "typical": "Typical Appearance",
    "indeterminate": "Indeterminate Appearance",
    "atypical": "Atypical Appearance",
}
FOLDERS = {"train": "train", "test": "test"}
SIZES = "siim_covid_image_dims.csv"  # image_id, dim0 (height), dim1 (width): a public extract


def load(path: Path, headers: bool = True) -> Catalog:
    """The challenge's directory, or its tables alone.

    Labels opacity and study_negative, study_typical, study_indeterminate, study_atypical.
    Patients stand in the DICOM headers only; without files each study is one patient.

    Raises:
        DataError: no label table, or contradicting or damaged rows.
    """
    source = Source("siim-covid", path)
    rows = source.table(
        source.require("train_image_level.csv"), ["id", "boxes", "label", "StudyInstanceUID"]
    )
    rows["image_id"] = rows["id"].str.strip().str.removesuffix("_image")
    rows["study"] = rows["StudyInstanceUID"].str.strip()
    rows = first_per_image(
        rows[["image_id", "boxes", "label", "study"]], ["boxes", "label", "study"], source
    )
    images = rows[["image_id", "study"]].assign(split="train")
    wanted = [(within(study), within("train")) for study in rows["study"]]
    files = source.files(DICOM, *FOLDERS)
    table = join_files(images, files, source, splits=FOLDERS, wanted=lambda i: wanted[i])
    # A file without a row still tells its study and series by its place.
    places = table["path"].astype(str).str.split("/", expand=True)
    places = places.reindex(columns=range(4)).astype(object)
    place = places[1].where(places[2].notna())  # a file right below train/ is in no study
    table["study"] = table["study"].fillna(place).fillna("")
    table["series"] = places[2].where(places[3].notna())
    boxes = _boxes(rows)
    annotated = table["image_id"].isin(rows["image_id"])
    table = pd.concat([table, group_boxes(boxes, table["image_id"], source, annotated)], axis=1)
    having = table["image_id"].isin(boxes["image_id"])
    table["label_opacity"] = having.astype("float32").where(annotated)
    table = _studies(table, source)
    table = _sizes(table, source)
    if headers:
        table = add_headers(table, source)
    table["patient"] = patients(table, source)
    return source.catalog(table)


def _boxes(rows: pd.DataFrame) -> pd.DataFrame:
    """The Python lists of dictionaries in column `boxes`, one row a box.

    A blank list whose label speaks of an opacity is a damaged box.
    """
    filled = rows[rows["boxes"].str.strip() != ""]
    flat: list[dict[str, Any]] = []
    for image, text in zip(filled["image_id"], filled["boxes"], strict=True):
        try:
            # The lists hold numbers only, so they are JSON but for the quotes (and NaN is too).
            read = parse_foreign_json(text.replace("'", '"').replace("nan", "NaN"))
            flat += [{"image_id": image, **{k: float(b[k]) for k in _KEYS}} for b in read]
        except (ValueError, TypeError, KeyError, OverflowError):
            raise DataError(
                f"train_image_level.csv, image {image!r}: boxes {text[:60]!r}; needed: a list of "
                "{'x', 'y', 'width', 'height'}"
            ) from None
    lost = rows[(rows["boxes"].str.strip() == "") & rows["label"].str.contains("opacity")]
    flat += [{"image_id": i, **dict.fromkeys(_KEYS, float("nan"))} for i in lost["image_id"]]
    b = pd.DataFrame(flat, columns=["image_id", *_KEYS])
    b["x1"], b["y1"] = b["x"], b["y"]
    b["x2"], b["y2"] = b["x"] + b["width"], b["y"] + b["height"]
    return b.assign(label="opacity")


_KEYS = ("x", "y", "width", "height")


def _studies(table: pd.DataFrame, source: Source) -> pd.DataFrame:
    file = source.find("train_study_level.csv")
    if file is None:
        source.notes.append("no train_study_level.csv: the appearance of studies is unknown")
        return table
    rows = source.table(file, ["id", *APPEARANCE.values()])
    rows.index = pd.Index(rows["id"].str.strip().str.removesuffix("_study"))
    rows["image_id"] = rows.index
    rows = first_per_image(rows, list(APPEARANCE.values()), source).set_index("image_id")
    for short, text in APPEARANCE.items():
        values = flags(rows[text], text, rows.index.to_series())
        table[f"study_{short}"] = table["study"].map(values)
    missing = (table["study_negative"].isna() & (table["split"] == "train")).sum()
    source.skip("no-row", int(missing), "images have no row for their study")
    return table


def _sizes(table: pd.DataFrame, source: Source) -> pd.DataFrame:
    file = source.find(SIZES)
    if file is None:
        return table
    rows = source.table(file, ["image_id", "dim0", "dim1"]).drop_duplicates("image_id")
    sizes = rows.set_index("image_id")
    table["width"] = table["image_id"].map(numbers(sizes["dim1"]))
    table["height"] = table["image_id"].map(numbers(sizes["dim0"]))
    return table
