"""NIH ChestX-ray14: 112,120 PNGs with 14 findings mined from reports, 984 boxes, official lists."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from hilum.core.errors import DataError
from hilum.data.adapters.boxes import group_boxes
from hilum.data.adapters.match import join_files, stem
from hilum.data.adapters.source import IMAGES, Source
from hilum.data.adapters.values import ages, first_per_image, numbers, sexes
from hilum.data.catalog import Catalog

FINDINGS = (
    "Atelectasis",
    "Cardiomegaly",
    "Consolidation",
    "Edema",
    "Effusion",
    "Emphysema",
    "Fibrosis",
    "Hernia",
    "Infiltration",
    "Mass",
    "Nodule",
    "Pleural_Thickening",
    "Pneumonia",
    "Pneumothorax",
    "No Finding",
)
BOX_NAMES = {"Infiltrate": "Infiltration"}  # the box list spells one finding otherwise
TABLES = ("Data_Entry_2017_v2020.csv", "Data_Entry_2017.csv")
COLUMNS = ("Image Index", "Finding Labels", "Follow-up #", "Patient ID", "Patient Age")
SIDE = 1024  # every published PNG; the table's sizes are those of the original images


def load(path: Path) -> Catalog:
    """The directory with images_001 … and the tables, or the tables alone.

    Labels are the 15 names in lower case with hyphens (pleural-thickening, no-finding). Boxes
    are known only for images of the box list; for all others nobody drew any.

    Raises:
        DataError: no data entry table, or a finding that NIH does not have.
    """
    source = Source("nih", path)
    rows = source.table(source.require(*TABLES), [*COLUMNS, "Patient Gender", "View Position"])
    rows["image_id"] = rows["Image Index"].str.strip().map(stem)
    rows = first_per_image(
        rows, ["Image Index", "Finding Labels", "Patient ID", "Follow-up #"], source
    )
    table = pd.DataFrame(
        {
            "image_id": rows["image_id"],
            "file": rows["Image Index"].str.strip(),
            "patient": _person(rows["Patient ID"].str.strip()),
            "view": rows["View Position"].str.strip(),
            "sex": sexes(rows["Patient Gender"], source),
            "age": ages(rows["Patient Age"], source),
        }
    )
    named = _named(table["image_id"])
    differs = named != table["patient"]
    first = next(iter(table.loc[differs, "image_id"]), "")
    text = "rows have another Patient ID than their file's name begins with: the name's is used"
    source.skip("patient-differs", int(differs.sum()), text, first)
    table["patient"] = named.where(differs, table["patient"])
    table["study"] = table["patient"] + "/" + rows["Follow-up #"].str.strip()
    labels = _labels(rows["Finding Labels"])
    table = pd.concat([table, labels], axis=1)
    table["split"] = _splits(table["image_id"], source)
    files = source.files(IMAGES, *(f"images_{i:03d}" for i in range(1, 13)), "images")
    table = join_files(table, files, source, {})
    # A file's name starts with the patient, so that one without a row still has one.
    table["patient"] = table["patient"].fillna(_named(table["image_id"]))
    table["width"] = table["height"] = SIDE
    table = pd.concat([table, _boxes(table["image_id"], source)], axis=1)
    return source.catalog(table)


def short(finding: str) -> str:
    """The label's name in the catalog."""
    return finding.lower().replace("_", "-").replace(" ", "-")


def _person(numbers: pd.Series[str]) -> pd.Series[str]:
    """Tables write 1, names 00000001."""
    return "nih-" + numbers.str.lstrip("0").str.zfill(1)


def _named(images: pd.Series[str]) -> pd.Series[str]:
    """The patient that a file's name begins with."""
    return _person(images.map(lambda name: name.rpartition("/")[2].partition("_")[0]))


def _labels(texts: pd.Series[str]) -> pd.DataFrame:
    """One column a finding; each different combination is split once."""
    codes, combinations = pd.factorize(texts)
    parts = [{part.strip() for part in str(text).split("|")} for text in combinations]
    unknown = set().union(*parts) - set(FINDINGS)
    if unknown:
        raise DataError(
            f"set 'nih': unknown findings {', '.join(sorted(unknown))}; "
            f"known: {', '.join(FINDINGS)}"
        )
    present = np.array([[f in part for f in FINDINGS] for part in parts], np.float32)
    present = present.reshape(-1, len(FINDINGS))
    return pd.DataFrame(present[codes], columns=[f"label_{short(f)}" for f in FINDINGS])


def _splits(images: pd.Series[str], source: Source) -> pd.Series[str]:
    split = pd.Series("", index=images.index)
    for file, name in (("train_val_list.txt", "train"), ("test_list.txt", "test")):
        place = source.find(file)
        if place is None:
            source.notes.append(f"no {file}: the official split is unknown")
            continue
        lines = place.read_text(encoding="utf-8-sig").split()
        listed = images.isin({stem(line) for line in lines})
        both = listed & (split != "")
        if both.any():
            raise DataError(f"set 'nih': {images[both].iat[0]!r} is in both official lists")
        split[listed] = name
    return split


def _boxes(images: pd.Series[str], source: Source) -> pd.DataFrame:
    file = source.find("BBox_List_2017.csv")
    if file is None:
        source.notes.append("no BBox_List_2017.csv: no boxes")
        return pd.DataFrame(index=images.index)
    # The header "Bbox [x,y,w,h]" falls apart at its commas.
    rows = source.table(file, ["Image Index", "Finding Label", "Bbox [x", "y", "w", "h]"])
    x, y, w, h = (numbers(rows[c]) for c in ("Bbox [x", "y", "w", "h]"))
    corners = pd.DataFrame({"x1": x, "y1": y, "x2": x + w, "y2": y + h})
    corners["image_id"] = rows["Image Index"].str.strip().map(stem)
    corners["label"] = rows["Finding Label"].str.strip().replace(BOX_NAMES).map(short)
    lost = corners[~corners["image_id"].isin(images)]
    text = "boxes are of images that are not here"
    source.skip("box-lost", len(lost), text, next(iter(lost["image_id"]), ""))
    return group_boxes(corners, images, source, pd.Series(False, index=images.index))
