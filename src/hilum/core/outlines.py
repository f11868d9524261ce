"""Masks -> outlines that a page draws: SVG path data in source pixels. Knows no file.

An outline is for the eye: true to about one part in five hundred of the image's long side. What
is counted or measured is the mask.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

GRID = 512  # px, long side of the grid on which a border is followed
TOLERANCE = 0.7  # px of that grid by which a border may be straightened


def svg_path(mask: NDArray[np.bool_]) -> str:
    """The borders of an (H, W) mask, holes too, as "M12 30l5 3-2 7z…"; empty for an empty mask.

    Whole numbers, x right, y down, counted from pixel edges as boxes are. Fill with the even-odd
    rule.
    """
    if not mask.any():
        return ""
    bits = mask.view(np.uint8)
    shrink = max(1.0, max(mask.shape) / GRID)
    if shrink > 1:
        size = max(1, round(mask.shape[1] / shrink)), max(1, round(mask.shape[0] / shrink))
        # Area averaging keeps thin parts; half covered cells are the border.
        bits = (cv2.resize(bits * 255, size, interpolation=cv2.INTER_AREA) >= 128).view(np.uint8)
    outlines, _ = cv2.findContours(bits, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    to_source = np.array(mask.shape[::-1]) / np.array(bits.shape[::-1])
    lines = (cv2.approxPolyDP(line, TOLERANCE, True).reshape(-1, 2) for line in outlines)
    return "".join(_closed(np.rint((line + 0.5) * to_source).astype(int)) for line in lines)


def _closed(points: NDArray[np.int_]) -> str:
    """One border: its first point, then steps from each point to the next."""
    (x, y), steps = points[0].tolist(), np.diff(points, axis=0).tolist()
    # A minus sign parts two numbers as a blank does.
    words = "".join(f" {a}{b}" if b < 0 else f" {a} {b}" for a, b in steps)
    return f"M{x} {y}{'l' + words.strip() if words else ''}z"
