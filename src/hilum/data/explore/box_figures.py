"""Figures of the boxes of a data set: how many, where, how large, of what shape."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator
from scipy import stats

from hilum.core.look import COLOURS, GREY, INK, ORANGE, QUIET, TEAL
from hilum.data.explore.explore import Summary
from hilum.data.explore.style import HEAT, Made, figure, histogram

FEW = 300  # boxes that are drawn one by one


def boxes_per_image(summary: Summary) -> Made:
    """Images by how many boxes they have."""
    counts = summary.boxes_per_image()
    if counts.empty or counts.index.max() == 0:
        return None
    counts = counts.reindex(range(int(counts.index.max()) + 1), fill_value=0)
    drawn = figure(6.5, 3)
    axes = drawn.subplots()
    colours = [TEAL if number == 0 else ORANGE for number in counts.index]
    bars = axes.bar(counts.index.astype(str), counts.to_numpy(), color=colours, width=0.72)
    axes.bar_label(bars, fmt="{:,.0f}", padding=3, fontsize=9, color=QUIET)
    axes.set(xlabel="boxes in the image", ylabel="images")
    axes.margins(y=0.14)
    return (
        "Boxes per image",
        f"{int(counts.sum()):,} images in which boxes are annotated; "
        f"{int((counts * counts.index).sum()):,} boxes.",
        drawn,
    )


def centres(summary: Summary) -> Made:
    """Centres as a heat map on the average radiograph, with both margins."""
    boxes = summary.boxes
    if boxes.empty:
        return None
    drawn = figure(5.6, 5.6)
    grid = drawn.subplots(
        2, 2, width_ratios=(5, 1), height_ratios=(1, 5), sharex="col", sharey="row"
    )
    across, corner, main, down = grid[0, 0], grid[0, 1], grid[1, 0], grid[1, 1]
    corner.axis("off")
    average = summary.files.average
    if average is not None:
        main.imshow(average, cmap="gray", extent=(0, 100, 100, 0), aspect="auto")
    heat, _, _ = np.histogram2d(
        boxes["y"] * 100, boxes["x"] * 100, bins=40, range=((0, 100), (0, 100))
    )
    main.imshow(
        _smooth(heat), cmap=HEAT, extent=(0, 100, 100, 0), aspect="auto", interpolation="bilinear"
    )
    if len(boxes) <= 4000:
        main.plot(boxes["x"] * 100, boxes["y"] * 100, ".", ms=2.5, color=INK, alpha=0.35, mew=0)
    main.set(xlim=(0, 100), ylim=(100, 0))
    main.set(xlabel="x of the centre, % of the width", ylabel="y of the centre, % of the height")
    main.axvline(50, color=GREY, lw=0.8, ls=(0, (4, 4)))
    bins = np.linspace(0, 100, 41)
    across.hist(boxes["x"] * 100, bins, color=ORANGE)
    down.hist(boxes["y"] * 100, bins, color=ORANGE, orientation="horizontal")
    for axes in (across, down):
        axes.spines[:].set_visible(False)
        axes.tick_params(left=False, bottom=False, labelleft=False, labelbottom=False)
    under = "" if average is None else f" On the average of {len(summary.files.facts)} radiographs."
    left = float((boxes["x"] < 0.5).mean() * 100)
    return (
        "Where boxes lie",
        f"Centres of {len(boxes):,} boxes as stored; {left:.0f} % lie in the left half of the "
        f"image.{under}",
        drawn,
    )


def _smooth(heat: Any) -> Any:
    import cv2

    return cv2.GaussianBlur(heat.astype(np.float32), (0, 0), 1.2)


def box_sizes(summary: Summary) -> Made:
    """Width, height, area and aspect, each by itself."""
    boxes = summary.boxes
    if boxes.empty:
        return None
    measures = (
        ("Width", boxes["w"] * 100, "% of the image's width"),
        ("Height", boxes["h"] * 100, "% of the image's height"),
        ("Area", boxes["w"] * boxes["h"] * 100, "% of the image"),
        ("Aspect", boxes["aspect"], "height : width"),
    )
    drawn = figure(9, 5)
    for axes, (title, values, unit) in zip(drawn.subplots(2, 2).flat, measures, strict=True):
        histogram(axes, values, title, unit=unit, what="boxes")
    return (
        "Sizes of boxes",
        "The line is the median. The last bin holds what lies beyond the 99.5th percentile.",
        drawn,
    )


def densities(summary: Summary) -> Made:
    """Smooth curves of centre and size, a curve a kind of box."""
    boxes = summary.boxes
    column = next((c for c in ("label", "view") if _several(boxes[c])), "label")
    kinds = boxes[boxes[column] != ""][column].value_counts()[: len(COLOURS)]
    measures = (
        ("x", "x of the centre, % of the width"),
        ("y", "y of the centre, % of the height"),
        ("w", "width, % of the image's"),
        ("h", "height, % of the image's"),
    )
    drawn = figure(9, 4.8)
    lines = 0
    for axes, (name, unit) in zip(drawn.subplots(2, 2).flat, measures, strict=True):
        for kind, colour in zip(kinds.index, COLOURS, strict=False):
            lines += _density(axes, boxes[boxes[column] == kind][name] * 100, kind, colour)
        axes.set(xlabel=unit, ylabel="density", xlim=(0, 100), ylim=(0, None), yticks=())
    if not lines:
        return None
    if len(kinds) > 1:
        axes.legend(fontsize=9)
    by = {"label": "label of the box", "view": "view"}[column]
    return (
        "Densities of boxes",
        "Centres and sizes as smooth curves, each of area 1"
        + (f", by {by}." if len(kinds) > 1 else "."),
        drawn,
    )


def _several(values: pd.Series[str]) -> bool:
    return values[values != ""].nunique() > 1


def _density(axes: Axes, values: pd.Series[float], name: str, colour: str) -> bool:
    """Whether there was enough to draw: a kernel needs several values that differ."""
    if len(values) < 5 or np.ptp(values) < 1e-6:
        return False
    at = np.linspace(0, 100, 201)
    density = stats.gaussian_kde(values)(at)
    axes.fill_between(at, density, color=colour, alpha=0.12, lw=0)
    axes.plot(at, density, color=colour, lw=1.8, label=f"{name} ({len(values):,})")
    return True


def aspect_area(summary: Summary) -> Made:
    """Shape against area, both on logarithmic axes."""
    boxes = summary.boxes
    area = boxes["w"] * boxes["h"] * 100
    boxes, area = boxes[area > 0], area[area > 0]
    if boxes.empty:
        return None
    drawn = figure(6.5, 4.4)
    axes = drawn.subplots()
    if len(boxes) > FEW:
        bins = axes.hexbin(
            area, boxes["aspect"], gridsize=32, xscale="log", yscale="log", mincnt=1, cmap=HEAT
        )
        drawn.colorbar(bins, ax=axes, label="boxes").outline.set_visible(False)
    else:
        axes.plot(area, boxes["aspect"], "o", color=ORANGE, alpha=0.5, ms=4, mew=0)
        axes.set(xscale="log", yscale="log")
    axes.axhline(1, color=GREY, lw=0.8, ls=(0, (4, 4)))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(10, (1, 2, 5)))
        axis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
        axis.set_minor_locator(NullLocator())
    axes.set(xlabel="area, % of the image", ylabel="height : width")
    tall = float((boxes["aspect"] > 1).mean() * 100)
    return (
        "Aspect × area",
        f"Every box by its area and shape; {tall:.0f} % are taller than wide (above the line).",
        drawn,
    )
