"""The frames of an object by their numbers, from 1, as they are stored. Decodes nothing."""

from __future__ import annotations

from collections.abc import Collection
from itertools import islice

import numpy as np
from pydicom.encaps import generate_fragmented_frames

from hilum.core.errors import UnreadableRefused, UnsupportedRefused
from hilum.dicom.header import Header
from hilum.dicom.part10 import Parsed
from hilum.dicom.stored import StoredImage


def count_of(header: Header) -> int:
    """How many frames the header counts.

    Raises:
        InputRefused: it has no whole number there.
    """
    return max(header.integer("NumberOfFrames", 1), 1)


def is_compressed(stored: StoredImage) -> bool:
    parsed = stored.parsed
    return parsed is not None and parsed.pixels is not None and parsed.pixels.encapsulated


def frames_of(stored: StoredImage, numbers: Collection[int]) -> dict[int, bytes]:
    """The bytes of the frames that are there, whatever the header counts.

    Raises:
        InputRefused: damaged, or the header has no whole number where one is needed.
    """
    parsed, count = stored.parsed, count_of(stored.header)
    there = {number for number in numbers if 1 <= number <= count}
    if parsed is None or parsed.pixels is None or not there:
        return {}
    if parsed.pixels.encapsulated:
        return _compressed(bytes(parsed.pixels.value), there, count)
    bits = _frame_bits(stored.header)
    native = {n: _uncompressed(parsed.pixels.value, bits, n) for n in there}
    return {n: content for n, content in native.items() if content}


def frame_bytes(header: Header) -> int:
    """Of one frame without compression."""
    return (_frame_bits(header) + 7) // 8


def _frame_bits(header: Header) -> int:
    pixels = header.integer("Rows") * header.integer("Columns")
    return max(pixels * header.integer("BitsAllocated") * header.integer("SamplesPerPixel", 1), 0)


def _uncompressed(value: bytes | memoryview, bits: int, number: int) -> bytes:
    """Empty where the pixels end before it. Masks of single bits follow one another without a gap
    (PS3.5 8.1.1): such a frame may begin within a byte."""
    start, end = (number - 1) * bits, number * bits
    left = 8 * len(value) - start
    if left < min(bits, 16):  # nothing, or what fills the last word
        return b""
    if left < bits:
        raise UnreadableRefused("", f"its pixel data end within frame {number}.", "Send it again.")
    content = bytes(value[start // 8 : (end + 7) // 8])
    if not bits % 8:
        return content
    each = np.unpackbits(np.frombuffer(content, np.uint8), bitorder="little")
    return np.packbits(each[start % 8 :][:bits], bitorder="little").tobytes()


def _compressed(value: bytes, there: set[int], count: int) -> dict[int, bytes]:
    try:
        fragments = generate_fragmented_frames(value, number_of_frames=count)
        upto = enumerate(islice(fragments, max(there)), start=1)
        return {n: b"".join(parts) for n, parts in upto if n in there}
    except (ValueError, IndexError) as error:
        raise UnreadableRefused("", "its pixel data are damaged.", "Send it again.") from error


def little_endian(content: bytes, parsed: Parsed) -> bytes:
    """Bytes of a frame without compression, the lowest of each value first.

    Raises:
        UnsupportedRefused: values that are no whole bytes, in big endian.
    """
    if parsed.little:
        return content
    bits = parsed.header.integer("BitsAllocated")
    vr = parsed.pixels.vr if parsed.pixels else ""
    width = bits // 8
    if bits not in (8, 16, 32, 64) or len(content) % width or (bits == 8 and vr == "OW"):
        raise UnsupportedRefused("", f"it is of {bits} bits in big endian words.")
    return np.frombuffer(content, f">u{width}").byteswap().tobytes()
