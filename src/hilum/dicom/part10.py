"""Bytes -> header and pixel element of a DICOM file (PS3.10), bounded by limits.

Knows preambles, file meta information and transfer syntaxes. Decodes no pixels.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from pydicom.filereader import read_dataset

from hilum.core.errors import LimitRefused, UnreadableRefused, UnsupportedRefused
from hilum.dicom.header import Header
from hilum.dicom.limits import Limits
from hilum.dicom.scan import FIRST_PIXEL_TAG, LONG_VRS, UNDEFINED, check_structure

IMPLICIT_LITTLE = "1.2.840.10008.1.2"
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
DEFLATED = "1.2.840.10008.1.2.1.99"
EXPLICIT_BIG = "1.2.840.10008.1.2.2"
NATIVE = frozenset((IMPLICIT_LITTLE, EXPLICIT_LITTLE, DEFLATED, EXPLICIT_BIG))
PRIVATE_IMPLICIT_BIG = "1.2.840.113619.5.2"

_FIRST_VRS = frozenset((b"UL", b"CS", b"UI", b"SH", b"DA", b"OB", b"LO", b"TM", b"DT"))


@dataclass(frozen=True, slots=True)
class PixelElement:
    """PixelData as it lies in the file."""

    vr: str
    value: memoryview  # native: exactly the value; encapsulated: from its first item on
    encapsulated: bool


@dataclass(frozen=True, slots=True)
class Parsed:
    """A data set up to its pixels. What follows the pixels (padding, signatures) is not read."""

    header: Header
    syntax: str  # transfer syntax UID
    little: bool
    pixels: PixelElement | None


def looks_like_dicom(data: bytes) -> bool:
    """With a preamble, or plausibly a data set without one."""
    if data[128:132] == b"DICM" or data[:4] == b"DICM":
        return True
    return _bare_start(data) is not None


def _bare_start(data: bytes) -> tuple[bool, bool] | None:
    """(implicit, little) of a data set that begins at byte 0, or None."""
    if len(data) < 16:
        return None
    for little in (True, False):
        group, element, length = struct.unpack("<HHI" if little else ">HHI", data[:8])
        if group not in (2, 8):
            continue
        if data[4:6] in _FIRST_VRS:
            return False, little
        if little and group == 8 and element <= 0x18 and 0 < length <= 64 and length % 2 == 0:
            return True, little
    return None


def _file_meta(data: bytes) -> tuple[int, str]:
    """Where the data set starts, and its transfer syntax ('' when not named)."""
    at = 132 if data[128:132] == b"DICM" else 4 if data[:4] == b"DICM" else 0
    syntax = ""
    while at + 8 <= len(data):
        group, element, vr, length = struct.unpack_from("<HH2sH", data, at)
        if group != 2:
            break
        at += 8
        if vr in LONG_VRS and at + 4 <= len(data):
            length = struct.unpack_from("<I", data, at)[0]
            at += 4
        if at + length > len(data):
            raise UnreadableRefused("", "it is truncated in its file header.", "Copy it again.")
        if element == 0x0010:
            syntax = data[at : at + length].decode("ascii", "replace").strip(" \0")
        at += length
    return at, syntax


def _encoding(data: bytes, start: int, syntax: str) -> tuple[bool, bool, str]:
    """(implicit, little, syntax); guessed from the first element where no syntax is named."""
    if syntax == PRIVATE_IMPLICIT_BIG:
        raise UnsupportedRefused(
            "", "its transfer syntax is a private one of GE.", "Export it as explicit VR."
        )
    if syntax:
        return syntax == IMPLICIT_LITTLE, syntax != EXPLICIT_BIG, syntax
    implicit, little = _bare_start(data[start : start + 132]) or (True, True)
    guess = IMPLICIT_LITTLE if implicit else EXPLICIT_LITTLE if little else EXPLICIT_BIG
    return implicit, little, guess


def _inflate(data: bytes, limits: Limits) -> bytes:
    """Inflate a data set, never beyond the limit."""
    engine = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        out = engine.decompress(data, limits.inflated_bytes + 1)
    except zlib.error as error:
        raise UnreadableRefused(
            "", "its deflated data set is damaged.", "Copy it again."
        ) from error
    if len(out) > limits.inflated_bytes:
        raise LimitRefused(
            "",
            f"its data set inflates beyond {limits.inflated_bytes >> 20} MiB.",
            "Export it uncompressed, or raise the limit.",
        )
    if not engine.eof:
        raise UnreadableRefused("", "its deflated data set is truncated.", "Copy it again.")
    return out


def _stop_at_pixels(limits: Limits) -> Any:
    seen = 0

    def stop(tag: int, _vr: str | None, _length: int) -> bool:
        nonlocal seen
        seen += 1
        if seen > limits.elements:
            raise LimitRefused("", f"its header has more than {limits.elements} elements.")
        return tag >= FIRST_PIXEL_TAG

    return stop


def parse(data: bytes, limits: Limits) -> Parsed:
    """Parse a DICOM file up to its pixels.

    Raises:
        UnreadableRefused: truncated or damaged.
        LimitRefused: inflates, nests or lists more than allowed.
        UnsupportedRefused: a transfer syntax we do not parse.
    """
    start, named = _file_meta(data)
    implicit, little, syntax = _encoding(data, start, named)
    if syntax == DEFLATED:
        data, start = _inflate(data[start:], limits), 0
    if start + 8 > len(data):
        raise UnreadableRefused("", "it is truncated: no data set follows its file header.")
    check_structure(data, start, implicit, little, limits)
    stream = BytesIO(data)
    stream.seek(start)
    dataset = read_dataset(stream, implicit, little, stop_when=_stop_at_pixels(limits))
    pixels = _pixel_element(data, stream.tell(), little)
    return Parsed(Header(dataset, little), syntax, little, pixels)


def _pixel_element(data: bytes, at: int, little: bool) -> PixelElement | None:
    order = "<" if little else ">"
    if at + 8 > len(data):
        return None
    group, element, length = struct.unpack_from(order + "HHI", data, at)
    if (group, element) != (0x7FE0, 0x0010):
        return None  # float pixels, or something else behind the header
    vr = data[at + 4 : at + 6]
    at += 8
    if vr in LONG_VRS:
        if at + 4 > len(data):
            raise UnreadableRefused("", "it is truncated at its pixels.", "Copy it again.")
        length = struct.unpack_from(order + "I", data, at)[0]
        at += 4
    view = memoryview(data)
    if length == UNDEFINED:
        return PixelElement(vr.decode("ascii", "replace"), view[at:], True)
    if at + length > len(data):
        raise UnreadableRefused(
            "",
            f"it is truncated: {length} bytes of pixels are declared, {len(data) - at} are there.",
            "Copy it again.",
        )
    name = vr.decode() if vr in LONG_VRS else "OW"
    return PixelElement(name, view[at : at + length], False)
