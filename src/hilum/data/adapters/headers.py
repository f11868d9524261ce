"""DICOM headers and picture sizes of a set's files -> columns of the catalog.

Reads no pixels. A file that cannot be read leaves its row blank and is counted.
"""

from __future__ import annotations

import re
import struct
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import numpy as np
import pandas as pd
from PIL import Image, UnidentifiedImageError
from pydicom import dcmread
from pydicom.errors import InvalidDicomError

from hilum.data.adapters.common import PICTURES, Source

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
DAMAGE = (
    *(InvalidDicomError, UnidentifiedImageError, BadZipFile, OSError, ValueError, EOFError),
    *(struct.error, KeyError, TypeError, AttributeError, NotImplementedError),
)
DAYS = {"D": 365.25, "W": 52.18, "M": 12.0, "Y": 1.0}  # units a year


def add_headers(table: pd.DataFrame, source: Source) -> pd.DataFrame:
    """`table` with what the files say filled in where a cell is blank or the column missing."""
    has_file = (table["path"] != "").to_numpy()
    with _Opener(source.root) as opener:
        read = [_header(opener, path) if path else None for path in table["path"]]
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


class _Opener:
    """References below a root: files, or members of archives, which stay open until the end."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.archives: dict[str, ZipFile] = {}

    def __enter__(self) -> _Opener:
        return self

    def __exit__(self, *_: object) -> None:
        for archive in self.archives.values():
            archive.close()

    def open(self, reference: str) -> Path | BytesIO:
        name, _, member = reference.partition("!")
        if not member:
            return self.root / name
        if name not in self.archives:
            self.archives[name] = ZipFile(self.root / name)
        return BytesIO(self.archives[name].read(member))


def _header(opener: _Opener, reference: str) -> dict[str, Any] | None:
    picture = reference.lower().endswith(PICTURES)
    try:
        file = opener.open(reference)
        return _picture(file) if picture else _dicom(file)
    except DAMAGE:
        return None


def _dicom(file: Path | BytesIO) -> dict[str, Any] | None:
    tags = [*TEXT.values(), *SIZES.values(), "PatientAge"]
    d = dcmread(file, stop_before_pixels=True, specific_tags=tags)
    out: dict[str, Any] = {c: str(d.get(k, "") or "").strip() for c, k in TEXT.items()}
    out.update({c: int(d.get(k, 0) or 0) for c, k in SIZES.items()})
    out["age"] = age_years(str(d.get("PatientAge", "") or ""))
    return out if out["width"] and out["height"] else None


def _picture(file: Path | BytesIO) -> dict[str, Any]:
    with Image.open(file) as image:
        return {"width": image.width, "height": image.height}
