"""Every transfer syntax gives the stored values, through every decoder there is."""

from __future__ import annotations

from importlib.util import find_spec
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from pydicom import uid as uids
from pydicom.filewriter import dcmwrite
from pydicom.pixels.decoders.base import get_decoder

from helpers.dicom_files import (
    LOSSLESS,
    UNCOMPRESSED,
    dataset,
    encode,
    image,
    stored,
    to_bytes,
)
from hilum.core.errors import UnreadableRefused, UnsupportedRefused
from hilum.dicom import codecs
from hilum.dicom.read import read
from hilum.dicom.stored import decode, open_stored

# HTJ2K through imagecodecs' encoder has no bits per sample: it stores the whole container.
DEPTHS = [(8, False), (12, False), (16, False), (12, True), (16, True)]


def through(file: bytes, plugin: str) -> Any:
    return decode(open_stored(file), plugin=plugin)


@pytest.mark.parametrize(("bits", "signed"), DEPTHS)
@pytest.mark.parametrize("syntax", UNCOMPRESSED, ids=lambda s: s.keyword)
def test_uncompressed(syntax: Any, bits: int, signed: bool) -> None:
    pixels = stored(bits=bits, signed=signed)
    want = read(image(pixels, bits)).pixels
    np.testing.assert_array_equal(read(image(pixels, bits, syntax)).pixels, want)


@pytest.mark.parametrize(("bits", "signed"), DEPTHS)
@pytest.mark.parametrize("syntax", LOSSLESS, ids=lambda s: s.keyword)
def test_lossless_syntaxes_give_identical_pixels_in_all_decoders(
    syntax: Any, bits: int, signed: bool
) -> None:
    pixels = stored(bits=bits, signed=signed)
    want = read(image(pixels, bits)).pixels
    file = image(pixels, bits, syntax)
    names = codecs.plugins(syntax)
    assert names[0] == ("openjpeg" if "HTJ2K" in syntax.keyword else "imagecodecs")
    for name in names:
        np.testing.assert_array_equal(through(file, name).pixels, want, err_msg=name)


@pytest.mark.parametrize("syntax", [*LOSSLESS, uids.JPEGBaseline8Bit], ids=lambda s: s.keyword)
def test_plain_pydicom_is_a_fall_back_where_it_can_be(syntax: Any) -> None:
    alone = {uids.JPEGLossless, uids.JPEGLosslessSV1}
    if find_spec("jpeg_ls") is None:  # comes with highdicom
        alone.add(uids.JPEGLSLossless)
    assert (len(codecs.plugins(syntax)) > 1) == (syntax not in alone)


def test_jpeg_baseline_is_identical_in_all_decoders() -> None:
    pixels = stored((64, 48))
    file = image(pixels, 8, uids.JPEGBaseline8Bit)
    names = codecs.plugins(uids.JPEGBaseline8Bit)
    assert names == ["imagecodecs", "pillow"]
    first, second = (through(file, name).pixels for name in names)
    np.testing.assert_array_equal(first, second)
    np.testing.assert_allclose(first, read(image(pixels)).pixels, atol=4 / 255)


def test_jpeg_extended_has_twelve_bits() -> None:
    pixels = stored((64, 48), bits=12)
    got = read(image(pixels, 12, uids.JPEGExtended12Bit))
    np.testing.assert_allclose(got.pixels, read(image(pixels, 12)).pixels, atol=8 / 4095)


def test_our_plugin_serves_anyone_who_uses_pydicom() -> None:
    codecs.decoder_of(uids.JPEGLSLossless)
    assert "imagecodecs" in get_decoder(uids.JPEGLSLossless).available_plugins


def test_frame_split_into_fragments_is_joined() -> None:
    from pydicom.encaps import encapsulate

    pixels = stored((64, 48))
    ds = dataset(pixels)
    file = to_bytes(ds, pixels, uids.JPEGBaseline8Bit)
    ds.PixelData = encapsulate([encode(pixels, 8, uids.JPEGBaseline8Bit)], fragments_per_frame=3)
    assert ds.PixelData.count(b"\xfe\xff\x00\xe0") == 4
    ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
    split = BytesIO()
    dcmwrite(split, ds)
    np.testing.assert_array_equal(read(split.getvalue()).pixels, read(file).pixels)


@pytest.mark.parametrize("syntax", [*LOSSLESS, uids.JPEGBaseline8Bit], ids=lambda s: s.keyword)
@pytest.mark.parametrize("keep", [0.3, 0.6, 0.9])
def test_truncated_frame_is_refused_not_filled(syntax: Any, keep: float) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (64, 48), np.uint8)
    frame = encode(pixels, 8, syntax)
    file = to_bytes(dataset(pixels), None, syntax, frame=frame[: int(len(frame) * keep)])
    with pytest.raises(UnreadableRefused):
        read(file)


@pytest.mark.parametrize(
    "syntax", [s for s in LOSSLESS if s != uids.RLELossless], ids=lambda s: s.keyword
)
def test_size_in_the_codestream_must_be_the_headers(syntax: Any) -> None:
    pixels = stored()
    ds = dataset(pixels, Rows=12)
    with pytest.raises(UnreadableRefused, match="in the compressed pixels"):
        read(to_bytes(ds, pixels, syntax))


@pytest.mark.parametrize(
    "syntax", [uids.JPEG2000Lossless, uids.JPEGLSLossless, uids.JPEGLosslessSV1]
)
def test_a_frame_deeper_than_its_header_says_is_refused_not_wrapped(syntax: Any) -> None:
    shallow = dataset(stored(bits=8), 8)
    with pytest.raises(UnreadableRefused, match="BitsAllocated is 8"):
        read(to_bytes(shallow, None, syntax, frame=encode(stored(bits=12), 12, syntax)))


def test_rle_of_another_size_is_refused() -> None:
    pixels = stored()
    for rows in (12, 300):
        with pytest.raises(UnreadableRefused):
            read(to_bytes(dataset(pixels, Rows=rows), pixels, uids.RLELossless))


def test_unknown_compression_is_unsupported() -> None:
    pixels = stored()
    file = to_bytes(dataset(pixels), None, uids.MPEG2MPML, frame=b"abcd")
    with pytest.raises(UnsupportedRefused, match="no decoder"):
        read(file)
