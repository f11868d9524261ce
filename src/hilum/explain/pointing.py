"""The pointing game (Zhang et al. 2018): does the hottest point of a map lie in a true box?

Beside it stands chance: a point anywhere in the image, and the middle of the image, which large
central boxes hit as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.floating]


@dataclass(frozen=True, slots=True, eq=False)
class Pointed:
    """One image with boxes: did the point hit, how likely was chance to."""

    hit: bool
    anywhere: float  # share of the image that the boxes cover
    middle: bool  # whether the middle of the image lies in one


def pointed(point: tuple[float, float], boxes_px: Float, width: int, height: int) -> Pointed:
    """
    Args:
        point: x, y in source pixels.
        boxes_px: (n, 4) true boxes, n >= 1.
    """
    inside = np.zeros((height, width), bool)
    for x1, y1, x2, y2 in np.asarray(boxes_px, np.float64).reshape(-1, 4):
        rows = slice(max(0, round(y1)), max(0, round(y2)))
        inside[rows, max(0, round(x1)) : max(0, round(x2))] = True
    return Pointed(
        hit=within(point, boxes_px),
        anywhere=float(inside.mean()),
        middle=within((width / 2, height / 2), boxes_px),
    )


def within(point: tuple[float, float], boxes_px: Float) -> bool:
    """Whether a point lies in any of (n, 4) boxes."""
    x, y = point
    x1, y1, x2, y2 = np.asarray(boxes_px, np.float64).reshape(-1, 4).T
    return bool(((x1 <= x) & (x < x2) & (y1 <= y) & (y < y2)).any())


def rates(points: Sequence[Pointed]) -> dict[str, list[float]]:
    """Name -> one value an image, for means with intervals over patients."""
    return {
        "hottest point in a true box": [float(one.hit) for one in points],
        "chance: a point anywhere": [one.anywhere for one in points],
        "chance: the middle of the image": [float(one.middle) for one in points],
    }
