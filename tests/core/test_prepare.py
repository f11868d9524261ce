"""Preprocessing: one path, deterministic, decided by valid pixels only."""

from __future__ import annotations

import numpy as np
import pytest

from hilum.core.errors import ConfigError, GeometryError
from hilum.core.prepare import Preprocessing, prepare, square
from hilum.core.radiograph import Radiograph


def ramp(height: int = 60, width: int = 80) -> np.ndarray:
    return np.tile(np.linspace(0.2, 0.6, width, dtype=np.float32), (height, 1))


def test_an_image_without_a_window_is_stretched_to_full_contrast() -> None:
    image, box = square(Radiograph(ramp()), Preprocessing(64))
    x, y, w, h = box.inner
    inner = image[y : y + h, x : x + w]
    assert inner.min() == 0
    assert inner.max() == 1


def test_contrast_does_not_depend_on_gain_and_offset() -> None:
    a, _ = prepare(Radiograph(ramp()), Preprocessing(64))
    b, _ = prepare(Radiograph(ramp() * np.float32(0.5) + np.float32(0.1)), Preprocessing(64))
    np.testing.assert_allclose(a, b, atol=1e-4)


def test_what_is_not_valid_neither_shows_nor_decides_the_contrast() -> None:
    pixels = ramp()
    framed = pixels.copy()
    framed[:, :20] = 1.0
    valid = np.ones_like(pixels, bool)
    valid[:, :20] = False
    spec = Preprocessing(64)
    with_frame, _ = square(Radiograph(framed, valid=valid), spec)
    x, _, w, _ = Letterboxed(80, 60)
    edge = x + round(w * 20 / 80)
    assert with_frame[:, : edge - 1].max() == 0
    plain, _ = square(Radiograph(framed), spec)
    assert with_frame[32, edge + 5] < plain[32, edge + 5] + 0.6
    assert with_frame[32, x + w - 1] == pytest.approx(1, abs=0.02)


def Letterboxed(width: int, height: int) -> tuple[int, int, int, int]:
    from hilum.core.geometry import Letterbox

    return Letterbox(width, height, 64).inner


def test_a_blank_image_stays_blank() -> None:
    image, _ = prepare(Radiograph(np.full((40, 40), 0.5, np.float32)), Preprocessing(32))
    assert np.isfinite(image).all()


@pytest.mark.parametrize(
    "options", [{"size": 30}, {"size": 64, "std": 0.0}, {"size": 64, "stretch": (50.0, 10.0)}]
)
def test_impossible_preprocessing_is_refused(options: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        Preprocessing(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((4, 4, 3), np.float32),
        np.zeros((4, 4), np.uint8),
        np.full((4, 4), 2, np.float32),
        np.full((4, 4), np.nan, np.float32),
        np.zeros((0, 4), np.float32),
    ],
)
def test_a_radiograph_is_grey_float_and_within_0_and_1(pixels: np.ndarray) -> None:
    with pytest.raises(GeometryError):
        Radiograph(pixels)


def test_a_radiograph_cannot_be_changed_and_its_caller_s_array_can() -> None:
    pixels = np.zeros((4, 4), np.float32)
    radiograph = Radiograph(pixels)
    with pytest.raises(ValueError, match="read-only"):
        radiograph.pixels[0, 0] = 1
    pixels[0, 0] = 1
