"""Moves image, masks and boxes together with one matrix. Knows no network and no torch."""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from hilum.core.geometry import (
    Float64,
    box_areas,
    clip_boxes,
    compose,
    transform_boxes,
    warp_matrix,
)

Float32 = NDArray[np.float32]


def about_centre(
    size: int, *, scale: float, angle_deg: float, shear_deg: float, flip: bool
) -> Float64:
    """(3, 3) map of a square: flip left-right, scale, shear and rotate about its centre."""
    c = size / 2
    to_origin = np.array([[1, 0, -c], [0, 1, -c], [0, 0, 1.0]])
    mirror = np.diag([-1.0 if flip else 1.0, 1.0, 1.0])
    zoom = np.diag([scale, scale, 1.0])
    slant = np.eye(3)
    slant[0, 1] = np.tan(np.radians(shear_deg))
    turn = np.eye(3)
    cos, sin = np.cos(np.radians(angle_deg)), np.sin(np.radians(angle_deg))
    turn[:2, :2] = [[cos, -sin], [sin, cos]]
    return compose(to_origin, mirror, zoom, slant, turn, np.linalg.inv(to_origin))


def shifted(matrix: Float64, dx: float, dy: float) -> Float64:
    """The map followed by a shift in pixels."""
    return compose(matrix, np.array([[1, 0, dx], [0, 1, dy], [0, 0, 1.0]]))


def warp_image(image: Float32, matrix: Float64) -> Float32:
    """(s, s) float image through the map, linear, black outside."""
    h, w = image.shape
    out: Float32 = cv2.warpPerspective(image, warp_matrix(matrix), (w, h), flags=cv2.INTER_LINEAR)
    return out


def warp_mask(mask: NDArray[np.uint8], matrix: Float64, outside: int = 0) -> NDArray[np.uint8]:
    """(s, s) label mask through the map, nearest neighbour, `outside` beyond the edges."""
    h, w = mask.shape
    out: NDArray[np.uint8] = cv2.warpPerspective(
        mask, warp_matrix(matrix), (w, h), flags=cv2.INTER_NEAREST, borderValue=(outside,)
    )
    return out


def warp_boxes(
    boxes: ArrayLike,
    matrix: Float64,
    size: int,
    rule: Literal["corners", "eight"] = "eight",
    keep: float = 0.3,
) -> tuple[Float32, NDArray[np.intp]]:
    """Mapped boxes cut to the square, and the indices of those kept.

    A box of which less than `keep` of its area stays inside is dropped; the caller drops its
    label by the index.
    """
    moved = transform_boxes(boxes, matrix, rule)
    inside = clip_boxes(moved, size, size)
    full = np.maximum(box_areas(moved), 1e-6)
    kept = np.flatnonzero((box_areas(inside) / full >= keep) & (box_areas(inside) > 1))
    return inside[kept].astype(np.float32), kept
