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
from pydicom.uid import UID

from hilum.core.errors import LimitRefused, UnreadableRefused, UnsupportedRefused
from hilum.dicom.header import Header
from hilum.dicom.limits import Limits
from hilum.dicom.scan import FIRST_PIXEL_TAG, LONG_VRS, UNDEFINED, VRS, check_structure

IMPLICIT_LITTLE = "1.2.840.10008.1.2"
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
DEFLATED = "1.2.840.10008.1.2.1.99"
EXPLICIT_BIG = "1.2.840.10008.1.2.2"
NATIVE = frozenset((IMPLICIT_LITTLE, EXPLICIT_LITTLE, DEFLATED, EXPLICIT_BIG))
PRIVATE_IMPLICIT_BIG = "1.2.840.113619.5.2"

FLOAT_PIXELS = ((0x7FE0, 0x0008), (0x7FE0, 0x0009))
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
    syntax: str  # transfer syntax UID; of native data sets as they are, not as they are named
    little: bool
    pixels: PixelElement | None
    label: str = ""  # the transfer syntax by the file header; "" where it names none
    warnings: tuple[str, ...] = ()  # where the data set is not what the file header says
    other_pixels: str = ""  # what stands instead of PixelData


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


@dataclass(frozen=True, slots=True)
class _Encoding:
    """How a data set is written."""

    implicit: bool
    little: bool
    deflated: bool = False

    @property
    def syntax(self) -> str:
        if self.deflated:
            return DEFLATED
        if self.implicit:
            return IMPLICIT_LITTLE
        return EXPLICIT_LITTLE if self.little else EXPLICIT_BIG


_ENCODINGS = (_Encoding(False, True), _Encoding(True, True), _Encoding(False, False))


def _named_encoding(data: bytes, start: int, syntax: str) -> _Encoding:
    """By the transfer syntax; guessed from the first element where none is named."""
    if syntax == PRIVATE_IMPLICIT_BIG:
        raise UnsupportedRefused(
            "", "its transfer syntax is a private one of GE.", "Export it as explicit VR."
        )
    if syntax:
        deflated = syntax == DEFLATED
        return _Encoding(syntax == IMPLICIT_LITTLE, syntax != EXPLICIT_BIG, deflated)
    implicit, little = _bare_start(data[start : start + 132]) or (True, True)
    return _Encoding(implicit, little)


def _actual_encoding(data: bytes, start: int, named: _Encoding) -> _Encoding:
    """As named, unless the data set plainly begins in another encoding."""
    if not named.deflated and _begins_as(data, start, named):
        return named
    for other in _ENCODINGS:
        if other != named and _begins_as(data, start, other):
            return other
    if not named.deflated and _begins_as(_inflated_start(data[start:]), 0, _ENCODINGS[0]):
        return _Encoding(implicit=False, little=True, deflated=True)
    return named


def _begins_as(data: bytes, start: int, encoding: _Encoding) -> bool:
    """Whether the first elements are plausible: known groups that rise, VRs, lengths that fit."""
    order, at, last = "<" if encoding.little else ">", start, (0, 0)
    for _ in range(3):
        if at + 12 > len(data):
            return at > start
        group, element, length = struct.unpack_from(order + "HHI", data, at)
        vr = data[at + 4 : at + 6]
        if not (3 <= group <= 0x20 or (at > start and group <= 0x7FE0)) or (group, element) <= last:
            return False
        if encoding.implicit == (vr in VRS):
            return False
        at, last = at + 8, (group, element)
        if vr in LONG_VRS and not encoding.implicit:
            length, at = struct.unpack_from(order + "I", data, at)[0], at + 4
        elif not encoding.implicit:
            length = struct.unpack_from(order + "H", data, at - 2)[0]
        if length == UNDEFINED:
            return True
        at += length
        if at > len(data):
            return False
    return True


def _inflated_start(data: bytes) -> bytes:
    try:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, 4096)
    except zlib.error:
        return b""


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
    start, label = _file_meta(data)
    named = _named_encoding(data, start, label)
    actual = _actual_encoding(data, start, named)
    if actual.deflated:
        data, start = _inflate(data[start:], limits), 0
    warnings: tuple[str, ...] = ()
    if actual != named:
        names = UID(named.syntax).name, UID(actual.syntax).name
        warnings = ("its transfer syntax says {}, its data set is {}".format(*names),)
    syntax = label if label and label not in NATIVE else actual.syntax
    implicit, little = actual.implicit, actual.little
    if start + 8 > len(data):
        raise UnreadableRefused("", "it is truncated: no data set follows its file header.")
    check_structure(data, start, limits, implicit=implicit, little=little)
    stream = BytesIO(data)
    stream.seek(start)
    dataset = read_dataset(stream, implicit, little, stop_when=_stop_at_pixels(limits))
    at = stream.tell()
    order = "<HH" if little else ">HH"
    stands = struct.unpack_from(order, data, at) if at + 4 <= len(data) else ()
    return Parsed(
        header=Header(dataset, little),
        syntax=syntax,
        little=little,
        pixels=_pixel_element(data, at, little),
        label=label,
        warnings=warnings,
        other_pixels="floating-point numbers" if stands in FLOAT_PIXELS else "",
    )


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
