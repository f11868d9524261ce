"""The Image Pixel module (PS3.3 C.7.6.3), checked, and native pixels.

Knows how stored values lie in their containers; does not know what they mean.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hilum.core.errors import LimitRefused, UnreadableRefused, UnsupportedRefused
from hilum.dicom.header import Header
from hilum.dicom.limits import Limits
from hilum.dicom.part10 import PixelElement

Containers = NDArray[np.unsignedinteger[Any]]

MONOCHROME = ("MONOCHROME1", "MONOCHROME2")
COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_RCT", "YBR_ICT")


@dataclass(frozen=True, slots=True)
class Layout:
    """How pixels are stored."""

    rows: int
    columns: int
    samples: int
    bits_allocated: int  # 8 or 16
    bits_stored: int  # 1..bits_allocated
    high_bit: int
    signed: bool
    photometric: str

    @property
    def shift(self) -> int:
        """Unused bits below the stored value."""
        return self.high_bit + 1 - self.bits_stored

    @property
    def native_bytes(self) -> int:
        return self.rows * self.columns * self.samples * self.bits_allocated // 8


def layout(header: Header, limits: Limits) -> Layout:
    """Read and check the elements that describe the pixels, before any pixel is decoded.

    Raises:
        UnreadableRefused: a required element is missing or cannot be.
        UnsupportedRefused: several frames, colour palettes, bit depths we do not read.
        LimitRefused: more pixels than allowed.
    """
    rows, columns = header.integer("Rows"), header.integer("Columns")
    if rows < 1 or columns < 1:
        raise UnreadableRefused("", f"Rows x Columns is {rows} x {columns}.")
    if rows * columns > limits.pixels:
        raise LimitRefused(
            "",
            f"{rows} x {columns} pixels are more than the limit of {limits.pixels}.",
            "Raise the limit if this is a real radiograph.",
        )
    frames = header.integer("NumberOfFrames", 1)
    if frames > 1:
        raise UnsupportedRefused("", f"it has {frames} frames.", "Send single images.")
    samples = header.integer("SamplesPerPixel", 1)
    allocated = header.integer("BitsAllocated")
    stored = header.integer("BitsStored", header.integer("HighBit", allocated - 1) + 1)
    high = header.integer("HighBit", stored - 1)
    if allocated not in (8, 16):
        raise UnsupportedRefused(
            "", f"BitsAllocated is {allocated}; we read 8 and 16.", "Export it with 8 or 16."
        )
    if not 1 <= stored <= allocated or not stored - 1 <= high < allocated:
        raise UnreadableRefused(
            "", f"BitsAllocated {allocated}, BitsStored {stored}, HighBit {high} cannot be."
        )
    signed = header.integer("PixelRepresentation", 0)
    if signed not in (0, 1):
        raise UnreadableRefused("", f"PixelRepresentation is {signed}; it can be 0 or 1.")
    photometric = _photometric(header, samples)
    return Layout(
        rows=rows,
        columns=columns,
        samples=samples,
        bits_allocated=allocated,
        bits_stored=stored,
        high_bit=high,
        signed=bool(signed),
        photometric=photometric,
    )


def _photometric(header: Header, samples: int) -> str:
    value = header.code("PhotometricInterpretation")
    if value is None:
        raise UnreadableRefused("", "PhotometricInterpretation is missing.")
    if value in MONOCHROME and samples == 1:
        return value
    if value in COLOUR and samples == 3:
        return value
    if value in (*MONOCHROME, *COLOUR):
        raise UnreadableRefused("", f"{value} with {samples} samples per pixel cannot be.")
    raise UnsupportedRefused(
        "", f"its pixels are {value}, neither grey nor RGB or YBR.", "Export it as MONOCHROME2."
    )


def native(pixels: PixelElement, shape: Layout, little: bool) -> tuple[Containers, tuple[str, ...]]:
    """Uncompressed pixels as they lie in their containers, (H, W) or (H, W, 3) uint8 or uint16, and
    what is odd about their number.

    Raises:
        UnreadableRefused: the length of PixelData does not agree with rows, columns and bits.
    """
    need, came = shape.native_bytes, len(pixels.value)
    if shape.photometric == "YBR_FULL_422":
        raise UnsupportedRefused("", "it is uncompressed YBR_FULL_422.", "Export it as RGB.")
    # As many bytes as a column or a row has more may be one: the image would be sheared.
    column, row = need // shape.columns, need // shape.rows
    if came < need or came - need >= max(min(column, row), 2):
        raise UnreadableRefused(
            "",
            f"{shape.rows} x {shape.columns} pixels need {need} bytes, PixelData has {came}: "
            "it is truncated or its header is wrong.",
            "Copy or export it again.",
        )
    flat: Containers
    if shape.bits_allocated == 16:
        flat = np.frombuffer(pixels.value[:need], "<u2" if little else ">u2")
        flat = flat.astype(np.uint16, copy=False)
    elif not little and pixels.vr == "OW":
        words = np.frombuffer(pixels.value[: need + need % 2], "<u2")  # bytes lie swapped in words
        flat = words.byteswap().view(np.uint8)[:need]
    else:
        flat = np.frombuffer(pixels.value[:need], np.uint8)
    more = came - need - need % 2
    warnings = (f"its PixelData is {more} bytes too long: the last ones are not used",)
    return _reshape(flat, shape), warnings if more > 0 else ()


def _reshape(flat: Containers, shape: Layout) -> Containers:
    if shape.samples == 1:
        return flat.reshape(shape.rows, shape.columns)
    return flat.reshape(shape.rows, shape.columns, shape.samples)


def lowest_bits(shape: Layout) -> Layout:
    """The layout of decoded values, which always begin at bit 0."""
    return replace(shape, high_bit=shape.bits_stored - 1)


def grey_of_colour(colour: Containers, photometric: str, converted: bool) -> Containers:
    """The grey image that a colour capture really holds.

    Args:
        colour: (H, W, 3) as stored; RGB when `converted` by the decoder.

    Raises:
        UnsupportedRefused: the pixels are in colour.
    """
    first, second, third = (colour[..., i] for i in range(3))
    if photometric.startswith("YBR") and not converted:
        neutral = 1 << (8 * colour.itemsize - 1)
        is_grey = bool((second == neutral).all() and (third == neutral).all())
    else:
        is_grey = np.array_equal(first, second) and np.array_equal(first, third)
    if not is_grey:
        raise UnsupportedRefused(
            "", "its pixels are in colour.", "Send the radiograph itself, not a colour capture."
        )
    return np.ascontiguousarray(first)
