"""Masks -> outlines that a page draws: SVG path data in source pixels. Knows no file.

An outline is for the eye: straightened by up to one part in 700 of the image's long side. What is
counted or measured is the mask.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

FINENESS = 700  # parts of the long side; a border may be straightened by one of them, or by .7 px


def svg_path(mask: NDArray[np.bool_]) -> str:
    """The borders of an (H, W) mask, holes too, as "M12 30l5 3-2 7z…"; empty for an empty mask.

    Whole numbers, x right, y down, counted from pixel edges as boxes are. Fill with the even-odd
    rule.
    """
    if not mask.any():
        return ""
    tolerance = max(0.7, max(mask.shape) / FINENESS)
    borders, _ = cv2.findContours(mask.view(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    lines = (cv2.approxPolyDP(line, tolerance, True).reshape(-1, 2) for line in borders)
    return "".join(_closed(np.rint(line + 0.5).astype(int)) for line in lines)


def _closed(points: NDArray[np.int_]) -> str:
    """One border: its first point, then steps from each point to the next."""
    (x, y), steps = points[0].tolist(), np.diff(points, axis=0).tolist()
    # A minus sign parts two numbers as a blank does.
    words = "".join(f" {a}{b}" if b < 0 else f" {a} {b}" for a, b in steps)
    return f"M{x} {y}{'l' + words.strip() if words else ''}z"
