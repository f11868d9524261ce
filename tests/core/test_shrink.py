"""Averaging is OpenCV's to the last bit: an int8 network turns a last bit into .01 of a score."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from hilum.core.shrink import shrink

SIZES = [
    # rows, columns, of the image; rows, columns, of the result
    (1024, 1024, 160, 160),
    (1024, 1024, 256, 256),
    (2048, 2500, 210, 256),
    (2991, 2992, 256, 256),
    (1001, 1003, 160, 160),
    (1003, 1001, 256, 256),
    (1026, 768, 256, 192),
    (1023, 1024, 200, 256),
    (700, 701, 699, 700),
    (514, 513, 512, 1),
    (600, 900, 600, 256),
    (900, 600, 256, 600),
    (300, 280, 256, 239),
]


@pytest.mark.parametrize(("rows", "columns", "height", "width"), SIZES)
def test_the_mean_of_an_area_is_opencvs_to_the_last_bit(rows, columns, height, width):
    image = np.random.default_rng(rows).random((rows, columns), dtype=np.float32)
    expected = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(shrink(image, width, height), expected)


def test_a_view_with_a_stride_is_averaged_like_its_copy():
    image = np.random.default_rng(1).random((900, 1800), dtype=np.float32)[:, 300:1501]
    np.testing.assert_array_equal(shrink(image, 255, 191), shrink(image.copy(), 255, 191))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float64])
def test_other_numbers_keep_their_type(dtype):
    image = (np.random.default_rng(2).random((700, 801)) * 200).astype(dtype)
    expected = cv2.resize(image, (255, 223), interpolation=cv2.INTER_AREA)
    assert shrink(image, 255, 223).dtype == dtype
    np.testing.assert_array_equal(shrink(image, 255, 223), expected)
