"""The pixel element of a file -> grey pixels in their containers, native or compressed.

What the pixels are, they show themselves; a transfer syntax that says otherwise is noted where
their content is certain, and refused where it is not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
from pydicom.uid import UID

from hilum.core.errors import UnreadableRefused, UnsupportedRefused
from hilum.dicom import codecs, image
from hilum.dicom.depth import Settled, settle_native, settle_stream
from hilum.dicom.header import Header
from hilum.dicom.part10 import NATIVE, Parsed, PixelElement
from hilum.dicom.stream import Stream, begins, describe, fragments
from hilum.dicom.syntaxes import RLE_LOSSLESS, supported

_ITEM = b"\xfe\xff\x00\xe0"
LINES = 24  # that are compared with their neighbours
SHEARED = 3  # times as large are the steps between lines; of radiographs at most .5


@dataclass(frozen=True, slots=True)
class Frame:
    """One grey frame, its true layout, who decoded it, and what had to be noted."""

    containers: image.Containers
    layout: image.Layout
    decoder: str
    warnings: tuple[str, ...]


def frame(parsed: Parsed, shape: image.Layout, plugin: str | None = None) -> Frame:
    """Decode the one frame of a file; `plugin` forces one decoder of `codecs.plugins`.

    Raises:
        UnreadableRefused: damaged, or not what its transfer syntax says.
        UnsupportedRefused: compressed as no installed decoder reads, or in colour.
    """
    element = parsed.pixels
    assert element is not None
    compressed = _compressed(element, parsed.label or parsed.syntax, shape)
    if compressed is None:
        return _native(element, parsed, shape)
    stream, content = compressed
    decoded, decoder = codecs.decode(content, stream, shape, plugin)
    containers = cast(image.Containers, decoded)
    if shape.samples == 3:
        containers = image.grey_of_colour(containers, shape.photometric, converted=True)
    if stream.codec == RLE_LOSSLESS:
        settled = settle_native(containers, shape, _has_overlay_bits(parsed.header))
    else:
        settled = settle_stream(containers, stream, shape)
    return _frame(settled, decoder, _label_warning(parsed.label or parsed.syntax, stream))


def _native(element: PixelElement, parsed: Parsed, shape: image.Layout) -> Frame:
    array, long = image.native(element, shape, parsed.little)
    if shape.samples == 1:
        _check_sides(array)
    if shape.samples == 3:
        if parsed.header.integer("PlanarConfiguration", 0) == 1:
            array = np.moveaxis(array.reshape(3, shape.rows, shape.columns), 0, -1)
        array = image.grey_of_colour(array, shape.photometric, converted=False)
    settled = settle_native(array, shape, _has_overlay_bits(parsed.header))
    return _frame(settled, "native", _label_warning(parsed.label or parsed.syntax, None) + long)


def _check_sides(array: image.Containers) -> None:
    """Neighbouring lines of an image are alike, those of a sheared one are not.

    Raises:
        UnreadableRefused: Rows and Columns have changed places.
    """
    rows, columns = array.shape
    if rows == columns or min(rows, columns) < 2 * LINES:
        return

    def steps(lines: image.Containers) -> float:
        some = lines[:: max(1, len(lines) // LINES)][:-1].astype(np.int32)
        beside = lines[1 :: max(1, len(lines) // LINES)][: len(some)].astype(np.int32)
        return float(np.abs(some[: len(beside)] - beside).mean())

    own, other = steps(array), steps(array.reshape(columns, rows))
    if own > SHEARED * other and other > 0:
        raise UnreadableRefused(
            "",
            f"{rows} rows of {columns} pixels shear the image, {columns} of {rows} do not: Rows "
            "and Columns have changed places.",
            "Export it again.",
        )


def _frame(settled: Settled, decoder: str, warnings: tuple[str, ...]) -> Frame:
    return Frame(
        containers=settled.containers,
        layout=settled.layout,
        decoder=decoder,
        warnings=warnings + settled.warnings,
    )


def _compressed(
    element: PixelElement, syntax: str, shape: image.Layout
) -> tuple[Stream, bytes] | None:
    """What kind of compressed frame it is, and the frame; None for native pixels."""
    value, need = element.value, shape.native_bytes
    if not element.encapsulated and need <= len(value) <= need + 1:
        return None
    content = bytes(value)
    if element.encapsulated or content[:4] == _ITEM:
        parts = [bytes(part) for part in fragments(value)]
        if (count := sum(map(begins, parts))) > 1:
            raise UnsupportedRefused(
                "", f"its compressed pixels are {count} images.", "Send single images."
            )
        content = b"".join(parts)
        if not content:
            raise UnreadableRefused("", "its compressed pixels are empty.", "Export it again.")
    stream = describe(content)
    if stream is not None:
        return stream, content
    if syntax in NATIVE and not element.encapsulated:
        return None
    if syntax not in NATIVE and syntax not in supported():
        raise UnsupportedRefused(
            "", "no decoder reads its transfer syntax.", "Export it uncompressed."
        )
    came = f"compressed as none that we know ({len(content)} bytes)"
    if not element.encapsulated:
        came = f"not compressed, and {len(content)} bytes where {need} are needed"
    raise UnreadableRefused(
        "", f"its transfer syntax says {_name(syntax)}, its pixels are {came}.", "Export it again."
    )


def _label_warning(syntax: str, stream: Stream | None) -> tuple[str, ...]:
    fits = syntax in NATIVE if stream is None else stream.is_of(syntax)
    if fits:
        return ()
    pixels = "not compressed" if stream is None else stream.codec
    return (f"its transfer syntax says {_name(syntax)}, its pixels are {pixels}",)


def _name(syntax: str) -> str:
    name = UID(syntax).name
    return name if name != syntax else "one we do not know"


def _has_overlay_bits(header: Header) -> bool:
    """Whether overlays of the old kind lie in unused bits of the pixels (60xx,0102)."""
    groups = range(0x6000, 0x6020, 2)
    return any(
        (group, 0x0010) in header.dataset and (group, 0x3000) not in header.dataset
        for group in groups
    )
