"""Pictures whose containers are deeper than what they hold."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO

import cv2
import numpy as np
import pytest
from PIL import Image

from hilum.dicom.read import read


@pytest.mark.parametrize(("top", "bits"), [(255, 8), (1023, 10), (4095, 12), (65520, 16)])
def test_a_png_of_16_bits_is_read_in_the_range_it_uses(top: int, bits: int) -> None:
    stored = np.linspace(0, top, 64 * 64).reshape(64, 64).astype(np.uint16)
    radiograph = read(("a.png", cv2.imencode(".png", stored)[1].tobytes()))
    assert radiograph.decoding.bits_stored == bits
    assert radiograph.pixels.max() == pytest.approx(top / (2**bits - 1), abs=1e-6)
    assert any("16 bits hold" in w for w in radiograph.decoding.warnings) == (bits < 16)


def test_transparent_pixels_are_told() -> None:
    stored = np.full((64, 64, 4), 100, np.uint8)
    stored[:32, :, 3] = 0
    out = BytesIO()
    Image.fromarray(stored, "RGBA").save(out, "PNG")
    assert any("50.0%" in w for w in read(("a.png", out.getvalue())).decoding.warnings)


@pytest.mark.parametrize(("gamma", "told"), [(1 / 2.2, False), (1.0, True), (0.2, True)])
def test_a_png_that_viewers_show_otherwise_is_told(gamma: float, told: bool) -> None:
    png = cv2.imencode(".png", np.linspace(0, 255, 64 * 64).reshape(64, 64).astype(np.uint8))[1]
    chunk = b"gAMA" + struct.pack(">I", round(gamma * 100_000))
    data = png.tobytes()
    own = struct.pack(">I", 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    radiograph = read(("a.png", data[:33] + own + data[33:]))
    assert any("gamma" in warning for warning in radiograph.decoding.warnings) == told
    np.testing.assert_array_equal(radiograph.pixels, read(("a.png", data)).pixels)


def test_of_a_camera_s_jpeg_with_a_preview_the_image_is_read() -> None:
    grey = np.linspace(0, 255, 64 * 64).reshape(64, 64).astype(np.uint8)
    held = BytesIO()
    preview = Image.fromarray(255 - grey).resize((16, 16))
    Image.fromarray(grey).save(held, "MPO", save_all=True, append_images=[preview])
    radiograph = read(("a.jpg", held.getvalue()))
    assert np.abs(radiograph.pixels - grey / 255).max() < 0.1
    assert "it holds 2 images, the first is read" in radiograph.decoding.warnings
