"""DICOM headers and sizes of a set's files -> columns of the catalog.

Reads no pixels. A file that cannot be read leaves its row blank and is counted. The size of a
image that its EXIF data turns is the one it is shown in, as everywhere in hilum.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import pandas as pd
from PIL import Image, UnidentifiedImageError
from pydicom import dcmread
from pydicom.errors import InvalidDicomError

from hilum.core.progress import counted
from hilum.data.adapters.source import IMAGES, Source
from hilum.data.adapters.values import age_years
from hilum.data.references import archive_and_member
from hilum.dicom.header import quiet
from hilum.dicom.raster import shown_size

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
    *(
        Image.DecompressionBombError,
        struct.error,
        KeyError,
        TypeError,
        AttributeError,
        NotImplementedError,
        RuntimeError,
    ),
)


def read_headers(
    paths: pd.Series[str], source: Source, keywords: Sequence[str] = ()
) -> pd.DataFrame:
    """What each file says: columns of `TEXT` and `SIZES`, age and turned (EXIF), NaN or None where
    it does not; one row a path, "" has none.

    Args:
        keywords: further elements, a column each, "" where a file does not say.
    """
    with _Opener(source.root) as opener:
        each = counted(paths, "reading headers", len(paths))
        read = [_header(opener, path, keywords) if path else {} for path in each]
    broken = [p for p, r in zip(paths, read, strict=True) if r is None]
    first = next(iter(broken), "")
    source.skip("header-unread", len(broken), "files have no readable header", first)
    columns = [*TEXT, *SIZES, "age", "turned", *keywords]
    out = pd.DataFrame([r or {} for r in read], index=paths.index, columns=columns)
    out = out.fillna(dict.fromkeys(keywords, ""))
    return out.astype(dict.fromkeys([*TEXT, *keywords], object))


def add_headers(table: pd.DataFrame, source: Source) -> pd.DataFrame:
    """`table` with what the files say filled in where a cell is blank or the column missing."""
    return fill(table, read_headers(table["path"], source))


def fill(table: pd.DataFrame, headers: pd.DataFrame) -> pd.DataFrame:
    """`table` with blanks filled from `headers`. A patient "0" and an age of 0 are no blanks."""
    out = table.copy()
    for column in (*TEXT, *SIZES, "age"):
        if column not in out:
            out[column] = headers[column]
            continue
        blank = out[column].isna()
        if column in TEXT:
            blank |= out[column].astype(str).str.strip() == ""
        elif column in SIZES:
            blank |= ~(pd.to_numeric(out[column], errors="coerce") > 0)
        out[column] = out[column].astype(object).where(~blank, headers[column])
    for column in (*SIZES, "age"):
        out[column] = pd.to_numeric(out[column], errors="coerce").astype("float64")
    return out


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
        name, member = archive_and_member(reference)
        if not name:
            return self.root / member
        if name not in self.archives:
            self.archives[name] = ZipFile(self.root / name)
        return BytesIO(self.archives[name].read(member))


def _header(opener: _Opener, reference: str, keywords: Sequence[str] = ()) -> dict[str, Any] | None:
    image = reference.lower().endswith(IMAGES)
    try:
        file = opener.open(reference)
        with quiet():  # pydicom's warnings quote values, which may be names
            return _image(file) if image else _dicom(file, keywords)
    except DAMAGE:
        return None


def _dicom(file: Path | BytesIO, keywords: Sequence[str] = ()) -> dict[str, Any] | None:
    tags = [*TEXT.values(), *SIZES.values(), "PatientAge", *keywords]
    d = dcmread(file, stop_before_pixels=True, specific_tags=tags)
    out: dict[str, Any] = {c: str(d.get(k, "") or "").strip() for c, k in TEXT.items()}
    out.update({c: int(d.get(k, 0) or 0) for c, k in SIZES.items()})
    out["age"] = age_years(str(d.get("PatientAge", "") or ""))
    out |= {k: str(d.get(k, "") or "").strip() for k in keywords}
    return out if out["width"] and out["height"] else None


def _image(file: Path | BytesIO) -> dict[str, Any]:
    with file.open("rb") if isinstance(file, Path) else file as stream:
        width, height, turned = shown_size(stream)
    return {"width": width, "height": height, "turned": turned}
