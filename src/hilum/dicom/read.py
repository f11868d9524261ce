"""A path, bytes or stream -> Radiograph, or a typed refusal.

The one border where foreign exceptions become ours. Knows formats by their content, never by
name; does not judge whether the picture is a chest (see gate.py) and expands no folders (see
discover.py).
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
from pydicom.uid import UID

from hilum.core.errors import (
    InputRefused,
    LimitRefused,
    NotFoundRefused,
    UnreadableRefused,
    UnsupportedRefused,
)
from hilum.core.radiograph import Decoding, Identifiers, Radiograph
from hilum.dicom import codecs, image, masks, pixels, raster
from hilum.dicom.header import Header, quiet
from hilum.dicom.limits import Limits
from hilum.dicom.part10 import NATIVE, Parsed, looks_like_dicom, parse

Bytes = bytes | bytearray | memoryview
Source = str | os.PathLike[str] | Bytes | BinaryIO | tuple[str, bytes]
Window = tuple[float, float]

OWN_MARK = "hilum"  # what our results begin their ManufacturerModelName with
_AGE = re.compile(r"(\d{1,3})([DWMY]?)")
_YEARS = {"D": 1 / 365.25, "W": 7 / 365.25, "M": 1 / 12, "Y": 1.0, "": 1.0}
_DESCRIPTIONS = ("StudyDescription", "SeriesDescription", "ProtocolName")
_SPACINGS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")
NO_MEMORY = "it needs more memory than there is."
DEFAULT_LIMITS = Limits()


def read(
    source: Source,
    *,
    limits: Limits = DEFAULT_LIMITS,
    window: Window | None = None,
    voi_index: int = 0,
) -> Radiograph:
    """Read one image.

    Args:
        source: path, bytes, binary stream, or (name, bytes).
        window: (centre, width) in modality units, used instead of the file's own VOI.
        voi_index: which VOI LUT or window, where a file has several.

    Returns:
        Pixels (H, W) float32 in [0, 1], air dark, and what the header says about them.

    Raises:
        InputRefused: one of its kinds, naming the file, the reason and the remedy.
    """
    name, data = load(source, limits)
    try:
        return _read(name, data, limits, window, voi_index)
    except InputRefused as error:
        raise named(error, name) from error.__cause__
    except MemoryError as error:
        raise LimitRefused(name, NO_MEMORY) from error
    except RecursionError as error:
        raise LimitRefused(name, "it is nested too deep.") from error
    except Exception as error:
        if isinstance(error, cv2.error) and error.code == cv2.Error.StsNoMem:
            raise LimitRefused(name, NO_MEMORY) from error
        # Parsers of hostile bytes raise anything; nothing of it may pass this border.
        raise UnreadableRefused(name, "it is damaged.", "Copy or export it again.") from error


def named(error: InputRefused, name: str) -> InputRefused:
    """The same refusal with the name of its source."""
    return type(error)(error.source or name, error.reason, error.remedy)


def load(source: Source, limits: Limits) -> tuple[str, bytes]:
    """Name and bytes of a source, never more than the limit.

    Raises:
        InputRefused: no such file, a folder, empty, or too large.
    """
    if isinstance(source, Bytes):
        name, data = "bytes", bytes(source)
    elif isinstance(source, tuple):
        name, data = source
    elif isinstance(source, (str, os.PathLike)):
        name = os.fspath(source)
        data = _load_path(name, limits)
    elif not hasattr(source, "read"):
        raise TypeError(f"{type(source).__name__}; needed: a path, bytes or a binary stream")
    else:
        name = str(getattr(source, "name", "stream"))
        data = source.read(limits.file_bytes + 1)
    if len(data) > limits.file_bytes:
        raise LimitRefused(
            name, f"it is larger than {limits.file_bytes >> 20} MiB.", "Raise the limit."
        )
    if not data:
        raise UnreadableRefused(name, "it is empty.", "Copy it again.")
    return name, data


def _load_path(name: str, limits: Limits) -> bytes:
    if Path(name).is_dir():
        raise UnreadableRefused(name, "it is a folder.", "Name a file, or use discover().")
    if os.path.exists(name) and not os.path.isfile(name):  # a pipe could block for ever
        raise UnreadableRefused(name, "it is a device or pipe.", "Copy it to a file first.")
    try:
        with open(name, "rb") as stream:
            return stream.read(limits.file_bytes + 1)
    except FileNotFoundError as error:
        raise NotFoundRefused(name, "there is no such file.", "Check the path.") from error
    except (OSError, ValueError) as error:
        raise NotFoundRefused(name, "it cannot be opened.", "Check its permissions.") from error


def _read(
    name: str, data: bytes, limits: Limits, window: Window | None, voi_index: int
) -> Radiograph:
    with quiet():
        kind = raster.sniff(data)
        if kind is not None:
            return _raster(name, data, kind, limits)
        if looks_like_dicom(data):
            return radiograph(name, parse(data, limits), limits, window, voi_index)
    if data[:4] == b"PK\x03\x04":
        raise UnreadableRefused("", "it is a zip.", "Name a file in it, or use discover().")
    raise UnreadableRefused(
        "", "it is neither DICOM nor PNG, JPEG or WebP.", "Export it as one of these."
    )


def _raster(name: str, data: bytes, kind: str, limits: Limits) -> Radiograph:
    grey, bits = raster.read_raster(data, kind, limits)
    return Radiograph(
        pixels=grey,
        source=name,
        decoding=Decoding(
            kind, decoder="imagecodecs" if bits == 16 else "pillow", bits_stored=bits
        ),
        valid=masks.border_mask(grey),
    )


def radiograph(
    name: str,
    parsed: Parsed,
    limits: Limits,
    window: Window | None = None,
    voi_index: int = 0,
    plugin: str | None = None,
) -> Radiograph:
    """Decode a parsed DICOM file. `plugin` forces one decoder of `codecs.plugins`."""
    header = parsed.header
    if parsed.pixels is None:
        kind = UID(header.text("SOPClassUID") or "").name
        if "Image Storage" in kind or header.has("Rows"):
            raise UnreadableRefused("", "it is cut off before its pixels.", "Copy it again.")
        raise UnsupportedRefused("", "it holds no picture.", "Send the image object.")
    shape = image.layout(header, limits)
    shown = pixels.display(header, shape, window, voi_index)
    containers, shape, decoder = _containers(parsed, shape, plugin)
    grey, unpadded = pixels.to_grey(containers, shape, shown)
    border = masks.border_mask(grey)
    shutter = masks.shutter(header, shape.rows, shape.columns)
    if shutter is not None:
        grey[~shutter] = 0
    spacing, spacing_source = _spacing(header)
    return Radiograph(
        pixels=grey,
        source=name,
        ids=_identifiers(header),
        decoding=Decoding(
            "dicom", parsed.syntax, decoder, shape.photometric, shape.bits_stored, shown.voi
        ),
        spacing_mm=spacing,
        spacing_source=spacing_source,
        view=header.code("ViewPosition"),
        modality=header.code("Modality"),
        sex=header.code("PatientSex"),
        age_years=_age(header),
        patient_orientation=_orientation(header),
        flipped_horizontally=header.code("FieldOfViewHorizontalFlip") == "YES",
        body_part=header.code("BodyPartExamined"),
        descriptions=tuple(filter(None, map(header.text, _DESCRIPTIONS))),
        sop_class=header.text("SOPClassUID"),
        own_result=_is_own(header),
        valid=masks.combine(unpadded, shutter, border),
    )


def _containers(
    parsed: Parsed, shape: image.Layout, plugin: str | None
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


def _identifiers(header: Header) -> Identifiers:
    return Identifiers(
        patient_id=header.text("PatientID"),
        study_instance_uid=header.text("StudyInstanceUID"),
        series_instance_uid=header.text("SeriesInstanceUID"),
        sop_instance_uid=header.text("SOPInstanceUID"),
    )


def _spacing(header: Header) -> tuple[tuple[float, float] | None, str | None]:
    """The first usable of three, in the order of how well they fit the patient's plane."""
    for keyword in _SPACINGS:
        numbers = header.numbers(keyword)
        if numbers and len(numbers) == 2 and min(numbers) > 0:
            return (numbers[0], numbers[1]), keyword
    return None, None


def _age(header: Header) -> float | None:
    """'064Y', '006M', and the bare '64' that public data sets write."""
    match = _AGE.fullmatch((header.code("PatientAge") or "").strip())
    return int(match[1]) * _YEARS[match[2]] if match else None


def _orientation(header: Header) -> tuple[str, str] | None:
    codes = header.codes("PatientOrientation")
    return (codes[0], codes[1]) if len(codes) == 2 and all(codes) else None


def _is_own(header: Header) -> bool:
    marks = (header.text("ManufacturerModelName"), header.text("SeriesDescription"))
    return any((mark or "").lower().startswith(OWN_MARK) for mark in marks)
