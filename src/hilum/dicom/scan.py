"""Walks a DICOM data set without recursion, before a recursive parser sees it.

Knows tags, lengths and nesting; does not know what any element means.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from hilum.core.errors import LimitRefused, UnreadableRefused
from hilum.dicom.limits import Limits

UNDEFINED = 0xFFFFFFFF
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
FIRST_PIXEL_TAG = 0x7FE00008  # FloatPixelData; DoubleFloatPixelData and PixelData follow
LONG_VRS = frozenset(
    (b"OB", b"OD", b"OF", b"OL", b"OW", b"OV", b"SQ", b"UC", b"UN", b"UR", b"UT", b"SV", b"UV")
)
# fmt: off
VRS = LONG_VRS | frozenset((
    b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FL", b"FD", b"IS", b"LO", b"LT", b"PN",
    b"SH", b"SL", b"SS", b"ST", b"TM", b"UI", b"UL", b"US",
))
# fmt: on


@dataclass(slots=True)
class _Open:
    """A sequence, an item's data set, or a run of fragments that has begun and not ended."""

    kind: str  # "sequence", "dataset", "fragments"
    end: int | None  # None: undefined length


class Scanner:
    """One pass over the header; see `check_structure`."""

    def __init__(self, data: bytes, start: int, implicit: bool, little: bool) -> None:
        self.data, self.at, self.implicit = data, start, implicit
        order = "<" if little else ">"
        self.tag_long = struct.Struct(order + "HHI").unpack_from
        self.short = struct.Struct(order + "H").unpack_from
        self.long = struct.Struct(order + "I").unpack_from
        self.item_mark = struct.pack(order + "HH", ITEM >> 16, ITEM & 0xFFFF)
        self.stack: list[_Open] = []
        self.elements = 0

    def run(self, limits: Limits) -> None:
        """Walk until the pixels, the end, or something only a lenient parser understands."""
        size = len(self.data)
        while True:
            while self.stack and (end := self.stack[-1].end) is not None and self.at >= end:
                self.stack.pop()
            if self.at + 8 > size:
                if any(self.data[self.at :]):
                    raise _truncated()
                return
            if self.stack and self.stack[-1].kind != "dataset":
                going_on = self._item()
            else:
                going_on = self._element()
            if not going_on:
                return
            if self.elements > limits.elements:
                raise LimitRefused(
                    "",
                    f"its header has more than {limits.elements} elements.",
                    "Remove private data, or raise the limit.",
                )
            if len(self.stack) > 2 * limits.depth:
                raise LimitRefused(
                    "",
                    f"its sequences are nested deeper than {limits.depth} levels.",
                    "No radiograph needs that; export it again.",
                )

    def _item(self) -> bool:
        group, element, length = self.tag_long(self.data, self.at)
        tag = group << 16 | element
        self.at += 8
        if tag == SEQUENCE_END:
            self.stack.pop()
            return True
        if tag != ITEM:
            return self._confused()
        self.elements += 1
        if self.stack[-1].kind == "fragments":
            self.at += length
            return True
        self.stack.append(_Open("dataset", None if length == UNDEFINED else self.at + length))
        return True

    def _element(self) -> bool:
        group, element, length = self.tag_long(self.data, self.at)
        tag = group << 16 | element
        if tag in (ITEM_END, SEQUENCE_END):
            self.at += 8
            if self.stack:
                self.stack.pop()
            return True
        if tag >= FIRST_PIXEL_TAG and not self.stack:
            return False
        vr = b"" if self.implicit else self.data[self.at + 4 : self.at + 6]
        self.at += 8
        if vr in LONG_VRS:
            if self.at + 4 > len(self.data):
                raise _truncated()
            length = self.long(self.data, self.at)[0]
            self.at += 4
        elif vr.isalpha() and vr.isupper():
            length = self.short(self.data, self.at - 2)[0]
        else:
            vr = b""  # implicit, or an implicit element inside an explicit data set
        self.elements += 1
        self._enter(vr, length)
        return True

    def _enter(self, vr: bytes, length: int) -> None:
        holds_items = self.data[self.at : self.at + 4] == self.item_mark
        if length == UNDEFINED:
            kind = "sequence" if vr in (b"SQ", b"UN", b"") else "fragments"
            self.stack.append(_Open(kind, None))
            return
        if self.at + length > len(self.data):
            raise _truncated()
        if vr == b"SQ" or (vr in (b"", b"UN") and holds_items and length >= 8):
            self.stack.append(_Open("sequence", self.at + length))
        else:
            self.at += length

    def _confused(self) -> bool:
        """Skip what is not as it should be, where its end is known; else leave it to pydicom."""
        while self.stack:
            opened = self.stack.pop()
            if opened.end is not None:
                self.at = opened.end
                return True
        return False


def _truncated() -> UnreadableRefused:
    return UnreadableRefused(
        "", "it is truncated: an element is longer than the rest of the file.", "Copy it again."
    )


def check_structure(
    data: bytes, start: int, limits: Limits, *, implicit: bool, little: bool
) -> None:
    """Refuse a header that is truncated, too deep or too long; lenient about everything else.

    Raises:
        LimitRefused: more elements or deeper sequences than `limits` allow.
        UnreadableRefused: an element ends beyond the file.
    """
    Scanner(data, start, implicit, little).run(limits)
