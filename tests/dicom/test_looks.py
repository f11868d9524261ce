"""What pixels tell of an image's past, and that radiographs tell nothing of the kind."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

import hilum
from hilum.core.radiograph import Float32
from hilum.data.phantom.phantom import phantom
from hilum.dicom.looks import look_warnings


def _chest() -> Float32:
    return phantom(seed=2, width=400, height=480).pixels


def _small(chest: Float32, how: int) -> Float32:
    small = cv2.resize(chest, (40, 48), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (400, 480), interpolation=how)


def _page(chest: Float32) -> Float32:
    page = np.ones((960, 800), np.float32)
    page[100:580, 100:500] = chest
    return page


@pytest.mark.parametrize("seed", range(4))
def test_a_radiograph_looks_like_one(seed: int) -> None:
    assert look_warnings(phantom(seed=seed, width=300 + 90 * seed, height=400).pixels) == ()


def test_raw_values_in_a_corner_of_their_range_are_no_few_levels() -> None:
    assert look_warnings((np.round(_chest() * 4095) / 65535).astype(np.float32)) == ()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda chest: np.round(chest * 15) / 15, "grey levels"),
        (lambda chest: np.round(chest * 63) / 63, "grey levels"),
        (lambda chest: _small(chest, cv2.INTER_CUBIC), "magnified"),
        (lambda chest: _small(chest, cv2.INTER_NEAREST), "magnified"),
        (_page, "uniform border"),
    ],
)
def test_what_was_done_to_an_image_is_told(
    change: Callable[[Float32], Float32], words: str
) -> None:
    pixels = change(_chest()).clip(0, 1).astype(np.float32)
    assert any(words in text for text in look_warnings(pixels))


def test_it_is_told_by_whoever_reads_the_file() -> None:
    file = io.BytesIO()
    Image.fromarray((np.round(_chest() * 15) * 17).astype(np.uint8)).save(file, "PNG")
    told = hilum.read(file.getvalue()).decoding.warnings
    assert any("16 grey levels" in text for text in told)


def _jpeg(**options: Any) -> tuple[str, ...]:
    file = io.BytesIO()
    grey = np.round(_chest() * 255).astype(np.uint8)
    Image.fromarray(grey).save(file, "JPEG", **options)
    return hilum.read(file.getvalue()).decoding.warnings


def test_a_coarse_jpeg_and_a_camera_are_told() -> None:
    camera = Image.Exif()
    camera[0x010F], camera[0x0110] = "Acme", "Phone 12"
    assert _jpeg(quality=50) == _jpeg(quality=95) == ()
    assert any("low quality" in text for text in _jpeg(quality=15))
    assert any("camera (Acme Phone 12)" in text for text in _jpeg(exif=camera.tobytes()))


@pytest.mark.parametrize("pixels", [np.zeros((300, 300)), np.full((20, 20), 0.5), np.eye(8)])
def test_blank_and_tiny_pictures_are_another_matter(pixels: Float32) -> None:
    assert look_warnings(pixels.astype(np.float32)) == ()
