"""One look of all figures and pages: their colours, and matplotlib's settings.

The colours are those of the pages (report/templates/base.css).
"""

from __future__ import annotations

from typing import Any

INK, QUIET, AXIS, RULE = "#12303f", "#51626c", "#8a97a0", "#dfe6ea"
TEAL, ORANGE, GREY = "#0b7a75", "#c2571a", "#b9c4c9"
COLOURS = (TEAL, ORANGE, "#4b56b8", "#a32a6b", "#6d7d1f", INK)
STYLE: dict[Any, Any] = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": AXIS,
    "axes.labelcolor": INK,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.8,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "text.color": INK,
    "lines.linewidth": 1.8,
    "font.size": 10,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "svg.fonttype": "none",
    "svg.hashsalt": "hilum",  # the same numbers give the same file
}
