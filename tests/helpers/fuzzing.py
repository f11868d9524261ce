"""Hostile input for every door that files come through: seeds, mutations, and what may come out.

Shared by tests/dicom/test_fuzz.py (2,000 in every run) and scripts/gates/fuzz.py (100,000).
"""

from __future__ import annotations

import random
import struct
import tempfile
import warnings
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
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

# What breaks parsers: ends of integer ranges, marks of items, ends and frames.
NASTY = (
    *(struct.pack(order + kind, value) for order in "<>" for kind, value in (
        ("H", 0), ("H", 0xFFFF), ("H", 0x7FFF), ("I", 0xFFFFFFFF), ("I", 0x7FFFFFFF), ("I", 1),
    )),
    *(b"\xfe\xff\x00\xe0", b"\xfe\xff\x0d\xe0", b"\xfe\xff\xdd\xe0", b"\xe0\x7f\x10\x00"),
    *(b"SQ", b"UN", b"OB", b"\xff\xd8", b"\xff\xd9", b"\xff\xc3", b"\xff\x4f\xff\x51"),
    *(b"1e999", b"NaN\\", b"\\", b"-1", b"PK\x05\x06", b"IDAT", b"\0" * 8),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Mutation:
    """One change; `at` and `size` are shares of the file, so that it fits any seed."""

    kind: str  # "set", "flip", "nasty", "cut", "repeat", "swap", "end"
    at: float
    size: float
    value: int

    def __call__(self, data: bytes) -> bytes:
        if len(data) < 2:
            return data
        start = min(int(self.at * len(data)), len(data) - 1)
        end = start + 1 + int(self.size * min(64, len(data) - start - 1))
        before, part, after = data[:start], data[start:end], data[end:]
        if self.kind == "set":
            return before + bytes([self.value % 256]) + data[start + 1 :]
        if self.kind == "flip":
            return before + bytes([data[start] ^ 1 << self.value % 8]) + data[start + 1 :]
        if self.kind == "nasty":
            nasty = NASTY[self.value % len(NASTY)]
            return before + nasty + data[start + len(nasty) :]
        if self.kind == "cut":
            return before + after
        if self.kind == "repeat":
            return before + part * 2 + after
        if self.kind == "swap":
            other = self.value * 7919 % len(data)
            return before + data[other : other + len(part)] + after
        return data[: max(1, start)]


KINDS = ("set", "flip", "nasty", "nasty", "cut", "repeat", "swap", "end")


def mutations(rng: random.Random) -> list[Mutation]:
    """One to sixteen changes, mostly few; cutting the end off is rare."""
    count = rng.choice((1, 1, 1, 2, 2, 4, 16))
    kinds = [k for k in KINDS if k != "end" or rng.random() < 0.3]
    return [
        Mutation(rng.choice(kinds), rng.random(), rng.random() ** 3, rng.randrange(1 << 16))
        for _ in range(count)
    ]


def mutated(data: bytes, changes: Sequence[Mutation]) -> bytes:
    for change in changes:
        data = change(data)
    return data


# --- Doors ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Door:
    """A way in: what is well-formed there, and what a caller does with it."""

    seeds: Callable[[], list[bytes]]
    enter: Callable[[bytes], str]  # "read", or raises InputRefused
    repair: Callable[[bytes], bytes] = bytes  # checksums made right, so that more is reached

    def mutant(self, rng: random.Random) -> bytes:
        """A changed seed; every second one with its checksums made right."""
        data = mutated(rng.choice(self.seeds()), mutations(rng))
        return self.repair(data) if rng.random() < 0.5 else data

    def outcome(self, data: bytes) -> str:
        """ "read" or the code of a refusal; anything else is raised and a defect."""
        try:
            return self.enter(data)
        except InputRefused as error:
            if not error.reason or type(error) is InputRefused:
                raise AssertionError("a refusal without a kind or a reason") from error
            return error.code


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


DOORS: dict[str, Door] = {
    "DICOM": Door(_dicom_seeds, _image),
    "PNG": Door(_png_seeds, _image, _png_checksums),
    "JPEG, WebP": Door(_jpeg_seeds, _image),
    "zip": Door(_zip_seeds, lambda data: _found("a.zip", data)),
    "DICOMDIR": Door(_directory_seeds, lambda data: _found("DICOMDIR", data)),
    "de-identification": Door(_dicom_seeds, _deidentified),
}
