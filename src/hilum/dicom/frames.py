"""The pixel element of a file -> grey pixels in their containers, native or compressed."""

from __future__ import annotations

import numpy as np

from hilum.core.errors import UnreadableRefused
from hilum.dicom import codecs, image, pixels
from hilum.dicom.header import Header
from hilum.dicom.part10 import NATIVE, Parsed


def frame(
    parsed: Parsed, shape: image.Layout, plugin: str | None = None
) -> tuple[image.Containers, image.Layout, str]:
    """Grey pixels in their containers, the layout they now have, and who decoded them."""
    element = parsed.pixels
    assert element is not None
    if element.encapsulated == (parsed.syntax in NATIVE):
        raise UnreadableRefused("", "its pixels are not stored as its transfer syntax says.")
    if not element.encapsulated:
        array, decoder = image.native(element, shape, parsed.little), "native"
        if shape.samples == 3 and _is_planar(parsed.header):
            array = np.moveaxis(array.reshape(3, shape.rows, shape.columns), 0, -1)
    else:
        decoded, decoder = codecs.decode(element.value, parsed.syntax, shape, plugin)
        array = pixels.containers_of(decoded, shape)
        # HighBit speaks of native containers; only RLE keeps them as they were.
        if parsed.syntax not in codecs.RLE:
            shape = image.lowest_bits(shape)
    if shape.samples == 3:
        array = image.grey_of_colour(array, shape.photometric, element.encapsulated)
    return array, shape, decoder


def _is_planar(header: Header) -> bool:
    return header.integer("PlanarConfiguration", 0) == 1
