"""Boxes and maps. Knows no model, no file.

Boxes are (n, 4) x1, y1, x2, y2 in pixels, x right, y down, pixel *edges*: the one-pixel box at
the origin is 0, 0, 1, 1. A map is a value that can be inverted, so a result always returns to
source pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from hilum.core.errors import GeometryError
from hilum.core.shrink import shrink

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

FARTHEST_PX = 2**24  # of an edge in a file: no image reaches so far, and no area overflows


def check_scored(boxes: ArrayLike, scores: NDArray[Any], labels: Sequence[str]) -> None:
    """Raises GeometryError: bad boxes, not one score and label each, or a score outside [0, 1]."""
    n = len(check_boxes(boxes))
    if scores.shape != (n,) or len(labels) != n:
        raise GeometryError(f"{n} boxes came with {scores.shape} scores and {len(labels)} labels")
    if n and not (scores.min() >= 0 and scores.max() <= 1):
        raise GeometryError("box scores must lie in [0, 1] and not be NaN")


def check_boxes(boxes: ArrayLike) -> NDArray[np.floating[Any]]:
    """Boxes as an (n, 4) float array.

    Raises:
        GeometryError: not (n, 4), NaN or infinite, or reversed corners.
    """
    array = np.asarray(boxes, dtype=None)
    if array.size == 0:
        return np.zeros((0, 4), np.float32)
    if array.ndim != 2 or array.shape[1] != 4:
        raise GeometryError(f"boxes have shape {array.shape}; needed: (n, 4) x1, y1, x2, y2")
    if not np.issubdtype(array.dtype, np.floating):
        array = array.astype(np.float64)
    if not np.isfinite(array).all():
        raise GeometryError("boxes hold NaN or infinite values; drop or repair these rows first")
    reversed_rows = (array[:, 2] < array[:, 0]) | (array[:, 3] < array[:, 1])
    if reversed_rows.any():
        row = int(np.argmax(reversed_rows))
        raise GeometryError(
            f"box {row} is {array[row].tolist()}: its corners are reversed; needed: x1 <= x2 "
            "and y1 <= y2"
        )
    return array


def box_areas(boxes: ArrayLike) -> NDArray[np.floating[Any]]:
    """(n,) areas in square pixels."""
    b = check_boxes(boxes)
    areas: NDArray[np.floating[Any]] = (b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1])
    return areas


def iou_matrix(a: ArrayLike, b: ArrayLike) -> Float64:
    """(n, m) intersection over union; 0 where both boxes are empty."""
    overlap = _overlap(a, b)
    union = box_areas(a)[:, None] + box_areas(b)[None, :] - overlap
    out: Float64 = np.divide(overlap, union, out=np.zeros_like(overlap), where=union > 0)
    return out


def inside_matrix(a: ArrayLike, b: ArrayLike) -> Float64:
    """(n, m) part of the area of each box of `a` that lies in each of `b`; 0 of an empty one."""
    overlap, area = _overlap(a, b), box_areas(a)[:, None]
    out: Float64 = np.divide(overlap, area, out=np.zeros_like(overlap), where=area > 0)
    return out


def _overlap(a: ArrayLike, b: ArrayLike) -> Float64:
    """(n, m) area that two boxes share."""
    first, second = check_boxes(a).astype(np.float64), check_boxes(b).astype(np.float64)
    left_top = np.maximum(first[:, None, :2], second[None, :, :2])
    right_bottom = np.minimum(first[:, None, 2:], second[None, :, 2:])
    out: Float64 = np.clip(right_bottom - left_top, 0, None).prod(axis=2)
    return out


def clip_boxes(boxes: ArrayLike, width: float, height: float) -> NDArray[np.floating[Any]]:
    """Boxes cut to the image; boxes outside become empty (zero area), none is dropped."""
    b = check_boxes(boxes).copy()
    b[:, 0::2] = b[:, 0::2].clip(0, width)
    b[:, 1::2] = b[:, 1::2].clip(0, height)
    return b


Rule: TypeAlias = Literal["corners", "eight", "edges"]


def box_points(boxes: ArrayLike, rule: Rule = "corners") -> Float64:
    """(n, p, 2) points of each box that stand for it when it is mapped.

    Args:
        boxes: (n, 4) x1, y1, x2, y2.
        rule: "corners" takes the four corners; "eight" the points at 1/3 and 2/3 of each edge,
            whose extent grows less under rotation (RSNA 2nd place, A8); "edges" sixteen points of
            each edge with the corners, for maps that bend straight lines.
    """
    b = check_boxes(boxes).astype(np.float64)
    if rule == "corners":
        fractions: list[tuple[float, float]] = [(0, 0), (1, 0), (1, 1), (0, 1)]
    elif rule == "eight":
        t = 1 / 3
        fractions = [
            *((t, 0), (2 * t, 0), (1, t), (1, 2 * t)),
            *((2 * t, 1), (t, 1), (0, 2 * t), (0, t)),
        ]
    elif rule == "edges":
        steps = [i / 16 for i in range(16)]
        fractions = [
            *((t, 0.0) for t in steps),
            *((1.0, t) for t in steps),
            *((1 - t, 1.0) for t in steps),
            *((0.0, 1 - t) for t in steps),
        ]
    else:
        raise GeometryError(f"unknown rule {rule!r}; known: corners, eight, edges")
    f = np.array(fractions)
    x = b[:, None, 0] + f[None, :, 0] * (b[:, 2] - b[:, 0])[:, None]
    y = b[:, None, 1] + f[None, :, 1] * (b[:, 3] - b[:, 1])[:, None]
    return np.stack([x, y], axis=2)


def transform_boxes(boxes: ArrayLike, matrix: ArrayLike, rule: Rule = "corners") -> Float32:
    """Boxes around the mapped points of boxes (see `box_points`).

    Args:
        boxes: (n, 4) x1, y1, x2, y2.
        matrix: (2, 3) affine, or (3, 3) affine or projective, on edge coordinates.
        rule: which points of a box are mapped.

    Returns:
        (n, 4) float32.
    """
    m = np.asarray(matrix, np.float64)
    if m.shape not in ((2, 3), (3, 3)):
        raise GeometryError(f"matrix has shape {m.shape}; needed: (2, 3) or (3, 3)")
    if not np.isfinite(m).all():
        raise GeometryError("matrix holds NaN or infinite values")
    points = box_points(boxes, rule)
    return boxes_around(transform_points(points.reshape(-1, 2), m).reshape(points.shape))


def boxes_around(points: Float64) -> Float32:
    """(n, 4) float32 boxes around (n, p, 2) points."""
    return np.concatenate([points.min(axis=1), points.max(axis=1)], axis=1).astype(np.float32)


def transform_points(points: ArrayLike, matrix: ArrayLike) -> Float64:
    """(n, 2) x, y points through a (2, 3) or (3, 3) matrix."""
    p, m = np.asarray(points, np.float64), np.asarray(matrix, np.float64)
    mapped: Float64 = p @ m[:2, :2].T + m[:2, 2]
    if m.shape == (3, 3):
        weight = p @ m[2, :2] + m[2, 2]
        mapped = mapped / weight[:, None]
    return mapped


def compose(*matrices: ArrayLike) -> Float64:
    """One (3, 3) matrix that applies the given ones from left to right."""
    out = np.eye(3)
    for matrix in matrices:
        m = np.asarray(matrix, np.float64)
        full = np.vstack([m, [0, 0, 1]]) if m.shape == (2, 3) else m
        out = full @ out
    return out


def invert(matrix: ArrayLike) -> Float64:
    """The inverse as a (3, 3) matrix."""
    try:
        inverse: Float64 = np.linalg.inv(compose(matrix)).astype(np.float64)
        return inverse
    except np.linalg.LinAlgError as error:
        raise GeometryError("the map cannot be inverted (its determinant is 0)") from error


def warp_matrix(matrix: ArrayLike) -> Float64:
    """The same map for pixel *centres*, as OpenCV's warps want it.

    Our coordinates count pixel edges (centre of the first pixel = 0.5), OpenCV's centres.
    """
    shift = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1.0]])
    return compose(shift, matrix, np.linalg.inv(shift))


def resample(values: NDArray[Any], matrix: ArrayLike, shape: tuple[int, int]) -> Float32:
    """(H, W) of `shape`, read linearly from (h, w) values where `matrix` (3, 3) sends its points.

    Points are pixel edges on both sides; beyond the rim the outermost values go on.
    """
    out: Float32 = cv2.warpAffine(
        np.ascontiguousarray(values, np.float32),
        warp_matrix(matrix)[:2],
        (shape[1], shape[0]),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return out


def reaches(
    values: NDArray[Any], matrix: ArrayLike, shape: tuple[int, int], least: float
) -> NDArray[np.bool_]:
    """(H, W) of `shape`: where `resample` gives at least `least`, but three times as fast.

    Columns are read first, then the rows between two cells at once: no (H, W) numbers are kept.

    Raises:
        GeometryError: the matrix turns or slants; it may stretch, move and mirror.
    """
    m = compose(matrix)
    if m[0, 1] or m[1, 0]:
        raise GeometryError(f"a map that turns or slants: {m.tolist()}; needed: one along the axes")
    cells = np.asarray(values, np.float32)
    height, width = shape
    x = _between(m[0, 0], m[0, 2], width, cells.shape[1])
    across = cells[:, x.cell] * (1 - x.part) + cells[:, x.after] * x.part - np.float32(least)
    y = _between(m[1, 1], m[1, 2], height, cells.shape[0])
    out = np.empty(shape, np.bool_)
    starts = np.flatnonzero(np.diff(y.cell, prepend=-1))
    for start, end in zip(starts, [*starts[1:], height], strict=True):
        above = across[y.cell[start]]
        rise = across[y.after[start]] - above
        np.greater_equal(y.part[start:end, None] * rise, -above, out=out[start:end])
    return out


class _Between(NamedTuple):
    """For each of (n,) pixels the two cells around its centre, and how far on it lies."""

    cell: NDArray[np.int64]
    after: NDArray[np.int64]
    part: Float32  # in [0, 1)


def _between(scale: float, shift: float, count: int, cells: int) -> _Between:
    place = np.clip((np.arange(count) + 0.5) * scale + shift - 0.5, 0, cells - 1)
    first = place.astype(np.int64)
    part = (place - first).astype(np.float32)
    return _Between(first, np.minimum(first + 1, cells - 1), part)


@dataclass(frozen=True, slots=True)
class Letterbox:
    """Aspect-preserving resize of a (height, width) image into a square of `size`, centred.

    The resized size is rounded to whole pixels, so the scales of x and y differ by a hair; the
    map keeps both, so that its inverse is exact.
    """

    width: int
    height: int
    size: int

    def __post_init__(self) -> None:
        if min(self.width, self.height, self.size) < 1:
            raise GeometryError(f"sizes must be at least 1 px, got {self}")

    @property
    def inner(self) -> tuple[int, int, int, int]:
        """x, y, width, height of the image inside the square, in whole pixels."""
        scale = self.size / max(self.width, self.height)
        w = max(1, round(self.width * scale))
        h = max(1, round(self.height * scale))
        return (self.size - w) // 2, (self.size - h) // 2, w, h

    @property
    def matrix(self) -> Float64:
        """(3, 3) from source to square."""
        x, y, w, h = self.inner
        return np.array([[w / self.width, 0, x], [0, h / self.height, y], [0, 0, 1.0]])

    def apply(self, image: NDArray[Any], fill: float = 0.0) -> NDArray[Any]:
        """(H, W) image to (size, size). Area averaging when it shrinks, linear when it grows."""
        self._expect(image, (self.height, self.width))
        x, y, w, h = self.inner
        out = np.full((self.size, self.size), fill, image.dtype)
        if w < self.width or h < self.height:
            out[y : y + h, x : x + w] = shrink(image, w, h)
        else:
            out[y : y + h, x : x + w] = cv2.resize(image, (w, h), interpolation=cv2.INTER_LINEAR)
        return out

    def to_cells(self, side: int) -> Float64:
        """(3, 3) from source pixels to the cells of a (side, side) map over the square."""
        x, y, w, h = self.inner
        ratio = side / self.size  # a mask head's stride
        return np.array(
            [
                [w * ratio / self.width, 0, x * ratio],
                [0, h * ratio / self.height, y * ratio],
                [0, 0, 1.0],
            ]
        )

    def boxes_to_square(self, boxes: ArrayLike) -> Float32:
        return transform_boxes(boxes, self.matrix)

    def boxes_to_source(self, boxes: ArrayLike) -> Float32:
        return transform_boxes(boxes, invert(self.matrix))

    @staticmethod
    def _expect(image: NDArray[Any], shape: tuple[int, int]) -> None:
        if image.shape != shape:
            raise GeometryError(f"image is {image.shape}; this letterbox was made for {shape}")
