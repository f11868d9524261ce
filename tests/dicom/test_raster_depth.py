"""Pictures whose containers are deeper than what they hold."""

from __future__ import annotations

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
