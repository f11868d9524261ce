"""Findings drawn on their radiograph: boxes with scores, outlines of masks, the notice below.

Knows core values only. Nothing covers the anatomy but thin lines and small tags; all words about
the picture stand on a strip outside it. Line widths and letters grow with the picture.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from hilum.core.findings import Findings
from hilum.core.geometry import transform_boxes
from hilum.core.labels import NOT_SHOWN, VOCABULARY
from hilum.core.manifest import BOX, OperatingPoint
from hilum.core.radiograph import Radiograph
from hilum.report.drawing import (
    INK,
    PLATE,
    Canvas,
    Colour,
    Font,
    Picture,
    base,
    draw_box,
    draw_outline,
)
from hilum.report.drawing import font as letters

NOTICE = "AI result, not for diagnosis. Research use only: a qualified reader decides"
NONE_FOUND = "No target finding above the threshold"
QUIET: Colour = (176, 188, 200)


class Word(NamedTuple):
    text: str
    ink: Colour
    swatch: Colour | None = None  # colour of a square before it


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
    _mark(marked, findings, canvas)
    boxes = transform_boxes(findings.boxes_px, canvas.matrix).reshape(-1, 4)
    marked = _tags(marked, canvas, boxes, findings)
    below = strip(
        canvas,
        findings.image_scores,
        _legend(findings),
        points=points or {},
        count=len(findings.marked),
    )
    return np.vstack([marked, below])


def _mark(picture: Picture, findings: Findings, canvas: Canvas) -> None:
    for name in ("lungs", *(name for name in findings.masks if name != "lungs")):
        if name in findings.masks:
            draw_outline(picture, canvas, findings.masks[name], _colour(name))
    for box, label in reversed(list(zip(findings.boxes_px, findings.labels, strict=True))):
        draw_box(picture, canvas, box, _colour(label))


def strip(
    canvas: Canvas,
    scores: Mapping[str, float],
    legend: Sequence[tuple[str, Colour]],
    points: Mapping[str, OperatingPoint],
    count: int,
) -> Picture:
    """What is said about the picture, below it: scores, the meaning of colours, the notice."""
    width, font = canvas.size[0], letters(canvas.unit)
    pad = round(canvas.unit * 0.7)
    words: list[Word] = [
        Word(f"{name} {value:.2f}{_limits(name, points)}", INK)
        for name, value in scores.items()
        if name not in NOT_SHOWN
    ]
    words += [Word(text, QUIET, colour) for text, colour in legend]
    if not count:
        words.insert(0, Word(NONE_FOUND, INK))
    words += [
        Word(f"boxes from {point.threshold:.2f}: {name}", QUIET)
        for name, point in points.items()
        if point.score == BOX
    ]
    rows = _flow(words, font, width - 2 * pad, canvas)
    notice = _wrap(NOTICE, font, width - 2 * pad)
    step = round(canvas.unit * 1.5)
    height = 2 * pad + step * (len(rows) + len(notice))
    image = Image.new("RGB", (width, height), PLATE)
    pen = ImageDraw.Draw(image)
    y = pad
    for line in notice:
        pen.text((pad, y), line, fill=(255, 214, 120), font=font)
        y += step
    for row in rows:
        for x, word in row:
            left = pad + x
            if word.swatch is not None:
                side = round(canvas.unit * 0.8)
                top = y + round(canvas.unit * 0.25)
                pen.rectangle(
                    (left, top, left + side, top + side), outline=word.swatch, width=canvas.line + 1
                )
                left += round(canvas.unit * 1.2)
            pen.text((left, y), word.text, fill=word.ink, font=font)
        y += step
    return np.asarray(image)


def _limits(score: str, points: Mapping[str, OperatingPoint]) -> str:
    """The operating points of a score, in brackets."""
    known = [f"{n} from {p.threshold:.2f}" for n, p in points.items() if p.score == score]
    return f" ({', '.join(known)})" if known else ""


def _flow(
    words: Sequence[Word], font: Font, room: int, canvas: Canvas
) -> list[list[tuple[int, Word]]]:
    """Words laid out from left to right in rows of `room` px, with their left edges."""
    rows: list[list[tuple[int, Word]]] = []
    x = room + 1
    for word in words:
        swatch = canvas.unit * 1.2 if word.swatch else 0
        needed = round(font.getlength(word.text) + swatch)
        if x + needed > room:
            rows.append([])
            x = 0
        rows[-1].append((x, word))
        x += needed + round(canvas.unit * 1.2)
    return rows


def _wrap(text: str, font: Font, room: int) -> list[str]:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(longer) > room:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def _legend(findings: Findings) -> list[tuple[str, Colour]]:
    names = dict.fromkeys([*findings.labels, *findings.masks])
    return [(_text(name), _colour(name)) for name in names]


def _tags(
    picture: Picture, canvas: Canvas, boxes: NDArray[np.float32], findings: Findings
) -> Picture:
    image = Image.fromarray(picture)
    pen, font = ImageDraw.Draw(image), letters(canvas.unit)
    placed: list[Area] = []
    for box, label, score in zip(boxes, findings.labels, findings.scores, strict=True):
        text = f"{_text(label)} {score:.2f}"
        x1, y1, x2, y2 = area = _place(box, font.getlength(text), canvas, placed)
        placed.append(area)
        pen.rectangle((x1, y1, x2 - 1, y2 - 1), fill=PLATE)
        pen.text(((x1 + x2) / 2, (y1 + y2) / 2), text, fill=_colour(label), font=font, anchor="mm")
    return np.array(image)


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


def _colour(name: str) -> Colour:
    return VOCABULARY[name].colour_rgb if name in VOCABULARY else (255, 255, 255)


def _text(name: str) -> str:
    return VOCABULARY[name].text if name in VOCABULARY else name
