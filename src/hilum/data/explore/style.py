"""How the figures of a data set look: colours, and the bars that most of them share."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hilum.core.look import INK, ORANGE, QUIET, STYLE, TEAL

HEAT = LinearSegmentedColormap.from_list("heat", ["#ffffff00", "#f3a661cc", "#c2410cff"])
# Bars have their numbers beside them, and several plots a figure.
GALLERY: dict[Any, Any] = STYLE | {
    "axes.grid": False,
    "axes.labelcolor": QUIET,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 10,
}
DPI = 160
MOST = 12  # bars of a category plot; the rest is one bar

# Title, words below it, figure; None where the data set has no data for it.
Made = tuple[str, str, Figure] | None


def figure(width: float, height: float) -> Figure:
    """An empty figure, its size in inches."""
    return Figure(figsize=(width, height), layout="constrained")


def histogram(axes: Axes, values: Any, title: str, unit: str, what: str) -> None:
    """So many of `what` by value; the last bin holds all beyond the 99.5th percentile."""
    numbers = np.asarray(values, float)
    top = float(np.percentile(numbers, 99.5)) or 1.0
    low = min(0.0, float(numbers.min()))
    axes.hist(np.minimum(numbers, top), np.linspace(low, top, 41).tolist(), color=TEAL)
    middle = float(np.median(numbers))
    axes.axvline(middle, color=ORANGE, lw=1.6)
    axes.set_title(title)
    name = f"median {middle:.3g}"
    axes.set_title(name, loc="right", color=ORANGE, fontsize=9, fontweight="normal")
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.set(xlabel=unit, ylabel=what)


def bars(axes: Axes, values: pd.Series[Any], title: str) -> None:
    """How often each value stands in `values`, the most frequent first."""
    counted(axes, values.astype(str).value_counts(), title)


def counted(axes: Axes, counts: pd.Series[int], title: str) -> None:
    """A bar a row of `counts`, in their order."""
    if len(counts) > MOST:
        counts = pd.concat([counts[:MOST], pd.Series({"others": counts[MOST:].sum()})])
    drawn = axes.barh(counts.index.astype(str), counts.to_numpy(), color=TEAL, height=0.66)
    axes.bar_label(drawn, fmt="{:,.0f}", padding=3, fontsize=9, color=QUIET)
    axes.invert_yaxis()
    axes.set_ylim(max(len(counts), 3) - 0.5, -0.5)
    axes.margins(x=0.3)
    axes.set_title(title)
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.tick_params(axis="x", bottom=False, labelbottom=False)
