"""A file whose transfer syntax is not what it says: read where its content is certain, and said."""

from __future__ import annotations

import itertools
import re
import zlib
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from pydicom import uid as uids
from pydicom.dataset import FileMetaDataset
from pydicom.filewriter import write_file_meta_info

from helpers.dicom_files import (
    LOSSLESS,
    UNCOMPRESSED,
    dataset,
    encode,
    image,
    stored,
    to_bytes,
)
from hilum.core.errors import InputRefused, UnreadableRefused
from hilum.dicom.part10 import _file_meta
from hilum.dicom.read import read

PIXELS = stored((64, 48), 12)
WANT = read(image(PIXELS, 12)).pixels


def relabelled(file: bytes, syntax: str) -> bytes:
    """The same data set under a file header that names another transfer syntax."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = uids.UID(syntax)
    meta.MediaStorageSOPClassUID = uids.ComputedRadiographyImageStorage
    meta.MediaStorageSOPInstanceUID = "1.2.3"
    out = BytesIO()
    write_file_meta_info(out, meta, enforce_standard=True)
    return bytes(128) + b"DICM" + out.getvalue() + file[_file_meta(file)[0] :]


def label_warning(file: bytes) -> str:
    return "; ".join(w for w in read(file).decoding.warnings if "transfer syntax" in w)


@pytest.mark.parametrize(
    ("label", "is_"),
    list(itertools.permutations(UNCOMPRESSED, 2)),
    ids=lambda s: s.keyword,
)
def test_data_sets_in_another_encoding_than_named(label: Any, is_: Any) -> None:
    file = relabelled(image(PIXELS, 12, is_), label)
    np.testing.assert_array_equal(read(file).pixels, WANT)
    assert (
        label_warning(file) == f"its transfer syntax says {label.name}, its data set is {is_.name}"
    )


@pytest.mark.parametrize("syntax", UNCOMPRESSED, ids=lambda s: s.keyword)
def test_right_labels_are_no_warning(syntax: Any) -> None:
    assert read(image(PIXELS, 12, syntax)).decoding.warnings == ()


@pytest.mark.parametrize("syntax", LOSSLESS, ids=lambda s: s.keyword)
def test_right_labels_of_compressed_frames_are_no_warning(syntax: Any) -> None:
    assert label_warning(image(PIXELS, 12, syntax)) == ""


@pytest.mark.parametrize("label", [uids.ExplicitVRLittleEndian, uids.ImplicitVRLittleEndian])
@pytest.mark.parametrize("is_", LOSSLESS, ids=lambda s: s.keyword)
def test_compressed_frames_that_are_called_uncompressed(label: Any, is_: Any) -> None:
    file = relabelled(image(PIXELS, 12, is_), label)
    np.testing.assert_array_equal(read(file).pixels, read(image(PIXELS, 12, is_)).pixels)
    assert f"says {label.name}, its pixels are " in label_warning(file)


@pytest.mark.parametrize(
    ("label", "is_", "name"),
    [
        (uids.JPEGBaseline8Bit, uids.JPEG2000Lossless, "JPEG 2000"),
        (uids.JPEG2000, uids.JPEGLosslessSV1, "JPEG Lossless"),
        (uids.JPEGLosslessSV1, uids.JPEGLSLossless, "JPEG-LS"),
        (uids.JPEGLSLossless, uids.JPEGLosslessSV1, "JPEG Lossless"),
        (uids.RLELossless, uids.JPEGLSLossless, "JPEG-LS"),
        (uids.JPEG2000Lossless, uids.RLELossless, "RLE Lossless"),
        (uids.JPEG2000Lossless, uids.HTJ2KLossless, "High-Throughput JPEG 2000"),
        (uids.HTJ2KLossless, uids.JPEG2000Lossless, "JPEG 2000"),
        (uids.MPEG2MPML, uids.JPEG2000Lossless, "JPEG 2000"),
    ],
    ids=lambda s: getattr(s, "keyword", s),
)
def test_frames_of_another_codec_than_named(label: Any, is_: Any, name: str) -> None:
    file = relabelled(image(PIXELS, 12, is_), label)
    np.testing.assert_array_equal(read(file).pixels, read(image(PIXELS, 12, is_)).pixels)
    assert label_warning(file) == f"its transfer syntax says {label.name}, its pixels are {name}"


def test_a_twelve_bit_jpeg_called_baseline_is_said() -> None:
    file = relabelled(image(PIXELS, 12, uids.JPEGExtended12Bit), uids.JPEGBaseline8Bit)
    np.testing.assert_allclose(read(file).pixels, WANT, atol=8 / 4095)
    assert "its pixels are JPEG Extended" in label_warning(file)
    eight = stored((64, 48))
    fine = relabelled(image(eight, 8, uids.JPEGBaseline8Bit), uids.JPEGExtended12Bit)
    assert label_warning(fine) == ""  # baseline is a part of the extended process


@pytest.mark.parametrize("syntax", LOSSLESS, ids=lambda s: s.keyword)
def test_uncompressed_pixels_that_are_called_compressed(syntax: Any) -> None:
    file = relabelled(image(PIXELS, 12), syntax)
    np.testing.assert_array_equal(read(file).pixels, WANT)
    assert "its pixels are not compressed" in label_warning(file)


@pytest.mark.parametrize("syntax", [uids.JPEG2000Lossless, uids.JPEGLSLossless])
def test_a_bare_frame_without_fragments_is_read(syntax: Any) -> None:
    ds = dataset(PIXELS, 12)
    frame = encode(PIXELS, 12, syntax)
    ds.PixelData = frame + b"\0" * (len(frame) % 2)
    ds["PixelData"].VR = "OB"
    file = relabelled(to_bytes(ds), syntax)
    np.testing.assert_array_equal(read(file).pixels, WANT)


@pytest.mark.parametrize("syntax", [uids.JPEG2000Lossless, uids.ExplicitVRLittleEndian])
def test_pixels_that_are_no_codec_we_know_say_both(syntax: Any) -> None:
    noise = np.random.default_rng(0).bytes(500)
    file = relabelled(to_bytes(dataset(PIXELS, 12), None, uids.JPEG2000, frame=noise), syntax)
    name = re.escape(syntax.name)
    with pytest.raises(UnreadableRefused, match=f"says {name}, its pixels are compressed as none"):
        read(file)


def test_uncompressed_pixels_of_the_wrong_length_called_compressed_say_both() -> None:
    file = relabelled(image(PIXELS, 12, Rows=60), uids.JPEG2000)
    with pytest.raises(UnreadableRefused, match=r"JPEG 2000 .*, its pixels are not compressed"):
        read(file)


def test_a_deflated_data_set_behind_a_zlib_header_or_cut_off_is_refused() -> None:
    plain = image(PIXELS, 12)
    start = _file_meta(plain)[0]
    for body in (zlib.compress(plain[start:]), b"\x01\x02\x03\x04" * 20):
        with pytest.raises(InputRefused):
            read(relabelled(plain[:start] + body, uids.DeflatedExplicitVRLittleEndian))
