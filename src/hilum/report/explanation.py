"""What a score rests on, drawn beside what was found. Knows arrays only."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hilum.core.radiograph import Radiograph
from hilum.report.drawing import (
    PREDICTION,
    TRUTH,
    Canvas,
    Picture,
    base,
    draw_boxes,
    draw_heat,
    draw_words,
    sheet,
)

SIDE = 720  # px of each of the two pictures


def explanation(
    radiograph: Radiograph,
    heat: NDArray[np.floating[Any]],
    words: str,
    boxes_px: ArrayLike | None = None,
    truth_px: ArrayLike = (),
) -> Picture:
    """Two pictures: the boxes, and the same with the heat-map.

    Args:
        heat: (h, w) in [0, 1] of the whole image.
        words: the score and the method, for the second picture's head.
        boxes_px: (n, 4) what was found; None where nobody looked for boxes.
        truth_px: (n, 4) what readers drew.
    """
    canvas = Canvas(width=radiograph.width, height=radiograph.height, sides=(SIDE, SIDE))
    plain = base(radiograph, canvas)
    warm = plain.copy()
    draw_heat(warm, canvas, heat)
    for picture in (plain, warm):
        draw_boxes(picture, canvas, truth_px, TRUTH)
        draw_boxes(picture, canvas, () if boxes_px is None else boxes_px, PREDICTION)
    if boxes_px is not None:
        legend = "boxes found" if len(np.asarray(boxes_px).reshape(-1, 4)) else "no box found"
        draw_words(plain, legend, 6, 6, colour=PREDICTION, size=canvas.unit)
    if len(np.asarray(truth_px).reshape(-1, 4)):
        draw_words(
            plain, "boxes of readers", 6, 6 + 2 * canvas.unit, colour=TRUTH, size=canvas.unit
        )
    draw_words(warm, words, 6, 6, size=canvas.unit)
    draw_words(warm, "what moves the score: no diagnosis", 6, canvas.size[1], size=canvas.unit)
    return sheet([plain, warm], 2)
