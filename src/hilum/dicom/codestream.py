"""Blanks comments and application data in JPEG, JPEG-LS and JPEG 2000 codestreams, in place.

Nothing moves, so offsets inside the stream stay right. Decodes nothing. What follows the end of
the image is cut off.
"""

from __future__ import annotations

import struct

_EOI, _COM = 0xD9, 0xFE
_APPS = range(0xE0, 0xF0)
_J2K_COM, _SOT, _SOD, _EOC = 0xFF64, 0xFF90, 0xFF93, 0xFFD9


def without_comments(frame: bytes) -> tuple[bytes, bool]:
    """The frame without text, and whether its structure was understood to its end."""
    if frame[:2] == b"\xff\xd8":
        return _jpeg(bytearray(frame))
    if frame[:2] == b"\xff\x4f":
        return _jpeg_2000(bytearray(frame))
    return frame, False


def _jpeg(data: bytearray) -> tuple[bytes, bool]:
    at = 2
    while (at := _next_marker(data, at)) >= 0:
        marker = data[at + 1]
        if marker == _EOI:
            return bytes(data[: at + 2]) + b"\0" * (at % 2), True
        if at + 4 > len(data):
            break
        end = at + 2 + int(struct.unpack_from(">H", data, at + 2)[0])
        # Colour transforms of Adobe (APP14) and JPEG-LS (APP8 "mrfx") decide the image.
        needed = bytes(data[at + 4 : at + 9]) == b"Adobe" or data[at + 4 : at + 8] == b"mrfx"
        if marker == _COM or marker in _APPS:
            start = at + (16 if needed else 4)
            end = min(end, len(data))
            data[start:end] = bytes(max(0, end - start))
        at = end
    return bytes(data), False


def _next_marker(data: bytearray, at: int) -> int:
    """Where the next marker begins; entropy-coded data and restart markers are skipped."""
    while 0 <= (at := data.find(0xFF, at)) < len(data) - 1:
        code = data[at + 1]
        if code >= 0x80 and code != 0xFF and not 0xD0 <= code <= 0xD7:
            return at
        at += 1 if code == 0xFF else 2
    return -1


def _jpeg_2000(data: bytearray) -> tuple[bytes, bool]:
    at, tile_end = 2, 0
    while at + 4 <= len(data):
        marker, length = struct.unpack_from(">HH", data, at)
        if marker == _EOC:
            return bytes(data[: at + 2]) + b"\0" * (at % 2), True
        if marker == _SOT and at + 12 <= len(data):
            size = int(struct.unpack_from(">I", data, at + 6)[0])
            tile_end = at + size if size else len(data)
        if marker == _SOD:
            if tile_end <= at:
                break
            at = tile_end
            continue
        if marker == _J2K_COM:
            start, end = at + 6, min(at + 2 + length, len(data))
            data[start:end] = b" " * max(0, end - start)
        at += 2 + length
    ended = data[-2:] == b"\xff\xd9" or data[-3:] == b"\xff\xd9\0"
    return bytes(data), at >= len(data) - 3 and ended
