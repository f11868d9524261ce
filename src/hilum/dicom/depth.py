"""Which bits of a decoded frame are its values, where the header and the pixels disagree.

A value never wraps: it is what the frame says (PS3.5 section 8.2), or it is refused. Knows numbers
and the Image Pixel module; knows no codec.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hilum.core.errors import UnreadableRefused
from hilum.dicom.image import Containers, Layout, lowest_bits
from hilum.dicom.stream import Stream

Values = NDArray[np.integer[Any]]

TORN = 0.01  # of the pixels
USUAL_BITS = (8, 10, 12)  # of detectors and screens
UNUSED_BITS = 4  # that are no chance
DECISIVE = 3  # times as many tears in one reading as in the other


@dataclass(frozen=True, slots=True)
class Settled:
    """Containers, the layout that is true of them, and what the header had said otherwise."""

    containers: Containers
    layout: Layout
    warnings: tuple[str, ...] = ()


def settle_stream(decoded: Values, stream: Stream, shape: Layout) -> Settled:
    """Values of a compressed frame and the header's layout -> the layout that holds them all.

    * Values that fit BitsStored and PixelRepresentation are the header's, however deep the frame
      says it is: many encoders declare whole bytes.
    * Else they are as deep and as signed as the frame says.
    * A codec without a sign leaves it to the header. Where JPEG 2000 contradicts the header, that
      reading counts which does not tear the image; with neither torn, two's complement (as in
      pydicom) for an unsigned frame under a signed header.

    Raises:
        UnreadableRefused: a signed header over a shallower frame whose codec knows no sign.
    """
    bits = stream.bits
    if bits == shape.bits_stored and stream.signed in (None, shape.signed):
        return Settled(_contained(decoded, shape), lowest_bits(shape))
    codes = decoded.astype(np.int32) & (2**bits - 1)
    signed = shape.signed if stream.signed is None else stream.signed
    if stream.signed is None and signed:
        bits = _twos_complement_bits(codes, bits, shape)
    elif signed != shape.signed and _header_is_right(codes, bits, shape.signed):
        signed = shape.signed
    values = as_signed(codes, bits) if signed else codes
    low, high = _range(shape.bits_stored, shape.signed)
    if bits >= shape.bits_stored and low <= values.min() and values.max() <= high:
        return Settled(_contained(values, shape), lowest_bits(shape))
    true = lowest_bits(replace(shape, bits_stored=bits, signed=signed))
    return Settled(_contained(values, true), true, tuple(_differences(shape, true)))


def _twos_complement_bits(codes: Values, bits: int, shape: Layout) -> int:
    """Where the sign bit of signed values lies in a frame that knows none."""
    if bits > shape.bits_stored and codes.max() < 2**shape.bits_stored:
        return shape.bits_stored
    if bits < shape.bits_stored and codes.max() >= 2 ** (bits - 1):
        raise UnreadableRefused(
            "",
            f"BitsStored is {shape.bits_stored} and signed, its compressed pixels have {bits} "
            "bits and no sign.",
            "Export it again.",
        )
    return bits


def _header_is_right(codes: Values, bits: int, header_signed: bool) -> bool:
    """Whether the frame's own sign tears the image, or says no more than the header's."""
    unsigned_tears, signed_tears = _tears(codes, as_signed(codes, bits), bits)
    own, headers = unsigned_tears, signed_tears
    if not header_signed:
        own, headers = signed_tears, unsigned_tears
    if header_signed:
        return headers <= DECISIVE * own
    return own > DECISIVE * headers


def settle_native(containers: Containers, shape: Layout, has_overlay_bits: bool) -> Settled:
    """Uncompressed containers: what lies above HighBit is no part of the value (PS3.5 8.1.1).

    That is so for old overlays, signs and noise. Where it is plainly the image itself that goes
    on above HighBit, masking would wrap it.

    Raises:
        UnreadableRefused: the values are deeper than BitsStored.
    """
    top, highest = shape.high_bit + 1, int(containers.max())
    below = 2**shape.shift - 1
    if below and highest < 2**shape.bits_stored and (containers & below).any():
        low = lowest_bits(shape)
        warning = f"HighBit is {shape.high_bit}, its values lie below bit {shape.bits_stored}"
        return Settled(containers, low, (warning,))
    if not highest >> top or has_overlay_bits:
        return Settled(containers, shape, _sign_warning(containers, shape))
    whole = containers.astype(np.int32) >> shape.shift
    if shape.signed and _is_sign(whole, shape):
        return Settled(containers, shape)
    masked = whole & (2**shape.bits_stored - 1)
    if not shape.signed and _is_sign(whole, shape):
        own = as_signed(masked, shape.bits_stored)
        if np.greater(*_tears(masked, own, shape.bits_stored)):
            warning = "PixelRepresentation says unsigned, its pixels carry a sign, which is used"
            return Settled(containers, replace(shape, signed=True), (warning,))
    wrapped, uneven = _tears(masked, whole, shape.bits_stored)
    if wrapped > DECISIVE * uneven:
        used = highest.bit_length() - shape.shift
        raise UnreadableRefused(
            "",
            f"BitsStored is {shape.bits_stored}, its pixels have {used} bits.",
            "Export it again.",
        )
    warning = f"bits above HighBit {shape.high_bit} are set, and are not used"
    return Settled(containers, shape, (warning,))


def _sign_warning(containers: Containers, shape: Layout) -> tuple[str, ...]:
    """Whether the values tear the image all over with the sign that the header gives them, where
    they do not with the other: edges of collimators and letters are too short for that."""
    if not shape.signed and not _at_both_ends(containers[::16, ::16], shape):
        return ()  # as in nearly all images: they need no closer look
    codes = (containers.astype(np.int32) >> shape.shift) & (2**shape.bits_stored - 1)
    unsigned, signed = _tears(codes, as_signed(codes, shape.bits_stored), shape.bits_stored)
    words = ("signed", "unsigned") if shape.signed else ("unsigned", "signed")
    stated, other = (signed, unsigned) if shape.signed else (unsigned, signed)
    if stated <= max(DECISIVE * other, TORN * codes.size):
        return ()
    text = "PixelRepresentation says {}, which tears the image; {} would not: is it so?"
    return (text.format(*words),)


def _at_both_ends(sample: Containers, shape: Layout) -> bool:
    """Whether many values lie in the first and in the last quarter of the range, few between, as
    signed ones that are taken for unsigned."""
    parts = (sample >> shape.shift) & (2**shape.bits_stored - 1)
    low, high = (
        (parts < 2**shape.bits_stored // 4).mean(),
        (parts >= 3 * 2**shape.bits_stored // 4).mean(),
    )
    return bool(min(low, high) > 0.05 and low + high > 0.7)


def used_bits(values: Values, shape: Layout) -> int | None:
    """The usual depth that holds `values` (those that are there), where they leave so many of the
    stored bits empty that nobody meant these; else None."""
    if not len(values) or values.min() == values.max():
        return None
    signed = bool(values.min() < 0)
    fits = (
        bits
        for bits in USUAL_BITS
        if _range(bits, signed)[0] <= values.min() and values.max() <= _range(bits, signed)[1]
    )
    bits = next(fits, shape.bits_stored)
    return bits if bits <= shape.bits_stored - UNUSED_BITS else None


def _is_sign(whole: Values, shape: Layout) -> bool:
    """Whether all bits above the value repeat its sign."""
    width = shape.bits_allocated - shape.shift
    values = as_signed(whole, width)
    low, high = _range(shape.bits_stored, signed=True)
    return bool(low <= values.min() and values.max() <= high)


def as_signed(codes: Values, bits: int) -> Values:
    """Two's complement of codes 0 .. 2^bits - 1."""
    return np.asarray(codes - ((codes >> (bits - 1)) << bits))


def _range(bits: int, signed: bool) -> tuple[int, int]:
    half = 2 ** (bits - 1)
    return (-half, half - 1) if signed else (0, 2 * half - 1)


def _tears(first: Values, second: Values, bits: int) -> tuple[int, int]:
    """Neighbours that lie at opposite ends of the range of so many bits in one reading only, as
    where values wrap: (in the first, in the second)."""
    far = 7 * 2**bits // 8
    counts = [0, 0]
    for axis in (0, 1):
        one = np.abs(np.diff(first, axis=axis)) > far
        two = np.abs(np.diff(second, axis=axis)) > far
        counts[0] += int((one & ~two).sum())
        counts[1] += int((two & ~one).sum())
    return counts[0], counts[1]


def _contained(values: Values, shape: Layout) -> Containers:
    """Values in the containers of their layout, bits above them zero."""
    kind = np.uint8 if shape.bits_allocated == 8 else np.uint16
    contained: Containers = values.astype(kind, copy=False)
    if shape.bits_stored == shape.bits_allocated:
        return contained
    return np.asarray(contained & contained.dtype.type(2**shape.bits_stored - 1))


def _differences(header: Layout, true: Layout) -> list[str]:
    out = []
    if header.bits_stored != true.bits_stored:
        out.append(
            f"BitsStored is {header.bits_stored}, its compressed pixels have "
            f"{true.bits_stored} bits, which are used"
        )
    if header.signed != true.signed:
        words = ("unsigned", "signed")
        out.append(
            f"PixelRepresentation says {words[header.signed]}, its compressed pixels are "
            f"{words[true.signed]}, which is used"
        )
    return out
