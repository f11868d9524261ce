"""What a score rests on, drawn beside what was found and what readers drew. Knows core values only.

Two pictures of one radiograph: the findings, and the same with the map; what the colours mean
stands on a strip below.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hilum.core.findings import Findings
from hilum.core.labels import ANATOMY
from hilum.core.radiograph import Radiograph
from hilum.report.drawing import (
    TRUTH,
    Canvas,
    Picture,
    base,
    draw_boxes,
    draw_heat,
    draw_outline,
    heat_scale,
    sheet,
)
from hilum.report.overlay import legend, mark, tag, text_of
from hilum.report.strip import QUIET, Word, strip

SIDE = 720  # px, long side of each of the two pictures
CAUTION = "A map shows what moves the score, not where a disease is"


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Annotations:
    """What readers drew on one image, in source pixels. Empty where nobody drew."""

    boxes_px: NDArray[Any] = field(default_factory=lambda: np.zeros((0, 4)))  # (n, 4)
    labels: tuple[str, ...] = ()  # (n,)
    masks: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)  # name -> (h, w)

    @property
    def names(self) -> list[str]:
        """What they drew, each once."""
        outlined = [name for name, mask in self.masks.items() if mask.any()]
        return list(dict.fromkeys([*self.labels, *outlined]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """What is said below the pictures."""

    score: str  # what is explained: its name, its value, whose it is
    method: str
    found_by: str


def explanation(
    radiograph: Radiograph,
    heat: NDArray[np.floating[Any]],
    findings: Findings,
    words: Words,
    *,
    readers: Annotations | None = None,
) -> Picture:
    """The findings, the same under the map, and a strip of words.

    Args:
        heat: (h, w) in [0, 1] of the whole image.
        readers: drawn below what was found, if given.
    """
    canvas = Canvas(width=radiograph.width, height=radiograph.height, sides=(SIDE, SIDE))
    plain = base(radiograph, canvas)
    warm = plain.copy()
    draw_heat(warm, canvas, heat)
    for picture in (plain, warm):
        if readers is not None:
            _draw(picture, canvas, readers)
        mark(picture, canvas, findings, anatomy=False)
    tag(plain, canvas, findings)
    pair = sheet([plain, warm], 2)
    return np.vstack([pair, strip(_legend(findings, words, readers), pair.shape[1], canvas.unit)])


def _draw(picture: Picture, canvas: Canvas, readers: Annotations) -> None:
    for mask in readers.masks.values():
        draw_outline(picture, canvas, mask, TRUTH)
    draw_boxes(picture, canvas, readers.boxes_px, TRUTH)


def _legend(findings: Findings, words: Words, readers: Annotations | None) -> list[Word]:
    out = [Word(words.score), Word(f"{words.method}. {CAUTION}", QUIET, heat_scale())]
    shown = [name for name in findings.masks if name not in ANATOMY]
    if marked := findings.marked:
        names = [*findings.labels, *(name for name in shown if name in marked)]
        out += [Word(f"found by {words.found_by}:", QUIET), *legend(names)]
    else:
        out.append(Word(f"nothing marked by {words.found_by}", QUIET))
    if readers is not None:
        if what := ", ".join(map(text_of, readers.names)):
            out.append(Word(f"drawn by readers: {what}", QUIET, TRUTH))
        else:
            out.append(Word("nothing drawn by readers", QUIET))
    return out
