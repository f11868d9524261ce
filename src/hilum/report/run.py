"""A training run on one page: its curves, its settings and how its predictions grew."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from hilum.report.page import template
from hilum.report.plots import COLOURS, INK, LINES, QUIET, Figure, svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

METRICS = {
    "ap50": "AP@.5",
    "auc": "AUC",
    "accuracy": "Accuracy",
    "mcc": "MCC",
    "dice_opacity": "Dice, opacity",
    "dice_lungs": "Dice, lungs",
    "dice_lungs_full": "Dice, lungs with the part behind the heart",
    "dice_pneumothorax": "Dice, pneumothorax",
}
SHOWN = 3  # sheets of samples on the page


def run_page(
    name: str,
    about: str,
    rows: pd.DataFrame,
    settings: str,
    data: Mapping[str, Any],
    results: Mapping[str, Mapping[str, float]],
    samples: Sequence[Path],
) -> str:
    """One HTML file without links outside.

    Args:
        rows: one an epoch: epoch, stage, losses, metrics, learning_rate.
        settings: the resolved recipe as YAML.
        data: set, images of each part, sha256, notes.
        results: part -> metric -> value of the finished network.
        samples: sheets of validation images, oldest first.
    """
    figures = []
    if len(rows):
        figures = [(title, svg(partial(draw, rows=rows))) for title, draw in _plots(rows)]
    chosen = [*samples[:1], *samples[-2:]] if len(samples) > SHOWN else samples
    sheets = [
        (path.stem.replace("-", " "), base64.b64encode(path.read_bytes()).decode())
        for path in chosen
    ]
    return template("run.html").render(
        title=f"Run {name}",
        about=about,
        data=data,
        results={part: _named(values) for part, values in results.items()},
        figures=figures,
        sheets=sheets,
        settings=settings,
        epochs=len(rows),
    )


def _named(values: Mapping[str, float]) -> dict[str, float]:
    return {_title(name): value for name, value in values.items()}


def _title(name: str) -> str:
    if name == "val_loss":
        return "Loss"
    if name.startswith("val_"):
        return f"Loss, {name.removeprefix('val_').replace('_', ' ')}"
    return METRICS.get(name, name.replace("_", " "))


def _plots(rows: pd.DataFrame) -> list[tuple[str, Any]]:
    plots: list[tuple[str, Any]] = [("Loss", _loss)]
    if len(_components(rows)) > 1:
        plots.append(("Validation loss by component", _parts))
    if any(name in rows for name in METRICS):
        plots.append(("Validation metrics", _metrics))
    plots.append(("Learning rate", _rate))
    return plots


def _components(rows: pd.DataFrame) -> list[str]:
    return [c for c in map(str, rows) if c.startswith("val_") and c != "val_loss"]


def _loss(axes: Axes, rows: pd.DataFrame) -> None:
    for place, (column, label) in enumerate((("loss", "Training"), ("val_loss", "Validation"))):
        if column in rows:
            axes.plot(rows["epoch"], rows[column], LINES[place], color=COLOURS[place], label=label)
    _finish(axes, rows, "Loss")


def _parts(axes: Axes, rows: pd.DataFrame) -> None:
    for place, column in enumerate(_components(rows)):
        colour, line = COLOURS[place % len(COLOURS)], LINES[place % len(LINES)]
        label = str(column).removeprefix("val_").replace("_", " ")
        axes.plot(rows["epoch"], rows[column], line, color=colour, label=label)
    axes.set_yscale("log")
    _finish(axes, rows, "Loss (log)")


def _metrics(axes: Axes, rows: pd.DataFrame) -> None:
    for place, column in enumerate(c for c in METRICS if c in rows):
        colour, line = COLOURS[place % len(COLOURS)], LINES[place % len(LINES)]
        axes.plot(rows["epoch"], rows[column], line, color=colour, label=METRICS[column])
    axes.set_ylim(min(0.0, *axes.get_ylim()), 1)
    _finish(axes, rows, "Metric")


def _rate(axes: Axes, rows: pd.DataFrame) -> None:
    axes.plot(rows["epoch"], rows["learning_rate"], color=INK)
    axes.set_yscale("log")
    _finish(axes, rows, "Learning rate (log)")


def _finish(axes: Axes, rows: pd.DataFrame, label: str) -> None:
    for edge in rows["epoch"][rows["stage"] != rows["stage"].shift()][1:]:
        axes.axvline(edge - 0.5, color=QUIET, linewidth=0.8)  # where a stage begins
    axes.locator_params(axis="x", integer=True)
    axes.set_xlabel("Epoch")
    axes.set_ylabel(label)
    if len(axes.get_lines()) and axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=9)


def sweep_figures(metric: str, curves: Mapping[tuple[str, str], pd.DataFrame]) -> list[Figure]:
    """All curves of a sweep: of the metric, and of the validation loss.

    Args:
        metric: what is compared.
        curves: (arm, repetition) -> its epochs.
    """
    return [
        Figure(f"{_title(name)} on validation", "", partial(_arms, curves=curves, name=name), 4.0)
        for name in dict.fromkeys((metric, "val_loss"))
        if any(name in rows for rows in curves.values())
    ]


def sweep_page(
    recipe: str, metric: str, part: str, table: pd.DataFrame, figures: Sequence[Figure]
) -> str:
    """A sweep on one page: the table of its arms, of `hilum.train.sweep.compare`, and figures."""
    return template("sweep.html").render(
        title=f"Sweep of {recipe}",
        metric=METRICS.get(metric, metric),
        part=part,
        rows=table.to_dict("records"),
        figures=figures,
    )


def _arms(axes: Axes, curves: Mapping[tuple[str, str], pd.DataFrame], name: str) -> None:
    """Each run thin, the mean of an arm's runs thick."""
    arms = list(dict.fromkeys(arm for arm, _ in curves))
    for place, arm in enumerate(arms):
        colour = COLOURS[place % len(COLOURS)]
        line = LINES[place // len(COLOURS) % len(LINES)]
        own = [rows for (a, _), rows in curves.items() if a == arm and name in rows]
        for rows in own:
            axes.plot(rows["epoch"], rows[name], line, color=colour, linewidth=0.6, alpha=0.5)
        if own:
            mean = pd.concat(own).groupby("epoch")[name].mean()
            axes.plot(mean.index, mean, line, color=colour, linewidth=2, label=arm)
    axes.locator_params(axis="x", integer=True)
    axes.set_xlabel("Epoch")
    axes.set_ylabel(_title(name))
    axes.legend(frameon=False, fontsize=8)
