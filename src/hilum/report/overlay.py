"""Findings drawn on their radiograph: boxes with scores, outlines of masks, the notice below.

Knows core values only. Nothing covers the anatomy but thin lines and small tags; all words about
the picture stand on a strip outside it. Line widths and letters grow with the picture.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from hilum.core.findings import Findings
from hilum.core.geometry import transform_boxes
from hilum.core.labels import ANATOMY, NOT_SHOWN, VOCABULARY
from hilum.core.manifest import BOX, OperatingPoint
from hilum.core.radiograph import Radiograph
from hilum.report.drawing import PLATE, Canvas, Colour, Picture, base, draw_box, draw_outline
from hilum.report.drawing import font as letters
from hilum.report.strip import QUIET, Word, strip

NONE_FOUND = "No target finding above the threshold"


class Area(NamedTuple):
    """Edges, px."""

    x1: int
    y1: int
    x2: int
    y2: int


def draw(
    radiograph: Radiograph,
    findings: Findings,
    points: Mapping[str, OperatingPoint] | None = None,
) -> Picture:
    """The radiograph with its findings and the notice, RGB.

    Args:
        points: operating points by name, written beside the scores they are for.

    Returns:
        (H, W, 3) uint8: the radiograph at `Canvas.size`, then the strip below it.
    """
    canvas = Canvas(radiograph.width, radiograph.height)
    marked = base(radiograph, canvas)
    mark(marked, canvas, findings)
    tag(marked, canvas, findings)
    below = strip(_words(findings, points or {}), canvas.size[0], canvas.unit)
    return np.vstack([marked, below])


def mark(picture: Picture, canvas: Canvas, findings: Findings, anatomy: bool = True) -> None:
    """Outlines and boxes, into `picture`.

    Args:
        anatomy: outline the lungs, too.
    """
    for name in sorted(findings.masks, key=lambda name: name not in ANATOMY):  # findings on top
        if anatomy or name not in ANATOMY:
            draw_outline(picture, canvas, findings.masks[name], colour_of(name))
    for box, label in reversed(list(zip(findings.boxes_px, findings.labels, strict=True))):
        draw_box(picture, canvas, box, colour_of(label))


def _words(findings: Findings, points: Mapping[str, OperatingPoint]) -> list[Word]:
    """What is said below the picture: scores, the meaning of colours, where boxes begin."""
    words = [] if findings.marked else [Word(NONE_FOUND)]
    words += [
        Word(f"{name} {value:.2f}{_limits(name, points)}")
        for name, value in findings.image_scores.items()
        if name not in NOT_SHOWN
    ]
    words += legend([*findings.labels, *findings.masks])
    words += [
        Word(f"boxes from {point.threshold:.2f}: {name}", QUIET)
        for name, point in points.items()
        if point.score == BOX
    ]
    return words


def _limits(score: str, points: Mapping[str, OperatingPoint]) -> str:
    """The operating points of a score, in brackets."""
    known = [f"{n} from {p.threshold:.2f}" for n, p in points.items() if p.score == score]
    return f" ({', '.join(known)})" if known else ""


def legend(names: Iterable[str]) -> list[Word]:
    """Each finding once, beside its colour."""
    return [Word(text_of(name), QUIET, colour_of(name)) for name in dict.fromkeys(names)]


def tag(picture: Picture, canvas: Canvas, findings: Findings) -> None:
    """Each box's name and score beside it, into `picture`."""
    boxes = transform_boxes(findings.boxes_px, canvas.matrix).reshape(-1, 4)
    image = Image.fromarray(picture)
    pen, font = ImageDraw.Draw(image), letters(canvas.unit)
    placed: list[Area] = []
    for box, label, score in zip(boxes, findings.labels, findings.scores, strict=True):
        text = f"{text_of(label)} {score:.2f}"
        x1, y1, x2, y2 = area = _place(box, font.getlength(text), canvas, placed)
        placed.append(area)
        middle = (x1 + x2) / 2, (y1 + y2) / 2
        pen.rectangle((x1, y1, x2 - 1, y2 - 1), fill=PLATE)
        pen.text(middle, text, fill=colour_of(label), font=font, anchor="mm")
    picture[:] = np.asarray(image)


def _place(box: NDArray[np.float32], length: float, canvas: Canvas, placed: Sequence[Area]) -> Area:
    """A place for a tag beside its box, inside the picture, on no other tag if possible."""
    w, h = round(length + canvas.unit * 0.7), round(canvas.unit * 1.5)
    gap = canvas.line + 1
    x1, y1, x2, y2 = box
    corners = [
        (x1 - gap, y1 - gap - h),  # above
        (x1 - gap, y2 + gap),  # below
        (x2 - w + gap, y1 - gap - h),
        (x2 + gap, y1),  # right
        (x1 - w - gap, y1),  # left
        (x1 + gap, y1 + gap),  # inside
        (x1 + gap, y1 + gap + h),
    ]
    areas = []
    for x, y in corners:
        left = int(np.clip(x, 0, max(0, canvas.size[0] - w)))
        top = int(np.clip(y, 0, max(0, canvas.size[1] - h)))
        areas.append(Area(x1=left, y1=top, x2=left + w, y2=top + h))
    return min(areas, key=lambda area: sum(_overlap(area, other) for other in placed))


def _overlap(a: Area, b: Area) -> int:
    w, h = min(a.x2, b.x2) - max(a.x1, b.x1), min(a.y2, b.y2) - max(a.y1, b.y1)
    return max(w, 0) * max(h, 0)


def colour_of(name: str) -> Colour:
    return VOCABULARY[name].colour_rgb if name in VOCABULARY else (255, 255, 255)


def text_of(name: str) -> str:
    return VOCABULARY[name].text if name in VOCABULARY else name
