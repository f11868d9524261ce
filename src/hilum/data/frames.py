"""Frames: the size in pixels that boxes and masks were drawn in, and the way into another one.

Arrays in, arrays out; knows no catalog and no file. EXIF orientations count from 1 (upright) to 8
(EXIF 2.32, tag 0x0112); 5 to 8 exchange width and height.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hilum.core.errors import DataError

Float64 = NDArray[np.float64]
Size = tuple[int, int]  # width, height, px

ROUNDING_PX = 1.0  # a resized copy has whole sides, so its two scales differ a little
SIDEWAYS = (5, 6, 7, 8)  # EXIF orientations that exchange width and height


def same_shape(a: Size, b: Size) -> bool:
    """Whether one size is the other but for scale and the rounding of its sides."""
    (small_w, small_h), (large_w, large_h) = sorted((a, b))
    if not min(small_w, small_h):
        return False
    by_width = abs(large_h * small_w / large_w - small_h)
    by_height = abs(large_w * small_h / large_h - small_w)
    return min(by_width, by_height) <= ROUNDING_PX


def into(boxes: Float64, frame: Size, size: Size, image: str) -> Float64:
    """(n, 4) boxes of `frame` in the pixels of `size`; a frame of 0×0 is unknown, taken as `size`.

    Raises:
        DataError: the two are of different shape, so no scale leads from one to the other.
    """
    if frame == size or not min(frame) or not len(boxes):
        return boxes
    if not same_shape(frame, size):
        raise DataError(
            f"image {image!r}: its boxes were drawn in {frame[0]}×{frame[1]} px, its pixels are "
            f"{size[0]}×{size[1]}: of another shape, so cropped, squeezed or turned; needed: the "
            "picture that was annotated, or a copy of the same shape"
        )
    scaled: Float64 = boxes * ([size[0] / frame[0], size[1] / frame[1]] * 2)
    return scaled


def turn_boxes(boxes: Float64, orientation: int, frame: Size) -> Float64:
    """(n, 4) boxes drawn in the unturned picture (`frame` is its size) on the upright one."""
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
