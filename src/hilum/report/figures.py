"""Drawings with axes, as SVG for a page and PNG for a document. Knows matplotlib, no page.

One look for all pages: the same inks, lines that differ in print without colour, letters of one
size. What is drawn is a function of axes.
"""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from hilum.core.files import write_bytes
from hilum.core.look import COLOURS, INK, STYLE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Float = NDArray[np.float64]
Draw = Callable[["Axes"], None]

LINES = ("-", "--", "-.", ":")  # they differ in print without colour, too
WIDTH, HEIGHT = 4.8, 4.0  # inches


@dataclass(frozen=True, slots=True)
class Figure:
    """A drawing with its words."""

    title: str
    caption: str
    draw: Draw
    height: float = HEIGHT
    width: float = WIDTH

    @property
    def svg(self) -> Markup:
        """For a page."""
        text = rendered(self, format="svg", transparent=True, metadata={"Date": None}).decode()
        # Numbers drawn by matplotlib; words of the data are escaped by it.
        return Markup(re.sub(r"^.*?(?=<svg)", "", text, flags=re.DOTALL))  # noqa: S704

    def save(self, folder: Path) -> Path:
        """As PNG on white, for a document, under a name made of the title."""
        name = re.sub(r"[^a-z0-9]+", "-", self.title.lower()).strip("-")
        path = folder / f"{name}.png"
        write_bytes(path, rendered(self, format="png", dpi=140))
        return path


def rendered(figure: Figure, **options: Any) -> bytes:
    """The file of a figure."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure as Canvas

    with rc_context(STYLE):
        canvas = Canvas(figsize=(figure.width, figure.height), layout="constrained")
        figure.draw(canvas.subplots())
        out = io.BytesIO()
        canvas.savefig(out, **options)
    return out.getvalue()


def png_uri(content: bytes) -> str:
    """A PNG file inside a page."""
    return "data:image/png;base64," + base64.b64encode(content).decode()


def plain(text: str) -> str:
    """Text of the data for matplotlib, where a dollar sign would start a formula."""
    return text.replace("$", r"\$")


def line(k: int) -> dict[str, Any]:
    """Colour and dashes of the k-th of several curves."""
    return {"color": COLOURS[k % len(COLOURS)], "linestyle": LINES[k % len(LINES)]}


def tiles(
    axes: Axes,
    values: Float,
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    shown: Callable[[float], str] | None = None,
    mark_best: bool = False,
) -> None:
    """Numbers as coloured tiles, first row at the bottom.

    Args:
        values: (rows, columns), NaN where there is none.
        shown: a number as text; None: two decimals, three where all lie within .2.
        mark_best: frame the highest tile, where one is higher than others.
    """
    known = values[~np.isnan(values)]
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
    span = (high - low) or 1.0
    digits = 2 if high - low >= 0.2 else 3
    number = shown or (lambda v: f"{v:.{digits}f}".removeprefix("0"))
    floor = low - 0.15 * span  # the lowest tile is still a colour
    axes.pcolormesh(
        values, cmap="BuGn", vmin=floor, vmax=low + span, edgecolor="white", linewidth=1
    )
    for (r, c), value in np.ndenumerate(values):
        ink = "white" if value > low + 0.62 * span else INK
        text = "–" if value != value else number(float(value))
        axes.text(c + 0.5, r + 0.5, text, ha="center", va="center", color=ink, fontsize=8)
    if mark_best and high > low:
        r, c = np.unravel_index(np.nanargmax(values), values.shape)
        axes.plot([c, c + 1, c + 1, c, c], [r, r, r + 1, r + 1, r], color=COLOURS[1], linewidth=2)
    axes.set_xticks(np.arange(len(columns)) + 0.5, list(columns))
    axes.set_yticks(np.arange(len(rows)) + 0.5, list(rows))
    axes.grid(False)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
