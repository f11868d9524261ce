"""Golden pixels: the pipeline against straight per-pixel formulas of PS3.3, written anew here."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.dicom_files import dataset, image, lut, stored, to_bytes
from hilum.core.errors import UnreadableRefused, UnsupportedRefused
from hilum.dicom.read import read


def golden_window(x: float, c: float, w: float, function: str) -> float:
    """C.11.2.1.2.1, C.11.2.1.3.1 and C.11.2.1.3.2 with output range 0..1."""
    if function == "SIGMOID":
        return 1 / (1 + math.exp(-4 * (x - c) / w))
    if function == "LINEAR_EXACT":
        if x <= c - w / 2:
            return 0.0
        if x > c + w / 2:
            return 1.0
        return (x - c) / w + 0.5
    if x <= c - 0.5 - (w - 1) / 2:
        return 0.0
    if x > c - 0.5 + (w - 1) / 2:
        return 1.0
    return (x - (c - 0.5)) / (w - 1) + 0.5


def golden_lut(x: float, first: int, data: Any) -> float:
    return float(data[min(max(round(x) - first, 0), len(data) - 1)])


def finish(values: list[float], like: Any, photometric: str) -> Any:
    grey = np.array(values, np.float64).reshape(like.shape).astype(np.float32)
    return np.float32(1) - grey if photometric == "MONOCHROME1" else grey


CASES = list(itertools.product(("MONOCHROME1", "MONOCHROME2"), (8, 10, 12, 15, 16), (False, True)))


@pytest.mark.parametrize("function", [None, "LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize(("photometric", "bits", "signed"), CASES)
def test_windows_are_exact(photometric: str, bits: int, signed: bool, function: Any) -> None:
    pixels = stored(bits=bits, signed=signed)
    middle = 0 if signed else 2 ** (bits - 1)
    centre, width = middle + 3.0, float(2 ** (bits - 1))
    kw: dict[str, Any] = {"PhotometricInterpretation": photometric}
    kw |= {"WindowCenter": [centre, 5], "WindowWidth": [width, 7]}
    if function:
        kw["VOILUTFunction"] = function
    got = read(image(pixels, bits, RescaleSlope=1, RescaleIntercept=-2, **kw))
    want = [
        golden_window(float(v) - 2, centre, width, function or "LINEAR") for v in pixels.ravel()
    ]
    np.testing.assert_array_equal(got.pixels, finish(want, pixels, photometric))
    assert got.decoding.voi.startswith("window ")


@pytest.mark.parametrize(("photometric", "bits", "signed"), CASES)
def test_without_a_voi_the_stored_range_is_the_full_range(
    photometric: str, bits: int, signed: bool
) -> None:
    pixels = stored(bits=bits, signed=signed)
    got = read(image(pixels, bits, PhotometricInterpretation=photometric))
    low = -(2 ** (bits - 1)) if signed else 0
    want = [(float(v) - low) / (2**bits - 1) for v in pixels.ravel()]
    np.testing.assert_array_equal(got.pixels, finish(want, pixels, photometric))


@pytest.mark.parametrize("wide", [True, False])
@pytest.mark.parametrize("shape", ["short", "full", "late", "early"])
@pytest.mark.parametrize(("photometric", "bits", "signed"), CASES)
def test_voi_luts_are_exact(
    photometric: str, bits: int, signed: bool, shape: str, wide: bool
) -> None:
    pixels = stored(bits=bits, signed=signed)
    low = int(pixels.min())
    count, first = {
        "short": (100, low + 20),
        "full": (2**bits, low),
        "late": (50, low + 2**bits - 30),
        "early": (60, low),
    }[shape]
    out_bits = 12 if wide else 8
    data = (np.arange(count) * 37) % 2**out_bits
    data[-1] = 2**out_bits - 1
    sequence = lut(first, out_bits, data, vr="SS" if first < 0 else "US", wide=wide)
    got = read(
        image(
            pixels,
            bits,
            PhotometricInterpretation=photometric,
            VOILUTSequence=sequence,
            WindowCenter=1,
            WindowWidth=2,
        )
    )
    want = [golden_lut(float(v), first, data) / (2**out_bits - 1) for v in pixels.ravel()]
    np.testing.assert_array_equal(got.pixels, finish(want, pixels, photometric))


@pytest.mark.parametrize(("photometric", "bits", "signed"), CASES)
def test_modality_lut_comes_before_the_window(photometric: str, bits: int, signed: bool) -> None:
    pixels = stored(bits=bits, signed=signed)
    first = int(pixels.min()) + 5
    data = np.minimum((np.arange(90) ** 2), 4095)
    got = read(
        image(
            pixels,
            bits,
            PhotometricInterpretation=photometric,
            ModalityLUTSequence=lut(first, 12, data, vr="SS" if first < 0 else "US"),
            RescaleSlope=7,
            WindowCenter=2000,
            WindowWidth=3000,
        )
    )
    want = [
        golden_window(golden_lut(float(v), first, data), 2000, 3000, "LINEAR")
        for v in pixels.ravel()
    ]
    np.testing.assert_array_equal(got.pixels, finish(want, pixels, photometric))


def test_lut_of_65536_entries_says_zero() -> None:
    pixels = stored(bits=16)
    data = np.arange(65536)[::-1]
    got = read(image(pixels, 16, VOILUTSequence=lut(0, 16, data)))
    want = [(65535 - float(v)) / 65535 for v in pixels.ravel()]
    np.testing.assert_array_equal(got.pixels, finish(want, pixels, "MONOCHROME2"))


def test_negative_first_value_stored_as_us_is_understood() -> None:
    pixels = stored(bits=12, signed=True)
    data = np.arange(4096)
    right = read(image(pixels, 12, VOILUTSequence=lut(-2048, 12, data, vr="SS")))
    wrong = read(image(pixels, 12, VOILUTSequence=lut(65536 - 2048, 12, data, vr="US")))
    np.testing.assert_array_equal(right.pixels, wrong.pixels)
    assert right.pixels.max() == 1


def test_lut_with_too_few_data_is_refused() -> None:
    sequence = lut(0, 12, np.arange(100))
    sequence[0].LUTDescriptor = [4000, 0, 12]
    with pytest.raises(UnreadableRefused, match="LUT of 4000 entries"):
        read(image(stored(bits=12), 12, VOILUTSequence=sequence))


def test_first_of_several_windows_unless_told_otherwise() -> None:
    pixels = stored(bits=12)
    file = image(pixels, 12, WindowCenter=[1000, 3000], WindowWidth=[500, 800])
    assert read(file).decoding.voi == "window 1000/500 linear"
    assert read(file, voi_index=1).decoding.voi == "window 3000/800 linear"
    with pytest.raises(UnsupportedRefused, match="VOI number 2"):
        read(file, voi_index=2)


def test_given_window_replaces_the_files_own() -> None:
    pixels = stored(bits=12)
    own = read(image(pixels, 12, WindowCenter=1000, WindowWidth=500))
    given = read(image(pixels, 12, WindowCenter=7, WindowWidth=9), window=(1000, 500))
    np.testing.assert_array_equal(own.pixels, given.pixels)


@pytest.mark.parametrize("width", [0, -5, 0.5])
def test_impossible_window_is_as_none(width: float) -> None:
    pixels = stored(bits=12)
    got = read(image(pixels, 12, WindowCenter=1000, WindowWidth=width))
    np.testing.assert_array_equal(got.pixels, read(image(pixels, 12)).pixels)
    assert "impossible" in got.decoding.voi


def test_negative_slope_turns_the_picture_over() -> None:
    pixels = stored(bits=12)
    got = read(image(pixels, 12, RescaleSlope=-1, RescaleIntercept=4095))
    np.testing.assert_allclose(got.pixels, 1 - read(image(pixels, 12)).pixels, atol=1e-7)


def test_slope_zero_is_refused() -> None:
    with pytest.raises(UnreadableRefused, match="RescaleSlope"):
        read(image(stored(bits=12), 12, RescaleSlope=0, RescaleIntercept=0))


@pytest.mark.parametrize(
    ("photometric", "shape", "inverted"),
    [
        ("MONOCHROME2", None, False),
        ("MONOCHROME2", "IDENTITY", False),
        ("MONOCHROME2", "INVERSE", True),
        ("MONOCHROME1", None, True),
        ("MONOCHROME1", "IDENTITY", True),
        ("MONOCHROME1", "INVERSE", True),
    ],
)
def test_inversion_is_never_done_twice(photometric: str, shape: Any, inverted: bool) -> None:
    pixels = stored(bits=10)
    kw: dict[str, Any] = {"PresentationLUTShape": shape} if shape else {}
    got = read(image(pixels, 10, PhotometricInterpretation=photometric, **kw))
    plain = read(image(pixels, 10))
    want = np.float32(1) - plain.pixels if inverted else plain.pixels
    np.testing.assert_array_equal(got.pixels, want)


def test_monochrome1_is_inverted_after_voi() -> None:
    pixels = stored(bits=12)
    kw = {"WindowCenter": 1000, "WindowWidth": 500, "VOILUTFunction": "SIGMOID"}
    one = read(image(pixels, 12, PhotometricInterpretation="MONOCHROME1", **kw))
    two = read(image(pixels, 12, **kw))
    np.testing.assert_array_equal(one.pixels, 1 - two.pixels)


def test_unused_bits_are_ignored() -> None:
    pixels = stored(bits=12)
    overlay = pixels | np.uint16(0x3000)
    np.testing.assert_array_equal(read(image(overlay, 12)).pixels, read(image(pixels, 12)).pixels)


def test_high_bit_says_where_the_value_lies() -> None:
    pixels = stored(bits=12)
    shifted = (pixels << 4) | np.uint16(0x5)
    np.testing.assert_array_equal(
        read(image(shifted, 12, HighBit=15)).pixels, read(image(pixels, 12)).pixels
    )


def test_eight_bits_in_a_dicom_are_the_same_picture_as_a_png() -> None:
    import imagecodecs

    pixels = stored(bits=8)
    png = read(imagecodecs.png_encode(pixels))
    np.testing.assert_array_equal(read(image(pixels)).pixels, png.pixels)


def test_fake_monochrome1_is_the_inverse_of_its_twin(hilum_data: Path) -> None:
    folder = hilum_data / "dicom"
    twin = next(folder.glob("1.2.276*.dcm"))
    fake = read(folder / "Fake_MONOHR1.dcm")
    np.testing.assert_array_equal(fake.pixels, 1 - read(twin).pixels)


def test_dental_with_a_modality_lut_reads(hilum_data: Path) -> None:
    dental = read(hilum_data / "dicom" / "CR-ModalitySequenceLUT.dcm")
    assert dental.pixels.shape == (1576, 1976)
    assert dental.decoding.photometric == "MONOCHROME1"
    assert dental.pixels.std() > 0.1


def test_chest_lossless_and_uncompressed_are_identical() -> None:
    data_store = pytest.importorskip("data_store")
    folder = Path(data_store.__file__).parent / "data"
    plain, packed = read(folder / "RG1_UNCR.dcm"), read(folder / "RG1_J2KR.dcm")
    np.testing.assert_array_equal(plain.pixels, packed.pixels)
    assert plain.decoding.bits_stored == 15
    assert plain.spacing_mm is None  # PixelSpacing says 0.000


def test_implicit_vr_and_big_endian_luts_are_the_same() -> None:
    from pydicom import uid as uids

    pixels = stored(bits=12, signed=True)
    data = (np.arange(4096) * 5) % 4096
    want = read(image(pixels, 12, VOILUTSequence=lut(-2048, 12, data, vr="SS")))
    ds = dataset(pixels, 12, VOILUTSequence=lut(-2048, 12, data, vr="SS"))
    implicit = read(to_bytes(ds, pixels, uids.ImplicitVRLittleEndian))
    np.testing.assert_array_equal(implicit.pixels, want.pixels)
    swapped = lut(-2048, 12, data, vr="SS")
    swapped[0].LUTData = np.asarray(data, ">u2").tobytes()
    ds = dataset(pixels, 12, VOILUTSequence=swapped)
    big = read(to_bytes(ds, pixels, uids.ExplicitVRBigEndian))
    np.testing.assert_array_equal(big.pixels, want.pixels)
