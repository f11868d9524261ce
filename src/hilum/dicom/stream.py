"""What a compressed frame says of itself: which codec, how many bits, signed or not, which size.

Knows markers; decodes nothing. Where a frame and the header differ, the frame is right (PS3.5
section 8.2: the values of the compressed data stream control its decompression).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from hilum.core.errors import UnreadableRefused
from hilum.dicom.syntaxes import (
    BASELINE,
    CODECS,
    EXTENDED,
    HT,
    J2K,
    LOSSLESS,
    LS,
    PROGRESSIVE,
    RLE_LOSSLESS,
)

_SOF = {0xC0: BASELINE, 0xC1: EXTENDED, 0xC2: PROGRESSIVE, 0xC3: LOSSLESS, 0xF7: LS}
_J2K_START = b"\xff\x4f\xff\x51"
MAX_TILES = 4096


@dataclass(frozen=True, slots=True)
class Stream:
    """The declarations of one frame; 0 where a codec declares nothing (RLE)."""

    codec: str
    bits: int = 0
    rows: int = 0
    columns: int = 0
    samples: int = 0
    signed: bool | None = None  # None: the codec has no sign, the header decides

    def is_of(self, syntax: str) -> bool:
        """Whether a transfer syntax may call this frame its own."""
        return syntax in CODECS[self.codec].syntaxes


def describe(frame: bytes) -> Stream | None:
    """By its first bytes; None for no codec that we know, or a damaged start."""
    if frame[:2] == b"\xff\xd8":
        return _jpeg(frame)
    if _J2K_START in frame[:4096]:
        return _jpeg_2000(frame)
    return Stream(RLE_LOSSLESS) if _is_rle(frame) else None


def begins(fragment: bytes) -> bool:
    """Whether a codestream starts here; what goes on with one does not look so."""
    return fragment[:3] == b"\xff\xd8\xff" or fragment[:4] == _J2K_START or _is_rle(fragment)


def _jpeg(frame: bytes) -> Stream | None:
    """From the frame header of a JPEG or JPEG-LS stream."""
    at = 2
    while at + 10 <= len(frame):
        if frame[at] != 0xFF:
            return None
        marker = frame[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        length = int.from_bytes(frame[at + 2 : at + 4], "big")
        is_frame = 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)
        if is_frame or marker == 0xF7:
            bits, rows, columns, samples = struct.unpack_from(">BHHB", frame, at + 4)
            codec = _SOF.get(marker)
            # Signed pixels are allowed in the lossless processes only.
            signed = None if codec in (LOSSLESS, LS) else False
            return (
                Stream(
                    codec=codec,
                    bits=bits,
                    rows=rows,
                    columns=columns,
                    samples=samples,
                    signed=signed,
                )
                if codec
                else None
            )
        at += 2 + length
    return None


def _jpeg_2000(frame: bytes) -> Stream | None:
    """From the SIZ marker; None when it is cut off, subsampled or has absurd tiles."""
    at = frame.find(_J2K_START)
    if at + 42 > len(frame):
        return None
    x, y, x0, y0, tile_x, tile_y, _, _, samples = struct.unpack_from(">8IH", frame, at + 8)
    if min(tile_x, tile_y) < 1 or -(-x // tile_x) * -(-y // tile_y) > MAX_TILES:
        return None
    if any(frame[at + 43 + 3 * i : at + 45 + 3 * i] != b"\1\1" for i in range(samples)):
        return None  # subsampled: never in a radiograph
    depth, capabilities = frame[at + 42], frame[at + 6]
    codec = HT if capabilities & 0x40 else J2K
    return Stream(
        codec=codec,
        bits=(depth & 0x7F) + 1,
        rows=y - y0,
        columns=x - x0,
        samples=samples,
        signed=bool(depth & 0x80),
    )


def _is_rle(frame: bytes) -> bool:
    """An RLE header: 1 to 15 rising offsets, the first 64, the rest 0 (PS3.5 G.5)."""
    if len(frame) < 64:
        return False
    count, *offsets = struct.unpack_from("<16I", frame)
    if not 1 <= count <= 15 or offsets[0] != 64 or any(offsets[count:]):
        return False
    used = offsets[:count]
    return sorted(set(used)) == used and used[-1] < len(frame)


def fragments(value: memoryview) -> Iterator[memoryview]:
    """The fragments of an encapsulated value, without its offset table.

    Raises:
        UnreadableRefused: not items, or a fragment longer than the rest of the file.
    """
    at, first = 0, True
    while at + 8 <= len(value):
        group, element, length = struct.unpack_from("<HHI", value, at)
        at += 8
        if (group, element) == (0xFFFE, 0xE0DD):
            return
        if (group, element) != (0xFFFE, 0xE000) or at + length > len(value):
            raise UnreadableRefused(
                "", "its compressed pixels are truncated or damaged.", "Copy it again."
            )
        if not first:
            yield value[at : at + length]
        first = False
        at += length
