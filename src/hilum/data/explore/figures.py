"""A summary -> figures (PNG). Knows matplotlib; reads no files and shows no single radiograph."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from hilum.core.look import GREY, INK, ORANGE, TEAL
from hilum.data.explore import box_figures as boxes
from hilum.data.explore.explore import Summary
from hilum.data.explore.style import (
    DPI,
    GALLERY,
    HEAT,
    Made,
    bars,
    counted,
    figure,
)

SEXES = {"F": ("women", ORANGE), "M": ("men", TEAL), "": ("unknown", GREY)}


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
    for name, draw in DRAWN.items():
        with mpl.rc_context(GALLERY):
            plot = draw(summary)
            if plot is None:
                continue
            title, caption, drawn = plot
            out = BytesIO()
            drawn.savefig(out, format="png", dpi=DPI, facecolor="white")
        yield Plot(name, title, caption, png=out.getvalue())


def _classes(summary: Summary) -> Made:
    counts = summary.classes()
    if counts.empty:
        return None
    drawn = figure(9, 1.2 + 0.34 * len(counts))
    axes = drawn.subplots()
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
    drawn.legend(loc="outside upper left", ncols=3, fontsize=9)
    return (
        "Classes and targets",
        "Each label: images in which it is present, absent, or not annotated.",
        drawn,
    )


def _exams(summary: Summary) -> Made:
    counts = summary.exams()
    if counts.empty or counts.shape[1] < 2:
        return None
    drawn = figure(2.6 + 1.05 * counts.shape[1], 1.3 + 0.36 * len(counts))
    axes = drawn.subplots()
    numbers = counts.to_numpy()
    share = numbers / numbers.sum(axis=1, keepdims=True)
    axes.imshow(share, cmap=HEAT, vmin=0, vmax=1, aspect="auto")
    for (row, column), number in np.ndenumerate(numbers):
        colour = "white" if share[row, column] > 0.6 else INK
        axes.text(column, row, f"{number:,}", ha="center", va="center", color=colour)
    axes.set_xticks(range(counts.shape[1]), counts.columns)
    axes.set_yticks(range(len(counts)), counts.index)
    axes.set_xlabel("boxes in the exam")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, labelcolor=INK)
    return (
        "Boxes in an exam, by class",
        "Exams (images) in which boxes are annotated, by class and target: 0 without a box, 1 with "
        "any. Colour: share of the class.",
        drawn,
    )


def _people(summary: Summary) -> Made:
    ages, sex, view = summary.ages(), summary.column("sex"), summary.column("view")
    parts: list[Callable[[Axes], None]] = []
    if len(ages):
        parts.append(lambda axes: _age_bars(axes, ages))
    if len(sex):
        parts.append(lambda axes: bars(axes, sex, "Sex"))
    if len(view):
        parts.append(lambda axes: bars(axes, view, "View"))
    repeats = summary.images_per_patient()
    if len(repeats) > 1:
        parts.append(lambda axes: counted(axes, repeats, "Per patient"))
    if not parts:
        return None
    ratios = [2.2 if len(ages) and i == 0 else 1 for i in range(len(parts))]
    drawn = figure(9, 3.2 if len(ages) else 1.9)
    grid = drawn.subplots(1, len(parts), width_ratios=ratios, squeeze=False)
    for axes, draw in zip(grid.flat, parts, strict=True):
        draw(axes)
    people = summary.catalog.table["patient"].nunique()
    known = {"age": len(ages), "sex": len(sex), "view": len(view)}
    counts = ", ".join(f"{name} of {count:,}" for name, count in known.items() if count)
    words = f"Images, not people: {people:,} patients in all."
    words += f" Known is the {counts} of {len(summary.catalog):,} images." if counts else ""
    if len(repeats) > 1:
        words += " Per patient: how many of them have 1, 2 … images."
    return "Who was imaged", words, drawn


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
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    if len(groups) > 1:
        axes.legend(fontsize=9)


def _files(summary: Summary) -> Made:
    facts, sizes = summary.files.facts, summary.sizes()
    parts: list[Callable[[Axes], None]] = []
    if len(sizes):
        parts.append(lambda axes: _image_sizes(axes, sizes))
    parts_of_body = summary.files.body_parts()
    if len(parts_of_body):
        parts.append(lambda axes: bars(axes, parts_of_body, "Body part"))
    if len(facts):
        names = facts["syntax"].map(_syntax_name)
        parts.append(lambda axes: bars(axes, facts["bits"].astype(int), "Bits stored"))
        parts.append(lambda axes: bars(axes, facts["photometric"], "Photometric"))
        parts.append(lambda axes: bars(axes, names, "Encoding"))
    spacing = facts["spacing_mm"].dropna()
    if len(spacing):
        parts.append(lambda axes: bars(axes, spacing.map("{:.3g} mm".format), "Pixel spacing"))
    if not parts:
        return None
    columns = len(parts) if len(parts) <= 4 else -(-len(parts) // 2)
    rows = -(-len(parts) // columns)
    drawn = figure(9, min(3.1, 8.8 / columns) * rows)
    grid = drawn.subplots(rows, columns, squeeze=False)
    for axes in grid.flat[len(parts) :]:
        axes.axis("off")
    for axes, draw in zip(grid.flat, parts, strict=False):
        draw(axes)
    read = f" {len(facts):,} of {summary.files.sampled:,} sampled files were readable."
    return "Files", "How the images are stored." + (read if summary.files.sampled else ""), drawn


def _image_sizes(axes: Axes, sizes: pd.DataFrame) -> None:
    counts = sizes.value_counts().reset_index(name="n")
    area = 12 + 160 * counts["n"] / counts["n"].max()
    axes.scatter(counts["width"], counts["height"], s=area, color=TEAL, alpha=0.55, lw=0)
    top = float(sizes.to_numpy().max()) * 1.12
    axes.plot([0, top], [0, top], color=GREY, lw=0.8, ls=(0, (4, 4)), zorder=0)
    axes.set(xlim=(0, top), ylim=(0, top), xlabel="width, px", ylabel="height, px")
    axes.set_aspect("equal")
    axes.set_title("Image size")


def _syntax_name(text: str) -> str:
    from hilum.dicom.dump import syntax_name

    return syntax_name(text).split(" (")[0] if text[:1].isdigit() else text.upper()


DRAWN: dict[str, Callable[[Summary], Made]] = {
    "classes": _classes,
    "exams": _exams,
    "boxes-per-image": boxes.boxes_per_image,
    "centres": boxes.centres,
    "densities": boxes.densities,
    "box-sizes": boxes.box_sizes,
    "aspect-area": boxes.aspect_area,
    "people": _people,
    "files": _files,
}
