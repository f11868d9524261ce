"""Frames: the size in pixels that boxes and masks were drawn in, and the way into another one.

Arrays in, arrays out; knows no catalog and no file.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from hilum.core.errors import DataError

Float64 = NDArray[np.float64]
Bool = NDArray[np.bool_]
Size = tuple[int, int]  # width, height, px

ROUNDING_PX = 1.0  # a resized copy has whole sides, so its two scales differ a little


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
            "image that was annotated, or a copy of the same shape"
        )
    scaled: Float64 = boxes * ([size[0] / frame[0], size[1] / frame[1]] * 2)
    return scaled


def resized(mask: Bool, height: int, width: int) -> Bool:
    """(height, width) a mask in another size, nearest neighbour."""
    if mask.shape == (height, width):
        return mask
    other = cv2.resize(mask.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
    return np.asarray(other > 0, np.bool_)
