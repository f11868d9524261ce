"""EXIF orientations (EXIF 2.32, tag 0x0112): pixels and boxes as they are stored -> upright.

They count from 1 (upright) to 8. Arrays in, arrays out; reads no file.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]

SIDEWAYS = (5, 6, 7, 8)  # exchange width and height


def turn_boxes(boxes: Float64, orientation: int, frame: tuple[int, int]) -> Float64:
    """(n, 4) boxes drawn in the unturned image, on the upright one.

    Args:
        frame: width and height of the unturned image, px.
    """
    width, height = frame
    x1, y1, x2, y2 = boxes.reshape(-1, 4).T
    far_x1, far_x2, far_y1, far_y2 = width - x2, width - x1, height - y2, height - y1
    turned = {
        2: (far_x1, y1, far_x2, y2),
        3: (far_x1, far_y1, far_x2, far_y2),
        4: (x1, far_y1, x2, far_y2),
        5: (y1, x1, y2, x2),
        6: (far_y1, x1, far_y2, x2),
        7: (far_y1, far_x1, far_y2, far_x2),
        8: (y1, far_x1, y2, far_x2),
    }
    return np.stack(turned.get(orientation, (x1, y1, x2, y2)), axis=1)


def turn(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """(H, W) pixels as stored -> upright."""
    turned = {
        2: pixels[:, ::-1],
        3: pixels[::-1, ::-1],
        4: pixels[::-1],
        5: pixels.T,
        6: pixels.T[:, ::-1],
        7: pixels.T[::-1, ::-1],
        8: pixels.T[::-1],
    }
    return np.ascontiguousarray(turned.get(orientation, pixels))
