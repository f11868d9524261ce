"""Padding, shutters and frames are no part of the radiograph."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from helpers.dicom_files import image, stored
from hilum.dicom.masks import inside_border
from hilum.dicom.read import read


def picture(bits: int = 12) -> Any:
    rng = np.random.default_rng(3)
    return rng.integers(2 ** (bits - 2), 2 ** (bits - 1), (40, 50)).astype(np.uint16)


def test_padding_is_black_and_not_valid() -> None:
    pixels = picture()
    pixels[5:9, 7:20] = 4095
    for photometric in ("MONOCHROME1", "MONOCHROME2"):
        got = read(image(pixels, 12, PixelPaddingValue=4095, PhotometricInterpretation=photometric))
        assert got.valid is not None
        np.testing.assert_array_equal(got.valid, pixels != 4095)
        assert not got.pixels[5:9, 7:20].any()


def test_padding_range_and_negative_padding() -> None:
    pixels = stored((40, 50), bits=12, signed=True)
    got = read(image(pixels, 12, PixelPaddingValue=-2000, PixelPaddingRangeLimit=-1900))
    assert got.valid is not None
    np.testing.assert_array_equal(got.valid, (pixels < -2000) | (pixels > -1900))


def test_padding_value_that_no_pixel_has_leaves_all_valid() -> None:
    assert read(image(picture(), 12, PixelPaddingValue=0)).valid is None
    assert read(image(picture(), 12, PixelPaddingValue=65535)).valid is None


def test_rectangular_shutter() -> None:
    got = read(
        image(
            picture(),
            12,
            ShutterShape="RECTANGULAR",
            ShutterLeftVerticalEdge=11,
            ShutterRightVerticalEdge=30,
            ShutterUpperHorizontalEdge=6,
            ShutterLowerHorizontalEdge=35,
        )
    )
    want = np.zeros((40, 50), bool)
    want[5:35, 10:30] = True
    np.testing.assert_array_equal(got.valid, want)
    assert not got.pixels[~want].any()
    assert got.pixels[want].all()


def test_circular_and_polygonal_shutters_intersect() -> None:
    got = read(
        image(
            picture(),
            12,
            ShutterShape=["CIRCULAR", "POLYGONAL"],
            CenterOfCircularShutter=[20, 25],
            RadiusOfCircularShutter=10,
            VerticesOfThePolygonalShutter=[1, 1, 1, 50, 20, 50, 20, 1],
        )
    )
    assert got.valid is not None
    y, x = np.mgrid[1:41, 1:51]
    want = ((y - 20) ** 2 + (x - 25) ** 2 <= 100) & (y <= 20)
    np.testing.assert_array_equal(got.valid, want)


@pytest.mark.parametrize("edges", [(1, 50), (0, 51), (60, 70)])
def test_shutter_that_hides_nothing_or_everything_is_ignored(edges: tuple[int, int]) -> None:
    got = read(
        image(
            picture(),
            12,
            ShutterShape="RECTANGULAR",
            ShutterLeftVerticalEdge=edges[0],
            ShutterRightVerticalEdge=edges[1],
        )
    )
    assert got.valid is None


def test_burned_in_border_is_masked_and_its_pixels_kept() -> None:
    pixels = picture()
    pixels[:4], pixels[-2:] = 0, 4095
    pixels[:, :3], pixels[:, -5:] = 0, 0
    # Corners belong to two sides; the rows win where they are uniform.
    pixels[:4], pixels[-2:] = 0, 4095
    got = read(image(pixels, 12))
    want = np.zeros((40, 50), bool)
    want[4:-2, 3:-5] = True
    np.testing.assert_array_equal(got.valid, want)
    np.testing.assert_array_equal(got.pixels[-2:], 1)


def test_blank_image_has_no_border() -> None:
    assert inside_border(np.full((20, 30), 0.4, np.float32)) is None


def test_gradient_is_no_border() -> None:
    ramp = np.repeat(np.linspace(0, 1, 400, dtype=np.float32)[:, None], 300, axis=1)
    inside = inside_border(ramp)
    assert inside is None or inside[0].start <= 4
