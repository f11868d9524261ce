"""Stored values -> [0, 1]: the grey-scale pipeline (PS3.3 C.11, PS3.4 N.2).

Order: stored value -> Modality -> VOI -> MONOCHROME1 inversion -> presentation LUT shape. Every
stage is a function of the stored value alone, so the whole pipeline is one table over the stored
range, computed in float64 and indexed once per pixel: exact, and never through 8 bit.

Choices where the standard leaves one, or files contradict it:

* A presentation LUT shape of INVERSE is how a MONOCHROME1 image says the same thing twice
  (C.8.11.3), so either or both invert once. IDENTITY does not undo MONOCHROME1.
* Without a VOI the full range of the stored bits, after the modality transformation, is [0, 1],
  so an 8-bit DICOM equals the same PNG.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from hilum.dicom.depth import UNUSED_BITS, USUAL_BITS, used_bits
from hilum.dicom.header import Header
from hilum.dicom.image import Containers, Layout
from hilum.dicom.lookup import modality, voi

Float32 = NDArray[np.float32]
Bool = NDArray[np.bool_]

_CV2_LUT_16 = int(cv2.__version__.split(".")[0]) >= 5  # 16-bit tables came with OpenCV 5
LEAST_CONTRAST = 0.125  # of the range, that what is shown should use
MANY_PADDED = 64  # values, which are rather greys
MOST_AMID = 0.05  # of the middle of an image, that may be padding
LOST_SHARE = 0.75  # of the pixels: "nearly everything" is white or black
_CHUNK = 1 << 18  # keeps NumPy's temporary indices in the cache


@dataclass(frozen=True, slots=True)
class Display:
    """What becomes of every stored code (0 .. 2^bits - 1, two's complement when signed)."""

    grey: Float32  # (2^bits,) in [0, 1], padding too
    padded: Bool | None  # (2^bits,) True at PixelPaddingValue; None where the file names none
    voi: str
    warnings: tuple[str, ...] = ()

    @property
    def is_full_range(self) -> bool:
        return self.voi.startswith("none")


def stored_values(shape: Layout) -> NDArray[np.float64]:
    """(2^bits,) the value of every stored code."""
    codes = np.arange(2**shape.bits_stored, dtype=np.float64)
    if shape.signed:
        codes[len(codes) // 2 :] -= len(codes)
    return codes


def display(
    header: Header,
    shape: Layout,
    *,
    window: tuple[float, float] | None = None,
    voi_index: int = 0,
    full_range: bool = False,
    used: Bool | None = None,
) -> Display:
    """The table of a file.

    Args:
        used: (2^bits,) codes that the range is of, where no window is; None: all.
    """
    values = stored_values(shape)
    units, warnings = modality(header, values)
    inside = None if used is None else units[used]
    shown = voi(header, units, window, index=voi_index, full_range=full_range, used=inside)
    if _falls(values, shown.values):
        warnings += ("its rescaling or LUT falls: low values are shown bright, as the file says",)
    grey = shown.values.astype(np.float32)
    inverse, contradiction = inverted(header, shape)
    if inverse:
        grey = np.float32(1) - grey
    warnings += shown.warnings + contradiction
    if header.has("PresentationLUTSequence"):
        warnings += ("it has a presentation LUT, which no image has: not used",)
    if header.has("PixelPaddingRangeLimit") and not header.numbers("PixelPaddingValue"):
        warnings += ("it has a limit of padding and no padding value: not used",)
    padded = padding(header, shape, values)
    if padded is not None and padded.all():
        padded, warnings = None, (*warnings, "its padding covers every value: not used")
    return Display(grey, padded, shown.text, warnings)


def _falls(values: NDArray[np.float64], shown: NDArray[np.float64]) -> bool:
    half = len(shown) // 2
    in_order = shown[np.argsort(values, kind="stable")]
    return bool(in_order[:half].mean() > in_order[half:].mean())


def intent_warnings(header: Header, shape: Layout) -> tuple[str, ...]:
    """What a maker's own program has yet to do to an image before anybody reads it (C.8.11.1)."""
    if header.code("PresentationIntentType") != "FOR PROCESSING":
        return ()
    text = "it is FOR PROCESSING: raw values of the detector, not the image that a reader sees"
    sign = header.integer("PixelIntensityRelationshipSign", 0)
    if sign == (1 if shape.photometric == "MONOCHROME2" else -1):
        text += "; by its intensity relationship air is bright in it"
    return (text,)


def inverted(header: Header, shape: Layout) -> tuple[bool, tuple[str, ...]]:
    """Whether low values are bright, and whether the file says so in one place only (C.8.11.3)."""
    first = shape.photometric == "MONOCHROME1"
    lut = header.code("PresentationLUTShape")
    if lut not in ("INVERSE", "IDENTITY", None):
        return first, (f"its presentation LUT shape is {lut}, which no image has: not used",)
    if lut is None or first == (lut == "INVERSE"):
        return first, ()
    return True, (f"it is {shape.photometric} with a presentation LUT shape of {lut}: inverted",)


def padding(header: Header, shape: Layout, values: NDArray[np.float64]) -> Bool | None:
    """Which stored codes are padding (C.7.5.1.1.2): a value, or a range with its limit."""
    first = header.numbers("PixelPaddingValue")
    if not first:
        return None
    last = header.numbers("PixelPaddingRangeLimit") or first
    ends = sorted(_as_stored(v, shape) for v in (first[0], last[0]))
    padded: Bool = (values >= ends[0]) & (values <= ends[1])
    return padded if padded.any() else None


def _as_stored(value: float, shape: Layout) -> float:
    """Writers store a negative padding value as US, too."""
    too_large = shape.signed and value >= 2 ** (shape.bits_stored - 1) and value >= 0x8000
    return value - 0x10000 if too_large else value


def spread(table: NDArray[Any], shape: Layout) -> NDArray[Any]:
    """A table over stored codes to one over all containers: unused bits are ignored."""
    containers = np.arange(2**shape.bits_allocated)
    spread_: NDArray[Any] = table[(containers >> shape.shift) & (2**shape.bits_stored - 1)]
    return spread_


def look_up(containers: Containers, table: Float32) -> Float32:
    """(H, W) uint8 or uint16 through a table of 256 or 65536 entries."""
    if containers.dtype == np.uint8 or _CV2_LUT_16:
        out: Float32 = cv2.LUT(containers, table)
        return out.reshape(containers.shape)
    result = np.empty(containers.shape, np.float32)
    source, target = containers.reshape(-1), result.reshape(-1)
    for start in range(0, source.size, _CHUNK):
        part = slice(start, start + _CHUNK)
        np.take(table, source[part], out=target[part], mode="clip")
    return result


def to_grey(containers: Containers, shape: Layout, shown: Display) -> tuple[Float32, Bool | None]:
    """(H, W) pixels in [0, 1], padding black, and where they are no padding (None: everywhere)."""
    table = shown.grey
    if shown.padded is not None:
        table = np.where(shown.padded, np.float32(0), table)
    grey = look_up(containers, spread(table, shape))
    if shown.padded is None:
        return grey, None
    padded: Bool = spread(shown.padded, shape)[containers]
    return grey, ~padded if padded.any() else None


def is_amid(containers: Containers, unpadded: Bool | None) -> bool:
    """Whether padding lies amid an image, not around it, or is of many values: the image itself
    is taken for it."""
    if unpadded is None:
        return False
    height, width = unpadded.shape
    middle = unpadded[height // 4 : height - height // 4, width // 4 : width - width // 4]
    if not middle.size or 1 - middle.mean() <= MOST_AMID:
        return False
    _, parts = cv2.connectedComponents((~unpadded).astype(np.uint8))
    edges = np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]])
    around = np.isin(parts[~unpadded], edges[edges > 0]).mean()
    return bool(around < 0.5) or len(np.unique(containers[~unpadded])) > MANY_PADDED


def used_codes(containers: Containers, shape: Layout, shown: Display) -> tuple[Bool, int] | None:
    """(2^bits,) the codes of the depth that the pixels use, padding aside, and that depth; None
    where it is the stored one."""
    if shape.bits_stored < USUAL_BITS[0] + UNUSED_BITS:
        return None
    if shown.padded is None and not shape.signed:  # as nearly all; a histogram takes its time
        most = int(containers.max()) >> shape.shift & (2**shape.bits_stored - 1)
        if most >= 2 ** (shape.bits_stored - UNUSED_BITS) and not shape.shift:
            return None
    codes = np.bincount((containers.ravel() >> shape.shift) & (2**shape.bits_stored - 1))
    there = np.zeros(2**shape.bits_stored, bool)
    there[: len(codes)] = codes > 0
    if shown.padded is not None:
        there &= ~shown.padded
    values = stored_values(shape)
    bits = used_bits(values[there].astype(np.int64), shape)
    if bits is None:
        return None
    low, high = (
        (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if values[there].min() < 0 else (0, 2**bits - 1)
    )
    return (values >= low) & (values <= high), bits


class Displayed(NamedTuple):
    """A frame as it is displayed."""

    grey: Float32
    unpadded: Bool | None
    shown: Display
    bits: int  # that its values have
    warnings: tuple[str, ...]


def displayed(containers: Containers, shape: Layout, show: Callable[..., Display]) -> Displayed:
    """To grey; padding values amid the image are none, bits that hold nothing do not count.

    Args:
        show: `display` of the frame's header; takes `used`.
    """
    shown, bits, warnings = show(), shape.bits_stored, tuple[str, ...]()
    grey, unpadded = to_grey(containers, shape, shown)
    if is_amid(containers, unpadded):
        shown = replace(shown, padded=None)
        warnings = ("its padding values lie amid the image: not used",)
        grey, unpadded = to_grey(containers, shape, shown)
    if shown.is_full_range and (used := used_codes(containers, shape, shown)):
        codes, bits = used
        warnings += (f"its {shape.bits_stored} bits hold values of {bits} bits: read as so many",)
        shown = replace(show(used=codes), padded=shown.padded)
        grey, unpadded = to_grey(containers, shape, shown)
    return Displayed(grey=grey, unpadded=unpadded, shown=shown, bits=bits, warnings=warnings)


class Clipped(NamedTuple):
    """What a window cut away."""

    black: float  # share of the pixels at 0
    white: float  # share at 1
    lost: bool  # nearly all of them


def clipped(grey: Float32, containers: Containers, shown_part: Bool | None) -> Clipped:
    """How much of an image lies at the ends of its window.

    Not counted are padding and shutters, but frames are: what a window has made white looks like
    one. A pixel is lost where others of another stored value have the same grey; an empty black
    background of one value is not.
    """
    count = grey.size if shown_part is None else max(1, int(np.count_nonzero(shown_part)))
    ends = [grey <= 0, grey >= 1]
    if shown_part is not None:
        ends = [end & shown_part for end in ends]
    black, white = (int(np.count_nonzero(end)) for end in ends)
    lost = black + white
    if lost > LOST_SHARE * count:  # seldom: only then is a closer look worth its time
        lost -= sum(_largest_group(containers[end]) for end in ends)
    return Clipped(black / count, white / count, lost > LOST_SHARE * count)


def _largest_group(codes: NDArray[Any]) -> int:
    """How many have the commonest value."""
    return int(np.bincount(codes).max()) if codes.size else 0
