"""A summary -> figures (PNG). Knows matplotlib; reads no files and shows no single radiograph."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hilum.data.explore.explore import Summary

INK, QUIET, RULE = "#16242b", "#5d6d75", "#d9e0e3"
TEAL, ORANGE, GREY = "#12707c", "#dd6b2c", "#b9c4c9"
SEXES = {"F": ("women", ORANGE), "M": ("men", TEAL), "": ("unknown", GREY)}
HEAT = LinearSegmentedColormap.from_list("heat", ["#ffffff00", "#f3a661cc", "#c2410cff"])
STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": QUIET,
    "axes.edgecolor": RULE,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 10,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "legend.frameon": False,
}
DPI = 160
MOST = 12  # bars of a category plot; the rest is one bar


@dataclass(frozen=True, slots=True)
class Plot:
    """One figure and what to say under it."""

    name: str
    title: str
    caption: str
    png: bytes

    @property
    def width_px(self) -> int:
        return int.from_bytes(self.png[16:20])  # of the PNG's first chunk, IHDR


def plots(summary: Summary) -> Iterator[Plot]:
    """The figures for which the data set has data."""
    for draw in (_classes, _boxes_per_image, _centres, _box_sizes, _people, _files):
        with mpl.rc_context(STYLE):
            plot = draw(summary)
            if plot is None:
                continue
            title, caption, figure = plot
            out = BytesIO()
            figure.savefig(out, format="png", dpi=DPI, facecolor="white")
        yield Plot(draw.__name__.strip("_").replace("_", "-"), title, caption, out.getvalue())


Made = tuple[str, str, Figure] | None


def _figure(width: float, height: float) -> Figure:
    return Figure(figsize=(width, height), layout="constrained")


def _classes(summary: Summary) -> Made:
    counts = summary.classes()
    if counts.empty:
        return None
    figure = _figure(9, 1.2 + 0.34 * len(counts))
    axes = figure.subplots()
    left = np.zeros(len(counts))
    total = max(len(summary.catalog), 1)
    kinds = (("present", ORANGE), ("absent", TEAL), ("unknown", "#e8edef"))
    for name, colour in kinds:
        share = counts[name].to_numpy() / total * 100
        axes.barh(counts.index, share, left=left, color=colour, height=0.72, label=name)
        left += share
    for row, number in enumerate(counts["present"]):
        axes.text(101, row, f"{number:,}", va="center", ha="left", fontsize=9, color=ORANGE)
    axes.text(101, -0.95, "present", va="center", ha="left", fontsize=8, color=ORANGE)
    axes.invert_yaxis()
    axes.set(xlim=(0, 100), ylim=(len(counts) - 0.4, -0.6))
    axes.set_xlabel(f"% of {len(summary.catalog):,} images")
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    figure.legend(loc="outside upper left", ncols=3, fontsize=9)
    return (
        "Classes and targets",
        "Each label: images in which it is present, absent, or not annotated.",
        figure,
    )


def _boxes_per_image(summary: Summary) -> Made:
    counts = summary.boxes_per_image()
    if counts.empty or counts.index.max() == 0:
        return None
    counts = counts.reindex(range(int(counts.index.max()) + 1), fill_value=0)
    figure = _figure(6.5, 3)
    axes = figure.subplots()
    colours = [TEAL if number == 0 else ORANGE for number in counts.index]
    bars = axes.bar(counts.index.astype(str), counts.to_numpy(), color=colours, width=0.72)
    axes.bar_label(bars, fmt="{:,.0f}", padding=3, fontsize=9, color=QUIET)
    axes.set(xlabel="boxes in the image", ylabel="images")
    axes.margins(y=0.14)
    return (
        "Boxes per image",
        f"{int(counts.sum()):,} images in which boxes are annotated; "
        f"{int((counts * counts.index).sum()):,} boxes.",
        figure,
    )


def _centres(summary: Summary) -> Made:
    boxes = summary.boxes
    if boxes.empty:
        return None
    figure = _figure(5.6, 5.6)
    grid = figure.subplots(
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
        f"picture.{under}",
        figure,
    )


def _smooth(heat: Any) -> Any:
    import cv2

    return cv2.GaussianBlur(heat.astype(np.float32), (0, 0), 1.2)


def _box_sizes(summary: Summary) -> Made:
    boxes = summary.boxes
    if boxes.empty:
        return None
    sizes = summary.catalog.table.set_index("image_id").loc[boxes["image"], ["width", "height"]]
    tall = boxes["h"].to_numpy() * sizes["height"].to_numpy()
    wide = boxes["w"].to_numpy() * sizes["width"].to_numpy()
    measures = (
        ("Width", boxes["w"] * 100, "% of the image's width"),
        ("Height", boxes["h"] * 100, "% of the image's height"),
        ("Area", boxes["w"] * boxes["h"] * 100, "% of the image"),
        ("Aspect", pd.Series(tall / np.maximum(wide, 1e-9)), "height : width"),
    )
    figure = _figure(9, 5)
    for axes, (title, values, unit) in zip(figure.subplots(2, 2).flat, measures, strict=True):
        _histogram(axes, values, title, unit, "boxes")
    return (
        "Sizes of boxes",
        "The line is the median. The last bin holds what lies beyond the 99.5th percentile.",
        figure,
    )


def _histogram(axes: Axes, values: Any, title: str, unit: str, what: str) -> None:
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


def _people(summary: Summary) -> Made:
    ages, sex, view = summary.ages(), summary.column("sex"), summary.column("view")
    parts: list[Callable[[Axes], None]] = []
    if len(ages):
        parts.append(lambda axes: _age_bars(axes, ages))
    if len(sex):
        parts.append(lambda axes: _bars(axes, sex, "Sex"))
    if len(view):
        parts.append(lambda axes: _bars(axes, view, "View"))
    if not parts:
        return None
    ratios = [2.2 if len(ages) and i == 0 else 1 for i in range(len(parts))]
    figure = _figure(9, 3.2 if len(ages) else 1.9)
    grid = figure.subplots(1, len(parts), width_ratios=ratios, squeeze=False)
    for axes, draw in zip(grid.flat, parts, strict=True):
        draw(axes)
    people = summary.catalog.table["patient"].nunique()
    return "Who was imaged", f"Images, not people: {people:,} patients in all.", figure


def _age_bars(axes: Axes, ages: pd.DataFrame) -> None:
    groups = [(ages.loc[ages["sex"] == key, "age"], *look) for key, look in SEXES.items()]
    groups = [group for group in groups if len(group[0])]
    bins = np.arange(0, max(100, ages["age"].max()) + 5, 5)
    axes.hist(
        [values.to_numpy() for values, _, _ in groups],
        bins.tolist(),
        stacked=True,
        color=[colour for _, _, colour in groups],
        label=[name for _, name, _ in groups],
        rwidth=0.9,
    )
    axes.set_title("Age")
    axes.set(xlabel="years", ylabel="images")
    if len(groups) > 1:
        axes.legend(fontsize=9)


def _bars(axes: Axes, values: pd.Series[Any], title: str) -> None:
    counts = values.astype(str).value_counts()
    if len(counts) > MOST:
        counts = pd.concat([counts[:MOST], pd.Series({"others": counts[MOST:].sum()})])
    bars = axes.barh(counts.index, counts.to_numpy(), color=TEAL, height=0.66)
    axes.bar_label(bars, fmt="{:,.0f}", padding=3, fontsize=9, color=QUIET)
    axes.invert_yaxis()
    axes.set_ylim(max(len(counts), 3) - 0.5, -0.5)
    axes.margins(x=0.3)
    axes.set_title(title)
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.tick_params(axis="x", bottom=False, labelbottom=False)


def _files(summary: Summary) -> Made:
    facts, sizes = summary.files.facts, summary.sizes()
    parts: list[Callable[[Axes], None]] = []
    if len(sizes):
        parts.append(lambda axes: _picture_sizes(axes, sizes))
    if len(facts):
        names = facts["syntax"].map(_syntax_name)
        parts.append(lambda axes: _bars(axes, facts["bits"].astype(int), "Bits stored"))
        parts.append(lambda axes: _bars(axes, facts["photometric"], "Photometric"))
        parts.append(lambda axes: _bars(axes, names, "Encoding"))
    spacing = facts["spacing_mm"].dropna()
    if len(spacing):
        parts.append(lambda axes: _bars(axes, spacing.map("{:.3g} mm".format), "Pixel spacing"))
    if not parts:
        return None
    columns = len(parts) if len(parts) <= 4 else -(-len(parts) // 2)
    rows = -(-len(parts) // columns)
    figure = _figure(9, min(3.1, 8.8 / columns) * rows)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat[len(parts) :]:
        axes.axis("off")
    for axes, draw in zip(grid.flat, parts, strict=False):
        draw(axes)
    read = f" {len(facts):,} of {summary.files.asked:,} sampled files were readable."
    return "Files", "How the pictures are stored." + (read if summary.files.asked else ""), figure


def _picture_sizes(axes: Axes, sizes: pd.DataFrame) -> None:
    counts = sizes.value_counts().reset_index(name="n")
    area = 12 + 160 * counts["n"] / counts["n"].max()
    axes.scatter(counts["width"], counts["height"], s=area, color=TEAL, alpha=0.55, lw=0)
    top = float(sizes.to_numpy().max()) * 1.12
    axes.plot([0, top], [0, top], color=GREY, lw=0.8, ls=(0, (4, 4)), zorder=0)
    axes.set(xlim=(0, top), ylim=(0, top), xlabel="width, px", ylabel="height, px")
    axes.set_aspect("equal")
    axes.set_title("Picture size")


def _syntax_name(text: str) -> str:
    from hilum.dicom.dump import syntax_name

    return syntax_name(text).split(" (")[0] if text[:1].isdigit() else text.upper()
