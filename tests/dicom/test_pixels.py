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


def windowed(pixels: Any, centres: str, widths: str, **kw: Any) -> bytes:
    """A 12-bit file with these very texts as its window."""
    file = image(pixels, 12, **kw, WindowCenter="77", WindowWidth="88")
    for number, text in ((b"77", centres), (b"88", widths)):
        assert file.count(b"DS\2\0" + number) == 1
        file = file.replace(b"DS\2\0" + number, b"DS" + _text(text))
    return file


def _text(value: str) -> bytes:
    raw = value.encode() + b" " * (len(value) % 2)
    return len(raw).to_bytes(2, "little") + raw


@pytest.mark.parametrize(
    ("centre", "width"),
    [
        ("1000", "0"),
        ("1000", "-5"),
        ("1000", "0.5"),
        ("NaN", "500"),
        ("1000", "inf"),
        ("1000", "wide"),
        ("1000,5", "500"),
        ("1_000", "500"),
        ("1000", ""),
        ("", "500"),
        ("\\1000", "500"),
    ],
)
def test_impossible_window_is_as_none(centre: str, width: str) -> None:
    pixels = stored(bits=12)
    got = read(windowed(pixels, centre, width))
    np.testing.assert_array_equal(got.pixels, read(image(pixels, 12)).pixels)
    assert "impossible" in got.decoding.voi
    assert "the full range is used" in got.decoding.warnings[0]


@pytest.mark.parametrize(
    ("centre", "width"), [("", ""), ("\\", "\\"), (" ", "  ")], ids=["empty", "blanks", "spaces"]
)
def test_blank_windows_are_none_at_all(centre: str, width: str) -> None:
    decoding = read(windowed(stored(bits=12), centre, width)).decoding
    assert (decoding.voi, decoding.warnings) == ("none", ())


@pytest.mark.parametrize(
    ("centres", "widths"),
    [
        ("\\2048", "\\4096"),
        (" \\2048", "100\\4096"),
        ("900\\2048", "\\4096"),
        ("900\\2048\\7", "0\\4096\\9"),
        ("NaN\\2048", "100\\4096"),
        ("auto\\2048", "100\\4096"),
        ("1\\2048", "0.5\\4096"),
    ],
)
def test_of_pairs_with_blanks_the_first_whole_one_is_used(centres: str, widths: str) -> None:
    """A centre is never paired with another window's width."""
    pixels = stored(bits=12)
    got = read(windowed(pixels, centres, widths))
    assert got.decoding.voi == "window 2048/4096 linear"
    assert got.decoding.warnings == ("its first usable window is number 2",)
    want = [golden_window(float(v), 2048, 4096, "LINEAR") for v in pixels.ravel()]
    np.testing.assert_array_equal(got.pixels, finish(want, pixels, "MONOCHROME2"))
    second = read(windowed(pixels, centres, widths), voi_index=1).decoding
    assert (second.voi, second.warnings) == ("window 2048/4096 linear", ())


def test_a_window_asked_for_by_its_number_must_be_usable() -> None:
    file = windowed(stored(bits=12), "2048\\1000", "4096\\")
    assert read(file).decoding.voi == "window 2048/4096 linear"
    with pytest.raises(UnsupportedRefused, match="VOI number 1 is no usable window"):
        read(file, voi_index=1)


@pytest.mark.parametrize("function", ["LINEAR_EXACT", "SIGMOID"])
def test_narrow_windows_are_possible_where_the_standard_says_so(function: str) -> None:
    decoding = read(windowed(stored(bits=12), "1000", "0.5", VOILUTFunction=function)).decoding
    assert decoding.voi == f"window 1000/0.5 {function.lower()}"


def chest_like(photometric: str = "MONOCHROME2", **kw: Any) -> bytes:
    """A smooth 12-bit image around the middle of its range."""
    y, x = np.mgrid[-1:1:64j, -1:1:64j]
    pixels = (2048 + 1500 * np.cos(2 * x) * np.cos(2 * y)).astype(np.uint16)
    return image(pixels, 12, PhotometricInterpretation=photometric, **kw)


@pytest.mark.parametrize(
    ("centre", "width", "photometric", "end"),
    [
        (127, 256, "MONOCHROME2", "white"),
        (127, 256, "MONOCHROME1", "black"),
        (40000, 400, "MONOCHROME2", "black"),
        (2048, 8, "MONOCHROME2", "both"),
    ],
)
def test_a_window_that_loses_nearly_all_is_used_and_said(
    centre: float, width: float, photometric: str, end: str
) -> None:
    got = read(chest_like(photometric, WindowCenter=centre, WindowWidth=width))
    decoding = got.decoding
    assert decoding.clipped_white == pytest.approx((got.pixels >= 1).mean())
    assert decoding.clipped_black == pytest.approx((got.pixels <= 0).mean())
    shares = {"white": decoding.clipped_white, "black": decoding.clipped_black}
    assert shares.get(end, sum(shares.values())) > 0.9
    (warning,) = decoding.warnings
    assert f"window {centre}/{width} linear leaves" in warning
    full = read(chest_like(photometric, WindowCenter=centre, WindowWidth=width), full_range=True)
    np.testing.assert_array_equal(full.pixels, read(chest_like(photometric)).pixels)
    assert full.decoding.warnings == ()


def test_a_lut_that_loses_nearly_all_is_said_too() -> None:
    white = lut(0, 12, [0, *[4095] * 4095])
    (warning,) = read(chest_like(VOILUTSequence=white)).decoding.warnings
    assert "lut 4096 leaves 0% of the pixels black and 100% white" in warning


def test_a_part_that_a_window_whitened_is_no_frame_around_the_picture() -> None:
    decoding = read(image(stored((64, 64), 12), 12, WindowCenter=127, WindowWidth=256)).decoding
    assert decoding.clipped_white == pytest.approx(1 - 256 / 4096, abs=0.01)
    assert len(decoding.warnings) == 1


@pytest.mark.parametrize("blank", ["PixelPaddingValue", "shutter"])
def test_padding_and_shutters_are_no_loss(blank: str) -> None:
    pixels = stored((64, 64), 12)
    kw: dict[str, Any] = {"WindowCenter": 4000, "WindowWidth": 192}
    if blank == "shutter":
        kw |= {"ShutterShape": "RECTANGULAR", "ShutterUpperHorizontalEdge": 62}
    else:
        pixels[:61] = 7
        kw |= {"PixelPaddingValue": 7}
    decoding = read(image(pixels, 12, **kw)).decoding
    assert decoding.clipped_black < 0.1
    assert not any("leaves" in words for words in decoding.warnings)


@pytest.mark.parametrize(("centre", "width"), [(2048, 4096), (2048, 2000), (1200, 1800)])
def test_usual_windows_are_not_warned_of(centre: float, width: float) -> None:
    decoding = read(chest_like(WindowCenter=centre, WindowWidth=width)).decoding
    assert decoding.warnings == ()


def test_a_black_background_of_one_value_is_no_loss() -> None:
    pixels = np.zeros((64, 64), np.uint16)
    pixels[28:36, 28:36] = stored((8, 8), bits=12)
    pixels[[0, 32, 63, 32], [32, 0, 32, 63]] = 2000  # no frame around the image
    decoding = read(image(pixels, 12, WindowCenter=2048, WindowWidth=4096)).decoding
    assert decoding.clipped_black > 0.9
    assert decoding.warnings == ()


def test_a_clear_image_without_a_window_has_nothing_clipped() -> None:
    decoding = read(chest_like()).decoding
    assert (decoding.clipped_black, decoding.clipped_white, decoding.warnings) == (0, 0, ())


def test_negative_slope_turns_the_image_over() -> None:
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


def test_eight_bits_in_a_dicom_are_the_same_image_as_a_png() -> None:
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
