"""Words below a picture, outside the anatomy: scores, the meaning of colours, the notice.

Knows no finding: words come as they are to be read.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from hilum.report.drawing import INK, PLATE, Colour, Font, Picture
from hilum.report.drawing import font as letters

NOTICE = "AI result, not for diagnosis. Research use only: a qualified reader decides"
QUIET: Colour = (176, 188, 200)
WARNING: Colour = (255, 214, 120)


class Word(NamedTuple):
    text: str
    ink: Colour = INK
    swatch: Colour | Picture | None = None  # what stands before it: a square, or a small picture


def strip(words: Sequence[Word], width: int, unit: float) -> Picture:
    """The notice, then the words in rows.

    Args:
        unit: letter height, px.

    Returns:
        (h, width, 3), as high as the words need.
    """
    font, pad, step = letters(unit), round(unit * 0.7), round(unit * 1.5)
    rows = _flow(words, font, width - 2 * pad, unit)
    notice = _wrap(NOTICE, font, width - 2 * pad)
    image = Image.new("RGB", (width, 2 * pad + step * (len(rows) + len(notice))), PLATE)
    pen = ImageDraw.Draw(image)
    y = pad
    for line in notice:
        pen.text((pad, y), line, fill=WARNING, font=font)
        y += step
    for row in rows:
        for x, word in row:
            left, top = pad + x, y + round(unit * 0.25)
            _swatch(image, word.swatch, left, top, side=round(unit * 0.8))
            pen.text((left + _room(word, unit), y), word.text, fill=word.ink, font=font)
        y += step
    return np.asarray(image)


def _swatch(
    image: Image.Image, swatch: Colour | Picture | None, left: int, top: int, *, side: int
) -> None:
    if isinstance(swatch, np.ndarray):
        width = side * swatch.shape[1] // swatch.shape[0]
        image.paste(Image.fromarray(swatch).resize((width, side)), (left, top))
    elif swatch is not None:
        area = (left, top, left + side, top + side)
        ImageDraw.Draw(image).rectangle(area, outline=swatch, width=max(2, round(side / 5)))


def _room(word: Word, unit: float) -> int:
    """Px before the text."""
    if isinstance(word.swatch, np.ndarray):
        side = round(unit * 0.8)
        return int(side * word.swatch.shape[1] // word.swatch.shape[0]) + round(unit * 0.4)
    return round(unit * 1.2) if word.swatch is not None else 0


def _flow(
    words: Sequence[Word], font: Font, room: int, unit: float
) -> list[list[tuple[int, Word]]]:
    """Words laid out from left to right in rows of `room` px, with their left edges."""
    rows: list[list[tuple[int, Word]]] = []
    x = room + 1
    for word in words:
        needed = round(font.getlength(word.text)) + _room(word, unit)
        if x + needed > room:
            rows.append([])
            x = 0
        rows[-1].append((x, word))
        x += needed + round(unit * 1.2)
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
