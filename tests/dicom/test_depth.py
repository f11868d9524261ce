"""Where header and pixels disagree on depth or sign, no value wraps: it is read as the frame says
(PS3.5 section 8.2), or refused. A ramp must stay a ramp."""

from __future__ import annotations

from typing import Any

import imagecodecs
import numpy as np
import pytest
from pydicom import uid as uids

from helpers.dicom_files import dataset, encode, image, stored, to_bytes
from hilum.core.errors import UnreadableRefused
from hilum.core.radiograph import Radiograph
from hilum.dicom.read import read

SHAPE = (64, 64)
LOSSLESS_DEEP = [
    uids.JPEG2000Lossless,
    uids.HTJ2KLossless,
    uids.JPEGLSLossless,
    uids.JPEGLossless,
    uids.JPEGLosslessSV1,
]


def ramp(bits: int, signed: bool = False) -> Any:
    return stored(SHAPE, bits, signed)


def compressed(frame: bytes, bits: int, syntax: str, *, signed: bool = False, **kw: Any) -> bytes:
    """A frame under a header of 16-bit containers that says `bits`."""
    kind = np.zeros(SHAPE, np.int16 if signed else np.uint16)
    return to_bytes(dataset(kind, bits, **kw), None, syntax, frame=frame)


def falls(got: Radiograph) -> int:
    """How often an image of a rising ramp jumps from white to black."""
    return int((np.diff(got.pixels.ravel()) < -0.5).sum())


@pytest.mark.parametrize("deep", [13, 14, 16])
@pytest.mark.parametrize("syntax", LOSSLESS_DEEP, ids=lambda s: s.keyword)
def test_a_frame_deeper_than_bits_stored_does_not_wrap(syntax: Any, deep: int) -> None:
    pixels = ramp(deep)
    got = read(compressed(encode(pixels, deep, syntax), 12, syntax))
    assert falls(got) == 0
    # These two encoders declare whole bytes; the values are the same.
    whole = syntax in (uids.HTJ2KLossless, uids.JPEGLSLossless)
    top = 2 ** (16 if whole else deep) - 1
    np.testing.assert_array_equal(got.pixels, (pixels / top).astype(np.float32))
    assert f"BitsStored is 12, its compressed pixels have {16 if whole else deep}" in str(
        got.decoding.warnings
    )


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize(
    "syntax", [uids.HTJ2KLossless, uids.JPEGLSLossless, uids.JPEG2000], ids=lambda s: s.keyword
)
def test_whole_bytes_around_values_that_fit_are_no_contradiction(syntax: Any, signed: bool) -> None:
    pixels = ramp(12, signed)
    frame = encode(pixels, 16 if syntax == uids.JPEG2000 else 12, syntax)
    got = read(compressed(frame, 12, syntax, signed=signed))
    np.testing.assert_array_equal(got.pixels, read(image(pixels, 12)).pixels)
    assert got.decoding.warnings == ()


@pytest.mark.parametrize("syntax", [*LOSSLESS_DEEP, uids.JPEGBaseline8Bit], ids=lambda s: s.keyword)
def test_a_shallower_frame_has_the_range_of_its_own_bits(syntax: Any) -> None:
    pixels = ramp(8)
    got = read(compressed(encode(pixels, 8, syntax), 12, syntax))
    np.testing.assert_allclose(got.pixels, pixels / 255, atol=3 / 255)
    assert "BitsStored is 12, its compressed pixels have 8 bits" in str(got.decoding.warnings)


def test_a_deep_frame_is_windowed_by_its_own_values() -> None:
    pixels = ramp(14)
    frame = encode(pixels, 14, uids.JPEG2000Lossless)
    got = read(
        compressed(frame, 12, uids.JPEG2000Lossless, WindowCenter=8192, WindowWidth=16384)
    ).pixels
    np.testing.assert_allclose(got, pixels / 16383, atol=1e-4)


@pytest.mark.parametrize("bits", [10, 12, 16])
@pytest.mark.parametrize("codec", ["jpeg2k", "htj2k"])
def test_a_signed_frame_under_an_unsigned_header_keeps_its_order(codec: str, bits: int) -> None:
    pixels = ramp(bits, signed=True).astype(np.int16)
    if codec == "jpeg2k":
        frame = imagecodecs.jpeg2k_encode(
            pixels, reversible=True, codecformat="j2k", bitspersample=bits
        )
        syntax = uids.JPEG2000Lossless
    else:
        frame, syntax = imagecodecs.htj2k_encode(pixels, reversible=True), uids.HTJ2KLossless
    got = read(compressed(bytes(frame), bits, syntax))
    assert falls(got) == 0
    assert "says unsigned, its compressed pixels are signed" in str(got.decoding.warnings)
    if codec == "jpeg2k":
        half = 2 ** (bits - 1)
        want = ((pixels.astype(float) + half) / (2 * half - 1)).astype(np.float32)
        np.testing.assert_array_equal(got.pixels, want)


@pytest.mark.parametrize("header_signed", [False, True])
def test_a_step_in_the_image_does_not_decide_its_sign(header_signed: bool) -> None:
    """A background far from the image is no wrap: the frame's own sign counts."""
    pixels = (ramp(12, signed=True) // 4).astype(np.int16)
    if header_signed:  # an unsigned frame around the middle of its range
        pixels = (pixels + 2048).astype(np.uint16)
    pixels[:, :20] = 3900 if header_signed else -1800
    frame = encode(pixels, 12, uids.JPEG2000Lossless)
    got = read(compressed(frame, 12, uids.JPEG2000Lossless, signed=header_signed)).pixels
    low = 0 if header_signed else -2048
    np.testing.assert_allclose(got, (pixels.astype(float) - low) / 4095, atol=1e-6)


def test_unsigned_values_that_an_encoder_took_for_signed_are_the_headers() -> None:
    """32768 and more lie as negative values in the frame: the header puts them together."""
    pixels = ramp(16)
    frame = encode(pixels.view(np.int16), 16, uids.JPEG2000Lossless)
    got = read(compressed(frame, 16, uids.JPEG2000Lossless))
    np.testing.assert_array_equal(got.pixels, read(image(pixels, 16)).pixels)


@pytest.mark.parametrize("bits", [12, 16])
@pytest.mark.parametrize("syntax", [uids.JPEG2000Lossless, uids.HTJ2K], ids=lambda s: s.keyword)
def test_an_unsigned_frame_under_a_signed_header_keeps_its_order(syntax: Any, bits: int) -> None:
    pixels = ramp(bits)
    got = read(compressed(encode(pixels, bits, syntax), bits, syntax, signed=True))
    assert falls(got) == 0
    if bits == 16 or syntax == uids.JPEG2000Lossless:
        np.testing.assert_array_equal(got.pixels, read(image(pixels, bits)).pixels)


def test_twos_complement_in_an_unsigned_frame_is_read_as_pydicom_reads_it() -> None:
    """As in pydicom's J2K_pixelrep_mismatch.dcm: the image is whole with the header's sign."""
    pixels = ramp(13, signed=True)
    codes = (pixels.view(np.uint16) & 0x1FFF).astype(np.uint16)
    got = read(compressed(encode(codes, 13, uids.JPEG2000), 13, uids.JPEG2000, signed=True))
    np.testing.assert_array_equal(got.pixels, read(image(pixels, 13)).pixels)


@pytest.mark.parametrize("bits", [12, 16])
@pytest.mark.parametrize(
    "syntax",
    [uids.JPEGLSLossless, uids.JPEGLossless, uids.JPEGLosslessSV1],
    ids=lambda s: s.keyword,
)
def test_codecs_without_a_sign_leave_it_to_the_header(syntax: Any, bits: int) -> None:
    pixels = ramp(bits, signed=True)
    # A background far below the image must not make it look unsigned.
    pixels[:8] = -(2 ** (bits - 1))
    got = read(compressed(encode(pixels, bits, syntax), bits, syntax, signed=True))
    np.testing.assert_array_equal(got.pixels, read(image(pixels, bits)).pixels)


def test_a_lossy_jpeg_is_unsigned_whatever_its_header_says() -> None:
    pixels = ramp(8)
    frame = encode(pixels, 8, uids.JPEGBaseline8Bit)
    kind = np.zeros(SHAPE, np.int8)
    got = read(to_bytes(dataset(kind, 8), None, uids.JPEGBaseline8Bit, frame=frame))
    assert falls(got) == 0
    np.testing.assert_allclose(got.pixels, pixels / 255, atol=3 / 255)


def test_a_shallow_frame_without_a_sign_under_a_signed_header_is_refused() -> None:
    frame = encode(ramp(8), 8, uids.JPEGLSLossless)
    with pytest.raises(UnreadableRefused, match="12 and signed, its compressed pixels have 8"):
        read(compressed(frame, 12, uids.JPEGLSLossless, signed=True))


@pytest.mark.parametrize("syntax", [uids.ExplicitVRLittleEndian, uids.RLELossless])
def test_uncompressed_pixels_deeper_than_bits_stored_are_refused_not_wrapped(syntax: Any) -> None:
    with pytest.raises(UnreadableRefused, match="BitsStored is 12, its pixels have 14 bits"):
        read(image(ramp(14), 12, syntax))


@pytest.mark.parametrize("syntax", [uids.ExplicitVRLittleEndian, uids.RLELossless])
@pytest.mark.parametrize("signed", [False, True])
def test_noise_above_high_bit_is_not_used(signed: bool, syntax: Any) -> None:
    pixels = ramp(12, signed)
    noise = np.random.default_rng(0).integers(0, 16, SHAPE, np.uint16) << 12
    dirty = ((pixels.view(np.uint16) & 0xFFF) | noise).view(pixels.dtype)
    got = read(image(dirty, 12, syntax))
    np.testing.assert_array_equal(got.pixels, read(image(pixels, 12)).pixels)
    assert "bits above HighBit 11 are set" in str(got.decoding.warnings)


def test_old_overlays_in_unused_bits_are_no_warning() -> None:
    pixels = ramp(12)
    marked = pixels.copy()
    marked[20:40, 20:40] |= 0x8000
    ds = dataset(pixels, 12)
    ds.add_new(0x60000010, "US", SHAPE[0])
    ds.add_new(0x60000102, "US", 15)
    got = read(to_bytes(ds, marked))
    np.testing.assert_array_equal(got.pixels, read(image(pixels, 12)).pixels)
    assert got.decoding.warnings == ()


def test_signs_above_high_bit_are_no_warning() -> None:
    got = read(image(ramp(12, signed=True), 12))
    assert got.decoding.warnings == ()
    assert falls(got) == 0


@pytest.mark.parametrize("high_bit", [12, 15])
def test_a_high_bit_that_would_cut_off_the_low_bits_is_not_believed(high_bit: int) -> None:
    pixels = ramp(12)
    got = read(image(pixels, 12, HighBit=high_bit))
    np.testing.assert_array_equal(got.pixels, read(image(pixels, 12)).pixels)
    assert f"HighBit is {high_bit}" in str(got.decoding.warnings)


def test_a_dim_image_in_the_high_bits_is_still_read_there() -> None:
    pixels = ramp(12) // 20
    got = read(image(pixels << 4, 12, HighBit=15))
    np.testing.assert_array_equal(got.pixels, read(image(pixels, 12)).pixels)
    assert got.decoding.warnings == ("its 12 bits hold values of 8 bits: read as so many",)


@pytest.mark.parametrize(("stored", "signed"), [(16, False), (16, True), (14, False)])
def test_values_that_leave_most_of_the_range_empty_are_as_deep_as_they_are(
    stored: int, signed: bool
) -> None:
    """As of a PNG; with a window nothing is to be guessed, and padding does not count."""
    pixels, kw = ramp(10, signed), {"PixelRepresentation": int(signed)}
    got = read(image(pixels, stored, **kw))
    np.testing.assert_array_equal(got.pixels, read(image(pixels, 10, **kw)).pixels)
    assert f"its {stored} bits hold values of 10 bits" in str(got.decoding.warnings)
    assert got.decoding.bits_stored == 10
    windowed = read(image(pixels, stored, WindowCenter=512, WindowWidth=1024, **kw)).decoding
    assert "bits hold" not in str(windowed.warnings)
    framed = pixels.copy()
    framed[:, :9] = -5000 if signed else 2**stored - 1
    padded = read(image(framed, stored, PixelPaddingValue=int(framed[0, 0]), **kw))
    np.testing.assert_array_equal(padded.pixels[:, 9:], got.pixels[:, 9:])


def test_pixels_that_carry_a_sign_are_signed_whatever_the_header_says() -> None:
    y, x = np.mgrid[:200, :200]
    smooth = (900 * np.sin(x / 9) * np.sin(y / 7)).astype(np.int16)  # as if of ribs
    right = read(image(smooth, 12, PixelRepresentation=1))
    wrong = read(image(smooth.view(np.uint16), 12, PixelRepresentation=0))
    np.testing.assert_array_equal(wrong.pixels, right.pixels)
    assert "carry a sign" in str(wrong.decoding.warnings)
    cut = smooth.view(np.uint16) & 4095  # nothing above HighBit says so
    assert "signed would not" in str(read(image(cut, 12)).decoding.warnings)


def test_without_bits_stored_the_high_bit_says_how_deep_the_pixels_are() -> None:
    file = dataset(ramp(12), 12)
    del file.BitsStored
    np.testing.assert_array_equal(
        read(to_bytes(file, ramp(12))).pixels, read(image(ramp(12), 12)).pixels
    )


@pytest.mark.parametrize("high_bit", [7, 10, 16])
def test_a_high_bit_that_cannot_be_is_refused(high_bit: int) -> None:
    with pytest.raises(UnreadableRefused, match=f"HighBit {high_bit} cannot be"):
        read(image(ramp(12), 12, HighBit=high_bit))
