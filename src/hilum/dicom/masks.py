"""Where pixels are no part of the radiograph: shutters and burned-in borders.

Knows the Display Shutter module (PS3.3 C.7.6.11) and plain frames around an image. Collimators
are not masked: their edges are often in other units than pixels.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from hilum.dicom.header import Header

Float32 = NDArray[np.float32]
Bool = NDArray[np.bool_]

BORDER_TOLERANCE = 2.5 / 255  # a lossy frame is uniform to two 8-bit levels


def shutter(header: Header, rows: int, columns: int) -> tuple[Bool | None, tuple[str, ...]]:
    """(H, W) True inside all shutters, None where none hides anything; and those not used.

    Coordinates in the file are rows and columns from 1; the edges themselves stay visible. One
    that would hide everything, or was drawn on a larger image, is not used.
    """
    open_ = np.ones((rows, columns), np.uint8)
    warnings: tuple[str, ...] = ()
    for shape in dict.fromkeys(header.codes("ShutterShape")):
        draw = _SHUTTERS.get(shape)
        own = draw(header, rows, columns) if draw else None
        if own is None or not own.any():
            warnings += (f"its {shape.lower() or 'unnamed'} shutter cannot be: not used",)
        else:
            open_ &= own
    if not open_.any():
        return None, (*warnings, "its shutters leave nothing open: not used")
    return (None if open_.all() else open_.astype(bool)), warnings


def _rectangle(header: Header, rows: int, columns: int) -> NDArray[np.uint8] | None:
    beyond: list[str] = []

    def edge(keyword: str, default: int, size: int) -> int:
        numbers = header.numbers(keyword)
        value = numbers[0] if numbers else default
        if value > size + 1:
            beyond.append(keyword)
        return int(min(max(value, 0), size + 1))

    left = edge("ShutterLeftVerticalEdge", 1, columns)
    right = edge("ShutterRightVerticalEdge", columns, columns)
    top = edge("ShutterUpperHorizontalEdge", 1, rows)
    bottom = edge("ShutterLowerHorizontalEdge", rows, rows)
    mask = np.zeros((rows, columns), np.uint8)
    mask[max(top - 1, 0) : bottom, max(left - 1, 0) : right] = 1
    return None if beyond else mask


def _circle(header: Header, rows: int, columns: int) -> NDArray[np.uint8] | None:
    centre = header.numbers("CenterOfCircularShutter") or ()
    radius = header.numbers("RadiusOfCircularShutter") or ()
    if len(centre) != 2 or len(radius) != 1 or radius[0] <= 0:
        return None
    y = np.arange(1, rows + 1)[:, None] - centre[0]
    x = np.arange(1, columns + 1)[None] - centre[1]
    return (x * x + y * y <= radius[0] ** 2).astype(np.uint8)


def _polygon(header: Header, rows: int, columns: int) -> NDArray[np.uint8] | None:
    numbers = header.numbers("VerticesOfThePolygonalShutter") or ()
    if len(numbers) < 6 or len(numbers) % 2:
        return None
    corners = np.reshape(numbers, (-1, 2))[:, ::-1]
    if (corners > [columns + 1, rows + 1]).any():
        return None
    far = 2 * max(rows, columns)
    points = np.clip(corners - 1, -far, far)
    mask = np.zeros((rows, columns), np.uint8)
    cv2.fillPoly(mask, [np.rint(points).astype(np.int32)], [1])
    return mask


_SHUTTERS: dict[str, Callable[[Header, int, int], NDArray[np.uint8] | None]] = {
    "RECTANGULAR": _rectangle,
    "CIRCULAR": _circle,
    "POLYGONAL": _polygon,
}


def inside_border(pixels: Float32) -> tuple[slice, slice] | None:
    """Rows and columns inside a uniform frame; None when there is none or all is uniform.

    Each side may have its own grey. A side counts from its first row (column) on while rows are
    uniform and of the same grey.
    """
    top = _uniform_run(pixels)
    bottom = _uniform_run(pixels[::-1])
    if top + bottom >= pixels.shape[0]:
        return None
    middle = pixels[top : pixels.shape[0] - bottom]
    left, right = _uniform_run(middle.T), _uniform_run(middle.T[::-1])
    height, width = pixels.shape
    if not (top or bottom or left or right) or left + right >= width:
        return None
    return slice(top, height - bottom), slice(left, width - right)


def _uniform_run(lines: Float32) -> int:
    """How many lines from the first on are uniform and alike."""
    low = high = float(lines[0, 0])
    for count, line in enumerate(lines):
        # Most lines are refused by a few samples, without a look at all of them.
        some = line[:: max(1, len(line) // 8)]
        if float(some.max()) - float(some.min()) > BORDER_TOLERANCE:
            return count
        low, high = min(low, float(line.min())), max(high, float(line.max()))
        if high - low > BORDER_TOLERANCE:
            return count
    return len(lines)


def combine(*masks: Bool | None) -> Bool | None:
    """True where all are; None when all are None."""
    present = [mask for mask in masks if mask is not None]
    if not present:
        return None
    out = present[0].copy()
    for mask in present[1:]:
        out &= mask
    return out


def border_mask(pixels: Float32) -> Bool | None:
    """(H, W) True inside the burned-in frame, or None."""
    inside = inside_border(pixels)
    if inside is None:
        return None
    mask = np.zeros(pixels.shape, bool)
    mask[inside] = True
    return mask
