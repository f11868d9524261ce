"""A catalog's references -> radiographs and masks. Decoding itself is hilum.dicom's."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from zipfile import ZipFile

import cv2
import numpy as np
from numpy.typing import NDArray

from hilum.core.errors import DataError
from hilum.core.radiograph import Radiograph
from hilum.data.formats import runs as rle
from hilum.dicom.read import read


@lru_cache(maxsize=16)
def _archive(path: Path) -> ZipFile:
    return ZipFile(path)


def reference_bytes(root: Path, reference: str) -> bytes:
    """The bytes of "file" or "archive.zip!member" below `root`.

    Raises:
        DataError: no such file or member.
    """
    name, _, member = reference.partition("!")
    try:
        if member:
            return _archive(root / name).read(member)
        return (root / name).read_bytes()
    except (OSError, KeyError) as error:
        raise DataError(f"{reference!r} is not below {root}: {error}") from error


def open_radiograph(root: Path, reference: str) -> Radiograph:
    """The radiograph of a catalog row, through the one reading path."""
    return read((reference, reference_bytes(root, reference)))


def open_mask(root: Path, reference: str, height: int, width: int) -> NDArray[np.bool_]:
    """(height, width) mask; "" is an annotated empty one, "rle:..." holds it as text.

    A mask stored smaller or larger than its image (some sets do) is resized, nearest neighbour.
    """
    if not reference:
        return np.zeros((height, width), bool)
    coded = reference.startswith("rle:")
    mask = _run_lengths(reference) if coded else _picture(root, reference)
    if mask.shape != (height, width):
        mask = cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST)
    found: NDArray[np.bool_] = mask > 127
    return found


def _picture(root: Path, reference: str) -> NDArray[np.uint8]:
    content = np.frombuffer(reference_bytes(root, reference), np.uint8)
    mask: NDArray[np.uint8] | None = cv2.imdecode(content, cv2.IMREAD_GRAYSCALE)
    if mask is None:
        raise DataError(f"mask {reference!r} is not a readable picture")
    return mask


def _run_lengths(reference: str) -> NDArray[np.uint8]:
    """The 0/255 mask of "rle:HEIGHTxWIDTH:rows", the rows joined by ";"."""
    _, size, rows = reference.split(":", 2)
    height, width = (int(side) for side in size.split("x"))
    return rle.union(rows.split(";"), height, width).astype(np.uint8) * 255
