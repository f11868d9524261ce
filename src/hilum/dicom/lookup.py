"""Modality and VOI transformations as functions of an array (PS3.3 C.11.1, C.11.2).

Knows the formulas; knows nothing of images. All in float64, so that a table made of them is exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from hilum.core.errors import UnreadableRefused, UnsupportedRefused
from hilum.dicom.header import Header

Float64 = NDArray[np.float64]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Table:
    """One item of a Modality or VOI LUT sequence."""

    first: int  # the input value that gets the first entry
    bits: int  # the output's range is 0..2^bits - 1
    entries: Float64

    def apply(self, values: Float64) -> Float64:
        """Inputs before the first and behind the last entry get those entries (C.11.1.1)."""
        index = np.clip(np.rint(values) - self.first, 0, len(self.entries) - 1)
        return np.asarray(self.entries[index.astype(np.intp)])


def read_table(item: Header, inputs: Float64) -> Table:
    """A LUT item for inputs of the given range.

    LUTDescriptor's first mapped value is signed when its VR says so, and also when inputs can be
    negative and the unsigned reading lies beyond all of them (many writers store SS as US).

    Raises:
        UnreadableRefused: no descriptor, or fewer data than it says.
    """
    numbers = item.numbers("LUTDescriptor")
    if not numbers or len(numbers) < 3:
        raise UnreadableRefused("", "a LUTDescriptor is missing or damaged.")
    count, first, bits = (int(n) & 0xFFFF for n in numbers[:3])
    count = count or 65536
    says_signed = item.vr("LUTDescriptor") == "SS"
    beyond = inputs.min() < 0 and first > inputs.max()
    if first >= 0x8000 and (says_signed or beyond):
        first -= 0x10000
    entries = _entries(item, count, bits)
    # Writers who declare 12 bits and store 16 exist; a clipped image would be white.
    bits = max(bits, int(entries.max()).bit_length(), 1)
    return Table(first, bits, entries.astype(np.float64))


def _entries(item: Header, count: int, bits: int) -> NDArray[np.integer[Any]]:
    raw = item.value_bytes("LUTData")
    if len(raw) >= 2 * count:
        return np.frombuffer(raw[: 2 * count], "<u2" if item.little else ">u2")
    if bits <= 8 and len(raw) >= count:
        if not item.little and item.vr("LUTData") != "OB" and len(raw) % 2 == 0:
            raw = np.frombuffer(raw, "<u2").byteswap().tobytes()
        return np.frombuffer(raw[:count], np.uint8)
    raise UnreadableRefused("", f"a LUT of {count} entries has {len(raw)} bytes of data.")


def modality(header: Header, values: Float64) -> tuple[Float64, tuple[str, ...]]:
    """Stored values through the Modality LUT sequence, else RescaleSlope and RescaleIntercept.

    A file may have one of the two (C.11.1); of one with both, that is said.

    Raises:
        UnreadableRefused: a slope of 0, or numbers that are none.
    """
    items = header.items("ModalityLUTSequence")
    slope, intercept = header.numbers("RescaleSlope"), header.numbers("RescaleIntercept")
    if items:
        twice = slope not in ((), (1.0,)) or intercept not in ((), (0.0,))
        text = "it has a Modality LUT and a rescale slope or intercept: the LUT is used"
        return read_table(items[0], values).apply(values), (text,) if twice else ()
    if slope is None or intercept is None or (slope and slope[0] == 0):
        raise UnreadableRefused("", "RescaleSlope or RescaleIntercept is no usable number.")
    return values * (slope[0] if slope else 1.0) + (intercept[0] if intercept else 0.0), ()


def window(values: Float64, centre: float, width: float, function: str = "LINEAR") -> Float64:
    """A window to [0, 1] by the formulas of C.11.2.1.2.1 and C.11.2.1.3."""
    if function == "SIGMOID":
        power = np.clip(-4 * (values - centre) / width, -700, 700)
        return np.asarray(1 / (1 + np.exp(power)))
    if function == "LINEAR_EXACT":
        low, high = centre - width / 2, centre + width / 2
        inside = (values - centre) / width + 0.5
    else:
        low, high = centre - 0.5 - (width - 1) / 2, centre - 0.5 + (width - 1) / 2
        inside = (values - (centre - 0.5)) / max(width - 1, 1e-300) + 0.5
    out = np.where(values <= low, 0.0, np.where(values > high, 1.0, inside))
    return np.asarray(np.clip(out, 0.0, 1.0))


@dataclass(frozen=True, slots=True)
class Shown:
    """Modality values mapped to [0, 1], what was done, and what the file has amiss."""

    values: Float64
    text: str
    warnings: tuple[str, ...] = ()


def voi(
    header: Header,
    values: Float64,
    override: tuple[float, float] | None,
    index: int,
    *,
    full_range: bool = False,
    used: Float64 | None = None,
) -> Shown:
    """Modality values to [0, 1].

    The standard lets a reader choose between VOI LUTs and windows (C.11.2.1): a LUT is preferred,
    as it is what the maker's own display uses. Of several, the one at `index`; where that is 0,
    the first window that can be used. Without any, the range of all `values` maps to [0, 1], or
    that of the `used` ones.

    Raises:
        UnsupportedRefused: `index` asks for one that the file has not, or that cannot be used.
    """
    if full_range:
        return Shown(_full(values, used), "none (full range asked for)")
    if override is not None:
        text = _window_text(*override, "LINEAR") + " (given)"
        return Shown(window(values, *override), text)
    items = header.items("VOILUTSequence")
    if items:
        table = read_table(_pick(items, index), values)
        return Shown(table.apply(values) / (2**table.bits - 1), f"lut {len(table.entries)}")
    return _windowed(header, values, index, used)


def _windowed(header: Header, values: Float64, index: int, used: Float64 | None) -> Shown:
    function, strange = header.code("VOILUTFunction") or "LINEAR", tuple[str, ...]()
    if function not in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        strange = (f"VOILUTFunction is {function}, which is none: LINEAR is used",)
        function = "LINEAR"
    pairs = _windows(header, function)
    usable = [number for number, pair in enumerate(pairs) if pair is not None]
    number = usable[0] if usable and index == 0 else index
    pair = _pick(pairs, number) if pairs or index else None
    if pair is not None:
        warnings = strange
        if number != index:
            warnings += (f"its first usable window is number {number + 1}",)
        text = _window_text(*pair, function)
        return Shown(window(values, *pair, function), text, warnings)
    if index:
        raise UnsupportedRefused("", f"VOI number {index} is no usable window.", "Use voi_index=0.")
    if not pairs:
        return Shown(_full(values, used), "none")
    warning = "its window is impossible or no number, the full range is used"
    return Shown(_full(values, used), "none (its window is impossible)", (warning,))


def _windows(header: Header, function: str) -> list[tuple[float, float] | None]:
    """Centres and widths by their places; None where one is blank, no number, or too narrow."""
    centres, widths = header.places("WindowCenter"), header.places("WindowWidth")
    pairs: list[tuple[float, float] | None] = []
    for centre, width in zip_longest(centres, widths):
        narrow = width is None or width <= 0 or (width < 1 and function == "LINEAR")
        pairs.append(None if centre is None or width is None or narrow else (centre, width))
    return pairs


def _full(values: Float64, used: Float64 | None) -> Float64:
    whole = values if used is None else used
    low, high = whole.min(), whole.max()
    if high <= low:
        return np.zeros_like(values)
    return np.asarray(np.clip((values - low) / (high - low), 0, 1))


def _pick(choices: list[T], index: int) -> T:
    if not 0 <= index < len(choices):
        raise UnsupportedRefused(
            "", f"VOI number {index} is asked for, it has {len(choices)}.", "Use voi_index=0."
        )
    return choices[index]


def _window_text(centre: float, width: float, function: str) -> str:
    return f"window {centre:g}/{width:g} {function.lower()}"
