"""Maps of a square, and how image, masks and boxes go through them together. Draws nothing.

A map knows where points go (`points`) and what an image becomes (`image`, `mask`). There are two:
`Matrix` keeps straight lines, `Field` bends them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from hilum.augment.sample import UNKNOWN, Float32, Sample
from hilum.core.geometry import (
    Float64,
    Rule,
    box_areas,
    box_points,
    boxes_around,
    clip_boxes,
    compose,
    transform_points,
    warp_matrix,
)

# A field this steep at most: it never folds, and its inverse is found by iteration.
STEEPEST = 0.6


class Map(Protocol):
    def points(self, xy: Float64) -> Float64:
        """Where (n, 2) points go, in edge coordinates."""

    def image(self, image: Float32, width: int, height: int) -> Float32:
        """What an image becomes: linear, black outside."""

    def mask(self, mask: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
        """What a label mask becomes: nearest neighbour, 0 outside."""

    def rule(self, rule: Rule) -> Rule:
        """Which points of a box must be mapped to honour `rule`."""


@dataclass(frozen=True, slots=True)
class Matrix:
    """A projective map."""

    matrix: Float64  # (3, 3) from source to result, edge coordinates

    def points(self, xy: Float64) -> Float64:
        return transform_points(xy, self.matrix)

    def image(self, image: Float32, width: int, height: int) -> Float32:
        out: Float32 = cv2.warpPerspective(
            image, warp_matrix(self.matrix), (width, height), flags=cv2.INTER_LINEAR
        )
        return out

    def mask(self, mask: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
        out: NDArray[np.uint8] = cv2.warpPerspective(
            mask, warp_matrix(self.matrix), (width, height), flags=cv2.INTER_NEAREST
        )
        return out

    def rule(self, rule: Rule) -> Rule:
        return rule


@dataclass(frozen=True, slots=True)
class Field:
    """A displacement field: the result's pixel at p shows the source at p + shift[p]."""

    shift: Float32  # (s, s, 2) x, y in px

    def source(self, xy: Float64) -> Float64:
        """Where (n, 2) points of the result come from."""
        if not len(xy):  # OpenCV refuses an empty map
            return np.asarray(xy, np.float64)
        at = (np.asarray(xy) - 0.5).astype(np.float32).reshape(-1, 1, 2)
        shift = cv2.remap(
            self.shift, at[..., 0], at[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        back: Float64 = np.asarray(xy, np.float64) + shift.reshape(-1, 2)
        return back

    def points(self, xy: Float64) -> Float64:
        """The inverse of `source`, by fixed-point iteration: each turn shrinks the error to .6."""
        there = np.asarray(xy, np.float64)
        for _ in range(24):
            there = there + xy - self.source(there)
        return there

    def image(self, image: Float32, width: int, height: int) -> Float32:
        return self._pull(image, width, height, cv2.INTER_LINEAR)

    def mask(self, mask: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
        return self._pull(mask, width, height, cv2.INTER_NEAREST)

    def rule(self, rule: Rule) -> Rule:
        return "edges" if rule == "corners" else rule  # a bent edge may reach beyond its ends

    def _pull(self, image: NDArray[Any], width: int, height: int, method: int) -> NDArray[Any]:
        y, x = np.mgrid[:height, :width].astype(np.float32)
        out: NDArray[Any] = cv2.remap(
            image, x + self.shift[:height, :width, 0], y + self.shift[:height, :width, 1], method
        )
        return out


def field(shift: Float32) -> Field:
    """A field of that shift, weakened as a whole where it would be steeper than `STEEPEST`."""
    slopes = [np.abs(np.diff(shift, axis=axis)).max(initial=0.0) for axis in (0, 1)]
    steep = 2**0.5 * float(max(slopes))
    return Field((shift * min(1.0, STEEPEST / max(steep, 1e-9))).astype(np.float32))


def about_centre(
    size: int,
    *,
    scale: float = 1.0,
    angle_deg: float = 0.0,
    shear_deg: float = 0.0,
    flip: bool = False,
    upside_down: bool = False,
) -> Float64:
    """(3, 3) map of a square: mirror, scale, shear and rotate about its centre."""
    c = size / 2
    to_origin = np.array([[1, 0, -c], [0, 1, -c], [0, 0, 1.0]])
    mirror = np.diag([-1.0 if flip else 1.0, -1.0 if upside_down else 1.0, 1.0])
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


def move_boxes(
    boxes: ArrayLike, by: Map, width: int, height: int, rule: Rule = "corners", keep: float = 0.3
) -> tuple[Float32, NDArray[np.intp]]:
    """Mapped boxes cut to the frame, and the indices of those kept.

    A box of which less than `keep` of its area stays inside is dropped; the caller drops its
    label by the index.
    """
    points = box_points(boxes, by.rule(rule))
    there = boxes_around(by.points(points.reshape(-1, 2)).reshape(points.shape))
    inside = clip_boxes(there, width, height)
    full = np.maximum(box_areas(there), 1e-6)
    kept = np.flatnonzero((box_areas(inside) / full >= keep) & (box_areas(inside) > 1))
    return inside[kept].astype(np.float32), kept


def move(
    sample: Sample,
    by: Map,
    rule: Rule = "corners",
    frame: tuple[int, int] | None = None,
) -> Sample:
    """Image, masks and boxes through one map, into a frame of (width, height) px.

    Outside the image a mask is known to be empty, unless nobody annotated it at all.
    """
    width, height = frame or (sample.image.shape[1], sample.image.shape[0])
    boxes, kept = move_boxes(sample.boxes_px, by, width, height=height, rule=rule)
    return replace(
        sample,
        image=by.image(sample.image, width, height),
        boxes_px=boxes,
        labels=tuple(sample.labels[i] for i in kept),
        masks={
            name: np.full((height, width), UNKNOWN, np.uint8)
            if (mask == UNKNOWN).all()
            else by.mask(mask, width, height)
            for name, mask in sample.masks.items()
        },
    )
