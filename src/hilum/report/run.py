"""A training run on one page, and a sweep of runs: curves, settings, how predictions grew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from hilum.core.look import AXIS, COLOURS, INK
from hilum.evaluate.metrics.names import METRICS, base, metric, text
from hilum.report.curves import confusion
from hilum.report.figures import LINES, WIDTH, Figure, line, plain, png_uri
from hilum.report.pages import render

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from hilum.evaluate.classes import ClassCases

SHOWN = 3  # sheets of samples on the page
MANY, BESIDE = 5, 2.2  # entries of a legend that stands beside the axes, and its inches
OTHERS = ("epoch", "step", "stage", "loss", "learning_rate", "seconds", "best")
BOXES = ("rsna_score", "ap50", "ap50_95", "box_precision", "box_recall", "box_f1")
IMAGES = ("auc", "average_precision", "any_box_auc", "accuracy", "f1", "f2", "mcc")
CLASSES = tuple(name for name in METRICS if name.startswith("class_"))
GROUPS = {
    "Boxes on validation": BOXES,
    "Images on validation": IMAGES,
    "Classes on validation": CLASSES,
}


def run_page(
    name: str,
    rows: pd.DataFrame,
    *,
    about: str,
    settings: str,
    data: Mapping[str, Any],
    results: Mapping[str, Mapping[str, float]],
    samples: Sequence[Path],
    classes: Mapping[str, ClassCases],
) -> str:
    """One HTML file without links outside.

    Args:
        rows: one an epoch: epoch, stage, losses, metrics, learning_rate.
        settings: the resolved recipe as YAML.
        data: set, images of each part, sha256, notes.
        results: part -> metric -> value of the finished network.
        samples: sheets of validation images, oldest first.
        classes: part -> exclusive classes as the finished network called them.
    """
    shown = [*samples[:1], *samples[-2:]] if len(samples) > SHOWN else samples
    sheets = [(path.stem.replace("-", " "), png_uri(path.read_bytes())) for path in shown]
    return render(
        "run.html",
        title=f"Run {name}",
        about=about,
        data=data,
        results=results,
        names=_told(results),
        text=text,
        figures=run_figures(rows) if len(rows) else [],
        confusions=[confusion(f"Classes, {part} part", one) for part, one in classes.items()],
        sheets=sheets,
        settings=settings,
        epochs=len(rows),
    )


def run_figures(rows: pd.DataFrame) -> list[Figure]:
    """Curves of one run; numbers that no epoch has are left out."""
    parts = _components(rows)
    figures = [Figure("Loss", "", partial(_loss, rows=rows))]
    if len(parts) > 1:
        draw = partial(_curves, rows=rows, names=parts, log=True)
        title = "Validation loss by component"
        figures.append(Figure(title, "", draw, width=_width(len(parts))))
    numbers = _numbers(rows)
    for title, group in GROUPS.items():
        names = [name for name in numbers if name in group]
        if names:
            draw = partial(_curves, rows=rows, names=names)
            figures.append(Figure(title, "", draw, width=_width(len(names))))
    masks = [n for n in numbers if n.startswith(("dice", "iou", "f2_mask"))]
    if masks:
        draw = partial(_curves, rows=rows, names=masks)
        figures.append(Figure("Masks on validation", "", draw, width=_width(len(masks))))
    return [*figures, Figure("Learning rate", "", partial(_rate, rows=rows))]


def sweep_figures(
    watched: str,
    curves: Mapping[tuple[str, str], pd.DataFrame],
    groups: Mapping[str, Mapping[str, str]] | None = None,
) -> list[Figure]:
    """All curves of a sweep: of the metric, of the validation loss and of each of its components.

    Args:
        watched: what is compared.
        curves: (variant, repetition) -> its epochs.
        groups: variants that belong together, e.g. those of one encoder, and how a legend calls
            each: each group is a figure, all of one range. None: all variants in one figure.
    """
    parts = dict.fromkeys(name for rows in curves.values() for name in _components(rows))
    # The one component of a loss is the loss.
    names = dict.fromkeys((watched, "val_loss", *(parts if len(parts) > 1 else ())))
    return [
        figure
        for name in names
        if any(name in rows for rows in curves.values())
        for figure in _of_groups(name, curves, groups or {"": {v: v for v, _ in curves}})
    ]


def _of_groups(
    name: str,
    curves: Mapping[tuple[str, str], pd.DataFrame],
    groups: Mapping[str, Mapping[str, str]],
) -> list[Figure]:
    title = text(name) if name.startswith("val_") else f"{text(name)} on validation"
    values = pd.concat([rows[name] for rows in curves.values() if name in rows])
    limits = (float(values.min()), float(values.max())) if len(groups) > 1 else None
    several = len({variant for variant, _ in curves}) < len(curves)
    return [
        Figure(
            f"{title}: {group}" if group else title,
            "Each run thin, the mean of a variant's runs thick." if several else "",
            partial(
                _variants,
                curves={key: rows for key, rows in curves.items() if key[0] in variants},
                names=variants,
                name=name,
                limits=limits,
            ),
            width=_width(len(variants)),
        )
        for group, variants in groups.items()
        if any(variant in variants for variant, _ in curves)  # the others have not begun
    ]


OVER_RUNS = (
    "mean over a variant's runs with Student's 95 % interval; differences to {first} are paired by "
    "seed and fold. "
)
SAME_PARTS = (
    "All runs have the same parts; each seed draws its own order and weights, so intervals are of "
    "trainings, not of patients."
)
OWN_PARTS = "Each seed draws its own split, order and weights."
OVER_PATIENTS = (
    "one run a variant, with intervals over patients (bootstrap); differences to {first} are of "
    "the same patients, verdicts corrected for their number (Holm). What another seed would change "
    "is in no interval."
)


def sweep_page(
    recipe: str,
    table: pd.DataFrame,
    figures: Sequence[Figure],
    *,
    watched: str,
    part: str,
    same_parts: bool,
    by_patients: bool = False,
    search: bool = False,
) -> str:
    """A sweep on one page: the table of its variants, and figures.

    Args:
        table: a row a variant: variant, runs, value, low, high; but for the first difference,
            difference_low, difference_high, verdict.
        same_parts: all runs have one split.
        by_patients: intervals are over the patients of the part, not over runs.
        search: variants are trials, the best one first.
    """
    over_runs = OVER_RUNS + (SAME_PARTS if same_parts else OWN_PARTS)
    intervals = OVER_PATIENTS if by_patients else over_runs
    return render(
        "sweep.html",
        title=f"Sweep of {recipe}",
        metric=text(watched),
        part=part,
        rows=table.to_dict("records"),
        figures=figures,
        intervals=intervals.format(first="the best trial" if search else "the first variant"),
        search=search,
    )


def _components(rows: pd.DataFrame) -> list[str]:
    return [c for c in map(str, rows) if c.startswith("val_") and c != "val_loss"]


def _told(results: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Every number of the results, but those of one label that only repeat the number of all."""
    names = dict.fromkeys(n for values in results.values() for n in values)
    return [
        name
        for name in names
        if name in METRICS
        or any(name in v and v[name] != v.get(base(name)) for v in results.values())
    ]


def _numbers(rows: pd.DataFrame) -> list[str]:
    """Metrics of the epochs, those of single labels left out where their mean is there."""
    names = [c for c in map(str, rows) if c not in OTHERS and not c.startswith("val_")]
    known = [c for c in names if metric(c) is not None and rows[c].notna().any()]
    return [c for c in known if c in METRICS or not any(c.startswith(f"{m}_") for m in known)]


def _look(place: int, rows: pd.DataFrame) -> dict[str, Any]:
    """A curve's look; one epoch is a point."""
    return {**line(place), "marker": "o" if len(rows) == 1 else None}


def _loss(axes: Axes, rows: pd.DataFrame) -> None:
    for place, (column, label) in enumerate((("loss", "Training"), ("val_loss", "Validation"))):
        if column in rows:
            axes.plot(rows["epoch"], rows[column], label=label, **_look(place, rows))
    _finish(axes, rows, "Loss")


def _curves(axes: Axes, rows: pd.DataFrame, names: Sequence[str], log: bool = False) -> None:
    for place, name in enumerate(names):
        label = text(name).removeprefix("Validation loss, ")
        axes.plot(rows["epoch"], rows[name], label=label, **_look(place, rows))
    if log:
        _log(axes)
    else:
        axes.set_ylim(min(0.0, *axes.get_ylim()), 1)
    _finish(axes, rows, "Loss (log)" if log else "Metric")


def _rate(axes: Axes, rows: pd.DataFrame) -> None:
    axes.plot(rows["epoch"], rows["learning_rate"], color=INK)
    _log(axes)
    _finish(axes, rows, "Learning rate (log)")


def _log(axes: Axes) -> None:
    """Logarithmic, with plain numbers (2.5, not 2.5 × 10⁰) where they span no decade."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

    low, high = axes.dataLim.intervaly
    if low == high > 0:  # one value: no range to choose from
        axes.set_ylim(low / 2, high * 2)
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    if high < 10 * low:
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_locator(NullLocator())


def _finish(axes: Axes, rows: pd.DataFrame, label: str) -> None:
    for edge in rows["epoch"][rows["stage"] != rows["stage"].shift()][1:]:
        axes.axvline(edge - 0.5, color=AXIS, linewidth=0.8)  # where a stage begins
    _epochs(axes)
    axes.set_ylabel(label)
    _legend(axes)


def _width(curves: int) -> float:
    return WIDTH + BESIDE * (curves > MANY)


def _legend(axes: Axes) -> None:
    """Beside the axes where it is so long that it would lie on the curves."""
    curves = len(axes.get_legend_handles_labels()[0])
    place: dict[str, Any] = {"loc": "center left", "bbox_to_anchor": (1, 0.5)}
    if curves:
        axes.legend(fontsize=8, **(place if curves > MANY else {}))


def _epochs(axes: Axes) -> None:
    """Whole epochs, also where there is but one."""
    axes.locator_params(axis="x", integer=True, min_n_ticks=1)
    axes.set_xlabel("Epoch")


def _variants(
    axes: Axes,
    *,
    curves: Mapping[tuple[str, str], pd.DataFrame],
    names: Mapping[str, str],
    name: str,
    limits: tuple[float, float] | None,
) -> None:
    """Each run thin, the mean of a variant's runs thick."""
    variants = list(dict.fromkeys(variant for variant, _ in curves))
    for place, variant in enumerate(variants):
        colour = COLOURS[place % len(COLOURS)]
        dashes = LINES[place // len(COLOURS) % len(LINES)]
        own = [rows for (v, _), rows in curves.items() if v == variant and name in rows]
        # One epoch is a point.
        marker = "o" if all(len(rows) == 1 for rows in own) else None
        look: dict[str, Any] = {"color": colour, "marker": marker}
        for rows in own:
            axes.plot(rows["epoch"], rows[name], dashes, linewidth=0.6, alpha=0.5, **look)
        if own:
            mean = pd.concat(own).groupby("epoch")[name].mean()
            axes.plot(mean.index, mean, dashes, linewidth=2, label=plain(names[variant]), **look)
    _epochs(axes)
    axes.set_ylabel(text(name))
    if limits is not None:
        margin = 0.04 * (limits[1] - limits[0] or 1.0)
        axes.set_ylim(limits[0] - margin, limits[1] + margin)
    _legend(axes)
