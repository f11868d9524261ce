"""Doors of images: DICOM, PNG, JPEG, zips of them, DICOMDIR, de-identification."""

from __future__ import annotations

import tempfile
import warnings
import zipfile
import zlib
from functools import cache
from io import BytesIO
from pathlib import Path

import imagecodecs
import numpy as np
from PIL import Image
from pydicom import uid as uids
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items

from helpers.dicom_files import (
    LOSSLESS,
    UNCOMPRESSED,
    dataset,
    encode,
    image,
    lut,
    stored,
    to_bytes,
)
from helpers.fuzzing.door import Door
from hilum.core.errors import InputRefused
from hilum.dicom.deidentify import deidentify
from hilum.dicom.discover import discover
from hilum.dicom.dump import elements
from hilum.dicom.gate import chest_header_reason
from hilum.dicom.limits import Limits
from hilum.dicom.pseudonyms import Pseudonyms
from hilum.dicom.stored import open_stored

LIMITS = Limits(pixels=4_000_000, inflated_bytes=4 * 2**20)
SECRET = Pseudonyms(b"0" * 32)
SMALL = (16, 12)


def _image(data: bytes) -> str:
    """Everything that is done with one file: header, gate, dump, data set, pixels."""
    opened = open_stored(data, limits=LIMITS)
    chest_header_reason(opened)
    if opened.parsed is not None:
        opened.dataset()
        elements(opened)
    radiograph = opened.radiograph()
    assert 0 <= float(radiograph.pixels.min()) <= float(radiograph.pixels.max()) <= 1
    return "read"


def _deidentified(data: bytes) -> str:
    copy = deidentify(data, SECRET, limits=LIMITS)
    assert copy.data
    return "read"


def _found(name: str, data: bytes) -> str:
    """A container: its items are tried one by one, and may be refused one by one."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_bytes(data)
        Path(folder, "A").write_bytes(_dicom_seeds()[0])
        before = sorted(Path(folder).iterdir())
        refusals = []
        for item in discover([path], LIMITS):
            try:
                item.open(LIMITS).radiograph()
            except InputRefused as error:
                refusals.append(error)
        assert sorted(Path(folder).iterdir()) == before  # nothing is unpacked
    if refusals:
        raise refusals[0]
    return "read"


@cache
def _dicom_seeds() -> list[bytes]:
    small, deep = stored(SMALL), stored(SMALL, 12)
    signed = stored(SMALL, 12, signed=True)
    label = image(small, 8, uids.JPEG2000Lossless)
    seeds = [image(small, 8, s) for s in (*UNCOMPRESSED, *LOSSLESS, uids.JPEGBaseline8Bit)]
    return [
        *seeds,
        image(deep, 12, uids.JPEGExtended12Bit),
        image(
            signed,
            12,
            VOILUTSequence=lut(-2048, 12, range(4096), vr="SS"),
            PixelPaddingValue=-5,
            ShutterShape=["CIRCULAR", "RECTANGULAR"],
            WindowCenter=["4", "9"],
            WindowWidth=["9", "8"],
            SpecificCharacterSet=["", "ISO 2022 IR 87"],
            PatientName="Yamada^Tarou=山田^太郎",
        ),
        image(signed, 12, uids.JPEG2000Lossless, WindowCenter=3, WindowWidth=2),
        label.replace(b"1.2.840.10008.1.2.4.90", b"1.2.840.10008.1.2.4.50"),
        to_bytes(dataset(deep, 10), None, uids.JPEG2000, frame=encode(deep, 12, uids.JPEG2000)),
        to_bytes(dataset(np.stack([small] * 3, axis=-1)), np.stack([small] * 3, axis=-1)),
        image(small, SOPClassUID=uids.ComprehensiveSRStorage),
    ]


def _saved(picture: Image.Image, kind: str, **options: object) -> bytes:
    out = BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


@cache
def _png_seeds() -> list[bytes]:
    grey = Image.fromarray(stored(SMALL))
    exif = Image.Exif()
    exif[0x0112] = 6
    rgba = np.stack([stored(SMALL, 16)] * 4, axis=-1)
    return [
        *(_saved(grey.convert(mode), "PNG", exif=exif) for mode in ("1", "L", "LA", "P", "RGBA")),
        bytes(imagecodecs.png_encode(stored(SMALL, 16))),
        bytes(imagecodecs.png_encode(rgba)),
    ]


@cache
def _jpeg_seeds() -> list[bytes]:
    grey = Image.fromarray(stored(SMALL))
    exif = Image.Exif()
    exif[0x0112] = 3
    deep = stored(SMALL, 12)
    return [
        *(_saved(grey.convert(mode), "JPEG", exif=exif) for mode in ("L", "RGB", "CMYK")),
        _saved(grey, "JPEG", progressive=True),
        bytes(imagecodecs.jpeg8_encode(deep, 95, bitspersample=12)),
        bytes(imagecodecs.jpeg8_encode(deep, lossless=True, bitspersample=12)),
        bytes(imagecodecs.ljpeg_encode(stored(SMALL))),
        _saved(grey, "WEBP", lossless=True),
        _saved(grey.convert("RGBA"), "WEBP"),
    ]


@cache
def _zip_seeds() -> list[bytes]:
    seeds = []
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        out = BytesIO()
        with zipfile.ZipFile(out, "w", method) as archive:
            archive.writestr("a/one.dcm", _dicom_seeds()[0])
            archive.writestr("../two.png", _png_seeds()[0])
            archive.comment = b"none"
        seeds.append(out.getvalue())
    return seeds


@cache
def _directory_seeds() -> list[bytes]:
    records = []
    for parts in (["A"], ["IMAGES", "B"], ["..", "A"]):
        record = Dataset()
        record.DirectoryRecordType = "IMAGE"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom's own, about ".."
            record.ReferencedFileID = parts
        records.append(record)
    ds = Dataset()
    ds.SOPClassUID = uids.MediaStorageDirectoryStorage
    ds.DirectoryRecordSequence = Items(records)
    return [to_bytes(ds), to_bytes(ds, syntax=uids.ImplicitVRLittleEndian)]


def _png_checksums(data: bytes) -> bytes:
    out, at = bytearray(data), 8
    while at + 12 <= len(out):
        end = at + 8 + int.from_bytes(out[at : at + 4])
        if end + 4 > len(out):
            break
        out[end : end + 4] = zlib.crc32(out[at + 4 : end]).to_bytes(4)
        at = end + 4
    return bytes(out)


IMAGES: dict[str, Door] = {
    "DICOM": Door(_dicom_seeds, _image),
    "PNG": Door(_png_seeds, _image, _png_checksums),
    "JPEG, WebP": Door(_jpeg_seeds, _image),
    "zip": Door(_zip_seeds, lambda data: _found("a.zip", data)),
    "DICOMDIR": Door(_directory_seeds, lambda data: _found("DICOMDIR", data)),
    "de-identification": Door(_dicom_seeds, _deidentified),
}
