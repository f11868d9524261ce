"""NIH ChestX-ray14: 112,120 PNGs with 14 findings mined from reports, 984 boxes, official lists."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from hilum.core.errors import DataError
from hilum.data.adapters.common import PICTURES, Source, group_boxes, join_files, numbers
from hilum.data.adapters.headers import age_years
from hilum.data.catalog import Catalog, build

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
    rows = rows.rename(columns={"Image Index": "file"}).drop_duplicates("file")
    table = pd.DataFrame(
        {
            "image_id": rows["file"].str.rsplit(".", n=1).str[0],
            "patient": "nih-" + rows["Patient ID"].str.strip().str.lstrip("0").str.zfill(1),
            "view": rows["View Position"].str.strip(),
            "sex": rows["Patient Gender"].str.strip(),
            "age": _ages(rows["Patient Age"]),
        }
    ).reset_index(drop=True)
    table["study"] = table["patient"] + "/" + rows["Follow-up #"].str.strip().to_numpy()
    labels = _labels(rows["Finding Labels"].reset_index(drop=True))
    table = pd.concat([table, labels], axis=1)
    table["split"] = _splits(table["image_id"], source)
    files = source.files(PICTURES, *(f"images_{i:03d}" for i in range(1, 13)), "images")
    table = join_files(table, files, source, {})
    # The picture's name starts with the patient, so a file without a row still has one.
    named = "nih-" + table["image_id"].str.split("_").str[0].str.lstrip("0").str.zfill(1)
    table["patient"] = table["patient"].fillna(named)
    table["width"] = table["height"] = SIDE
    table = pd.concat([table, _boxes(table["image_id"], source)], axis=1)
    return build("nih", table, path, tuple(source.notes))


def short(finding: str) -> str:
    """The label's name in the catalog."""
    return finding.lower().replace("_", "-").replace(" ", "-")


def _ages(texts: pd.Series[str]) -> pd.Series[float]:
    # The first edition writes 058Y, the second 58; few different values, so each is read once.
    return texts.map({text: age_years(text) for text in texts.unique()})


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
        found = source.find(file)
        if found is None:
            source.notes.append(f"no {file}: the official split is unknown")
            continue
        lines = found.read_text(encoding="utf-8-sig").split()
        split[images.isin({line.rsplit(".", 1)[0] for line in lines})] = name
    return split


def _boxes(images: pd.Series[str], source: Source) -> pd.DataFrame:
    found = source.find("BBox_List_2017.csv")
    if found is None:
        source.notes.append("no BBox_List_2017.csv: no boxes")
        return pd.DataFrame(index=images.index)
    # The header "Bbox [x,y,w,h]" falls apart at its commas.
    rows = source.table(found, ["Image Index", "Finding Label", "Bbox [x", "y", "w", "h]"])
    x, y, w, h = (numbers(rows[c]) for c in ("Bbox [x", "y", "w", "h]"))
    corners = pd.DataFrame({"x1": x, "y1": y, "x2": x + w, "y2": y + h})
    corners["image_id"] = rows["Image Index"].str.rsplit(".", n=1).str[0]
    corners["label"] = rows["Finding Label"].str.strip().replace(BOX_NAMES).map(short)
    return group_boxes(corners, images, source, pd.Series(False, index=images.index))
