"""DICOM headers and picture sizes of a set's files -> columns of the catalog.

Reads no pixels. A file that cannot be read leaves its row blank and is counted.
"""

from __future__ import annotations

import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image, UnidentifiedImageError
from pydicom import dcmread
from pydicom.errors import InvalidDicomError

from hilum.data.adapters.common import DICOM, Source

TEXT = {
    "patient": "PatientID",
    "study": "StudyInstanceUID",
    "series": "SeriesInstanceUID",
    "view": "ViewPosition",
    "sex": "PatientSex",
    "modality": "Modality",
    "photometric": "PhotometricInterpretation",
}
SIZES = {"width": "Columns", "height": "Rows"}
DAMAGE = (InvalidDicomError, OSError, ValueError, EOFError, struct.error, KeyError, TypeError)
DAYS = {"D": 365.25, "W": 52.18, "M": 12.0, "Y": 1.0}  # units a year


def add_headers(table: pd.DataFrame, source: Source) -> pd.DataFrame:
    """`table` with what the files say filled in where a cell is blank or the column missing."""
    has_file = (table["path"] != "").to_numpy()
    read = [_header(source.root / path) if path else None for path in table["path"]]
    broken = has_file & np.array([r is None for r in read], bool)
    source.note(int(broken.sum()), "files have no readable header")
    if not has_file.any():
        return table
    headers = pd.DataFrame([r or {} for r in read], index=table.index)
    out = table.copy()
    for column in headers:
        if column not in out:
            out[column] = headers[column]
            continue
        blank = out[column].isna() | (out[column].astype(str).isin(["", "0", "0.0"]))
        out[column] = out[column].where(~blank, headers[column])
    return out


def age_years(text: str) -> float:
    """An age string (PS3.5 AS, "058Y") or a plain number, in years; NaN if it is neither."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([DWMY]?)\s*", text)
    return float(found[1]) / DAYS[found[2] or "Y"] if found else float("nan")


def _header(path: Path) -> dict[str, Any] | None:
    return _dicom(path) if path.suffix.lower() in DICOM else _picture(path)


def _dicom(path: Path) -> dict[str, Any] | None:
    tags = [*TEXT.values(), *SIZES.values(), "PatientAge"]
    try:
        d = dcmread(path, stop_before_pixels=True, specific_tags=tags)  # type: ignore[arg-type]
        out: dict[str, Any] = {c: str(d.get(k, "") or "").strip() for c, k in TEXT.items()}
        out.update({c: int(d.get(k, 0) or 0) for c, k in SIZES.items()})
        out["age"] = age_years(str(d.get("PatientAge", "") or ""))
    except DAMAGE:
        return None
    return out if out["width"] and out["height"] else None


def _picture(path: Path) -> dict[str, Any] | None:
    try:
        with Image.open(path) as image:
            return {"width": image.width, "height": image.height}
    except (UnidentifiedImageError, OSError, ValueError):
        return None
