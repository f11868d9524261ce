"""Small files that would be large (gate 2): refused with a type, in a child that stays below its
limits, while the parent hardly grows. And names in files appear nowhere (gate 11)."""

from __future__ import annotations

import gc
import logging
import pickle
import random
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from pydicom import uid as uids

from helpers.dicom_files import dataset, encode, image, stored, to_bytes
from helpers.fuzzing import mutated, mutations
from hilum.core.errors import InputRefused, LimitRefused, UnreadableRefused
from hilum.dicom.guard import open_guarded
from hilum.dicom.limits import Limits
from hilum.dicom.read import read

GREY = stored((30, 20))
PARENT_KB = 50 * 1024
LIMITS = Limits(inflated_bytes=16 * 2**20)


def _png_chunk(kind: bytes, body: bytes) -> bytes:
    return len(body).to_bytes(4) + kind + body + zlib.crc32(kind + body).to_bytes(4)


def _png(height: int, width: int, bits: int, body: bytes, *more: bytes) -> bytes:
    head = _png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0))
    data = _png_chunk(b"IDAT", body)
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(more) + data + _png_chunk(b"IEND", b"")


def png_of_a_gigapixel() -> bytes:
    return _png(32000, 32000, 8, zlib.compress(bytes(2**20), 9))


def png_of_a_single_endless_row() -> bytes:
    """Below the limit of pixels, but whatever looks at each column would not end."""
    return _png(1, 60_000_000, 8, zlib.compress(bytes(60_000_001), 9))


def png_that_inflates_beyond_its_size() -> bytes:
    return _png(30, 20, 16, zlib.compress(bytes(64 * 2**20), 9))


def png_with_a_text_that_inflates() -> bytes:
    text = _png_chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(64 * 2**20), 9))
    return _png(30, 20, 8, zlib.compress(bytes(21 * 30)), text)


def jpeg_that_says_65535_squared() -> bytes:
    data = bytes(imagecodecs.jpeg8_encode(GREY))
    at = data.index(b"\xff\xc0")
    return data[: at + 5] + b"\xff\xff\xff\xff" + data[at + 9 :]


def deflated_zeros() -> bytes:
    start = image(GREY, 8, uids.DeflatedExplicitVRLittleEndian)
    head = start[: start.index(b"1.2.840.10008.1.2.1.99") + 22]
    engine = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    return head + engine.compress(bytes(64 * 2**20)) + engine.flush()


def gzip_of_zeros() -> bytes:
    engine = zlib.compressobj(9, wbits=31)
    return engine.compress(bytes(64 * 2**20)) + engine.flush()


def rle_that_inflates_beyond_its_size() -> bytes:
    runs = b"\x81\0" * 2_000_000  # 128 zeros each: 256 MB
    frame = struct.pack("<16I", 1, 64, *[0] * 14) + runs
    return to_bytes(dataset(GREY), None, uids.RLELossless, frame=frame)


def rle_too_short_for_its_size() -> bytes:
    frame = struct.pack("<16I", 1, 64, *[0] * 14) + b"\x81\0" * 10
    ds = dataset(GREY, Rows=8000, Columns=8000)
    return to_bytes(ds, None, uids.RLELossless, frame=frame)


def jpeg_2000_that_says_65535_squared() -> bytes:
    frame = bytearray(encode(GREY, 8, uids.JPEG2000))
    at = frame.index(b"\xff\x4f\xff\x51") + 8
    frame[at : at + 8] = struct.pack(">II", 65535, 65535)
    ds = dataset(GREY, Rows=65535, Columns=65535)
    return to_bytes(ds, None, uids.JPEG2000, frame=bytes(frame))


def jpeg_2000_of_a_million_tiles() -> bytes:
    frame = bytearray(encode(stored((2000, 2000)), 8, uids.JPEG2000))
    at = frame.index(b"\xff\x4f\xff\x51") + 8
    frame[at + 16 : at + 24] = struct.pack(">II", 2, 2)
    return to_bytes(dataset(np.zeros((2000, 2000), np.uint8)), None, uids.JPEG2000, frame=frame)


def tiny_pixels_under_65535_squared() -> bytes:
    return image(GREY, Rows=65535, Columns=65535)


BOMBS: list[Callable[[], bytes]] = [
    png_of_a_gigapixel,
    png_of_a_single_endless_row,
    png_with_a_text_that_inflates,
    jpeg_that_says_65535_squared,
    deflated_zeros,
    gzip_of_zeros,
    rle_that_inflates_beyond_its_size,
    rle_too_short_for_its_size,
    jpeg_2000_that_says_65535_squared,
    jpeg_2000_of_a_million_tiles,
    tiny_pixels_under_65535_squared,
]


def resident_kb() -> int:
    gc.collect()
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0])


@pytest.mark.parametrize("bomb", BOMBS, ids=lambda b: b.__name__)
def test_bombs_are_refused_and_the_parent_hardly_grows(bomb: Callable[[], bytes]) -> None:
    data = bomb()
    assert len(data) < 5 * 2**20
    open_guarded(image(GREY)).radiograph()  # the child has started
    before = resident_kb()
    with pytest.raises((LimitRefused, UnreadableRefused)) as caught:
        open_guarded(data, limits=LIMITS, memory_bytes=2**30, timeout_s=10).radiograph()
    assert resident_kb() - before < PARENT_KB
    assert "takes longer" not in str(caught.value)
    assert "crashes" not in str(caught.value)


def test_what_follows_the_pixels_of_a_png_is_not_inflated() -> None:
    before = resident_kb()
    assert read(png_that_inflates_beyond_its_size()).pixels.shape == (30, 20)
    assert resident_kb() - before < PARENT_KB


@pytest.mark.parametrize(
    "content", [pickle.dumps({"a": 1}), b"{}", (1 << 40).to_bytes(8, "little") + b'{"__'], ids=str
)
def test_files_that_run_code_elsewhere_are_only_no_image(content: bytes) -> None:
    with pytest.raises(UnreadableRefused, match="neither DICOM nor PNG"):
        read(content)


CANARY = "CANARYNAME"


@pytest.mark.parametrize("number", range(3))
def test_names_in_a_file_are_in_no_log_error_or_output(
    number: int, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """At every level, for whole and for damaged files."""
    whole = image(
        GREY,
        PatientName=CANARY,
        PatientID=CANARY,
        StudyDescription=CANARY,
        OperatorsName=CANARY,
        ImageComments=CANARY,
        InstitutionName=CANARY,
        WindowCenter="8",
        WindowWidth="8",
    )
    rng = random.Random(number)
    caplog.set_level(logging.DEBUG)
    texts = []
    for _ in range(100):
        try:
            texts.append(repr(read(mutated(whole, mutations(rng))).decoding))
        except InputRefused as error:
            texts.append(str(error))
    texts += [caplog.text, *capfd.readouterr()]
    assert CANARY not in "".join(texts)
