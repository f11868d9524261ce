"""Golden numbers of preparation, worked out by hand: which pixels decide, where they land."""

from __future__ import annotations

import numpy as np
import pytest

from hilum.core.geometry import Letterbox
from hilum.core.prepare import Preprocessing, square
from hilum.core.radiograph import Radiograph

SIDE = 64


def test_percentiles_are_of_the_valid_pixels_alone() -> None:
    """Rows of .1 to .73 are valid, a white shutter covers the other half.

    Of its 2,048 pixels, 32 of each level, the percentiles 10 and 90 lie at places 204.7 and
    1842.3: among those of .16 and of .67. So .17 becomes .01 / .51. Over all pixels the 90th is 1.
    """
    pixels = np.ones((SIDE, SIDE), np.float32)
    pixels[:, :32] = (0.1 + 0.01 * np.arange(SIDE, dtype=np.float32))[:, None]
    valid = np.zeros((SIDE, SIDE), bool)
    valid[:, :32] = True
    spec = Preprocessing(SIDE, stretch=(10, 90))
    result, _ = square(Radiograph(pixels, valid=valid), spec)
    assert (result[:, 32:] == 0).all()  # what is not valid does not show
    golden = {0: 0.0, 6: 0.0, 7: 0.019608, 31: 0.490196, 32: 0.509804, 56: 0.980392, 57: 1.0}
    for row, value in golden.items():
        assert result[row, 0] == pytest.approx(value, abs=1e-3), row


@pytest.mark.parametrize(
    ("width", "height", "size", "inner"),
    [
        (1000, 667, 256, (0, 42, 256, 171)),  # 170.752 rounds up
        (667, 1000, 256, (42, 0, 171, 256)),
        (1000, 665, 256, (0, 43, 256, 170)),  # 170.24 rounds down
        (1841, 1955, 512, (15, 0, 482, 512)),  # 482.14
        (2022, 1955, 512, (0, 8, 512, 495)),  # 495.03
        (3000, 7, 256, (0, 127, 256, 1)),  # 0.597: never nothing
    ],
)
def test_the_letterbox_rounds_to_the_nearest_pixel(
    width: int, height: int, size: int, inner: tuple[int, int, int, int]
) -> None:
    box = Letterbox(width, height, size)
    assert box.inner == inner
    corners = box.boxes_to_square([[0, 0, width, height]])[0]
    x, y, w, h = inner
    np.testing.assert_allclose(corners, [x, y, x + w, y + h], atol=1e-4)
