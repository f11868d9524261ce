"""Masks at source size, one file each: PNG of 1 bit, which every reader opens."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from hilum.core.options import Options

if TYPE_CHECKING:
    from hilum.dicom.analysed import Analysed


class MaskWriter(Options):
    """`core.results.masks_of` reads them back."""

    suffix: ClassVar[str] = ".png"

    def __call__(self, image: Analysed) -> Mapping[str, bytes]:
        masks = image.result.findings.masks if image.result.findings else {}
        return {name: png(mask) for name, mask in masks.items()}


def png(mask: NDArray[np.bool_]) -> bytes:
    """A PNG of 1 bit, white where an (H, W) mask is set. By hand: a third of OpenCV's time."""
    height, width = mask.shape
    bits = np.packbits(mask, axis=1)
    rows = np.zeros((height, bits.shape[1] + 1), np.uint8)  # each begins with its filter: none
    rows[:, 1:] = bits
    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(rows.tobytes(), 1)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, content) for kind, content in parts)


def _chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)
