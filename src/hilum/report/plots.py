"""Curves and tiles of one model or several as SVG. Knows numbers only, no file and no page."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from hilum.core.files import write_bytes
from hilum.core.manifest import OperatingPoint
from hilum.evaluate import precision_recall_curve, reliability, roc_curve
from hilum.evaluate.cases import Cases
from hilum.evaluate.evaluation import Judgement
from hilum.evaluate.metrics.segmentation import Segmented
from hilum.evaluate.studies import StudyJudgement
from hilum.evaluate.thresholds.sweep import Grid

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Float = NDArray[np.float64]
Place = Literal["upper left", "lower left", "lower right"]

STYLE: dict[Any, Any] = {
    "figure.figsize": (4.6, 4.0),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "font.size": 10,
    "svg.fonttype": "none",
    "svg.hashsalt": "hilum",  # the same numbers give the same file
}
INK, QUIET = "#12303f", "#8a97a0"
COLOURS = ("#0b7a75", "#c2571a", "#4b56b8", "#a32a6b", "#6d7d1f", "#12303f")
AXES = {"score": "Score threshold", "iou": "IoU", "epoch": "Epoch", "nms": "NMS threshold"}
EPOCHS = {
    "score": (
        "Score threshold",
        "F1 of the boxes of at least a score at IoU .5. Shown, not chosen from.",
    ),
    "nms": (
        "NMS threshold",
        "AP at IoU .5 when boxes that overlap a better one by more are dropped. Nothing changes "
        "above the threshold that the predictions were made with.",
    ),
}
LINES = ("-", "--", "-.", ":")  # models differ in print without colour, too


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """One model: its name, its cases and what was found."""

    name: str
    cases: Cases
    judgement: Judgement
    masks: tuple[Segmented, ...] = ()
    studies: tuple[StudyJudgement, ...] = ()
    points: tuple[OperatingPoint, ...] = ()  # chosen on validation cases
    before: Cases | None = None  # the same cases before calibration

    @property
    def labels(self) -> tuple[NDArray[np.bool_], Float]:
        """Truth and score of the images with a label."""
        rows = self.cases.labelled
        return self.cases.label[rows] == 1, self.cases.score[rows]


@dataclass(frozen=True, slots=True)
class Figure:
    """A drawing with its words."""

    title: str
    caption: str
    draw: Callable[[Axes], None]
    height: float = 4.0  # inches

    @property
    def svg(self) -> Markup:
        """For a page."""
        return svg(self.draw, self.height)

    def save(self, folder: Path) -> Path:
        """As PNG on white, for a document, under a name made of the title."""
        name = re.sub(r"[^a-z0-9]+", "-", self.title.lower()).strip("-")
        path = folder / f"{name}.png"
        write_bytes(path, _rendered(self.draw, self.height, format="png", dpi=110))
        return path


def figures(models: Sequence[Judged], epochs: Sequence[Grid] = ()) -> list[Figure]:
    """The figures that the data allows; all models share each of them.

    Args:
        epochs: grids over the epochs of a training.
    """
    out: list[Figure] = []

    def add(title: str, caption: str, draw: Callable[[Axes], None], height: float = 4.0) -> None:
        out.append(Figure(title, caption, draw, height))

    first = models[0].judgement
    if first.curve is not None and first.curve.lesions:
        words = "Share of true boxes found at IoU .5 against false boxes per image."
        add("FROC", words, lambda axes: _froc(axes, models))
    for model in models:
        grid = model.judgement.grid
        if grid is not None:
            of = f" of {model.name}" if len(models) > 1 else ""
            words = (
                "F1 of the boxes of at least a score, for each IoU asked of a hit. Shown, not "
                "chosen from: a threshold picked here would be optimistic."
            )
            add(f"Score threshold × IoU{of}", words, partial(heat, grid=grid))
    for grid in epochs:
        what, words = EPOCHS[grid.rows[0]]
        add(f"{what} × epoch", words, partial(heat, grid=grid))
    if first.image:
        at = "The point is the operating point."
        add("ROC", f"Image level. {at}", lambda axes: _roc(axes, models))
        words = f"Image level; the level line is the prevalence. {at}"
        add("Precision and recall", words, lambda axes: _precision(axes, models))
        words = (
            "Mean score against the share of positives in tenths of the score; on the diagonal "
            "a score is a probability. Larger marks hold more images."
        )
        before = [replace(m, cases=m.before) for m in models if m.before is not None]
        if before:
            add("Reliability before calibration", words, lambda axes: _reliability(axes, before))
            words += " The map was fitted on validation cases."
        name = "Reliability after calibration" if before else "Reliability"
        add(name, words, lambda axes: _reliability(axes, models))
    if first.subgroups:
        words = (
            "AUC with 95 % interval. Hollow: fewer than 30 images. Many groups are compared; "
            "one that stands out may do so by chance."
        )
        rows = len(first.subgroups) * len(models)
        add("Subgroups", words, lambda axes: _forest(axes, models), 1.2 + 0.32 * rows)
    return out


def svg(draw: Callable[[Axes], None], height: float = 4.0, width: float = 4.8) -> Markup:
    """What `draw` puts on one pair of axes."""
    text = _rendered(
        draw, height, width, format="svg", transparent=True, metadata={"Date": None}
    ).decode()
    # Numbers drawn by matplotlib; words of the data are escaped by it.
    return Markup(re.sub(r"^.*?(?=<svg)", "", text, flags=re.DOTALL))  # noqa: S704


def _rendered(
    draw: Callable[[Axes], None], height: float, width: float = 4.8, **options: Any
) -> bytes:
    from matplotlib import rc_context
    from matplotlib.figure import Figure as Canvas

    with rc_context(STYLE):
        figure = Canvas(figsize=(width, height), layout="constrained")
        draw(figure.subplots())
        out = io.BytesIO()
        figure.savefig(out, **options)
    return out.getvalue()


def plain(text: str) -> str:
    """Text of the data for matplotlib, where a dollar sign would start a formula."""
    return text.replace("$", r"\$")


def _line(k: int) -> dict[str, Any]:
    return {"color": COLOURS[k % len(COLOURS)], "linestyle": LINES[k % len(LINES)]}


def _legend(axes: Axes, models: Sequence[Judged], place: Place) -> None:
    if len(models) > 1:
        axes.legend(loc=place, frameon=False, fontsize=9)


def _froc(axes: Axes, models: Sequence[Judged]) -> None:
    rates: list[float] = []
    for k, model in enumerate(models):
        curve = model.judgement.curve
        if curve is None:
            continue
        axes.step(
            *(curve.fp_per_image, curve.sensitivity),
            where="post",
            label=plain(model.name),
            **_line(k),
        )
        rates = list(curve.at_rates)
        dots: dict[str, Any] = {"color": COLOURS[k % len(COLOURS)], "markersize": 4}
        axes.plot(rates, list(curve.at_rates.values()), "o", **dots)
    axes.set(xscale="log", xlim=(0.05, 10), ylim=(0, 1))
    axes.set(xlabel="False boxes per image", ylabel="Sensitivity per box")
    axes.set_xticks(rates, [f"{r:g}" for r in rates])
    axes.minorticks_off()
    _legend(axes, models, "upper left")


def _roc(axes: Axes, models: Sequence[Judged]) -> None:
    for k, model in enumerate(models):
        image = model.judgement.image
        false, true, _ = roc_curve(*model.labels)
        name = f"{plain(model.name)}: " if len(models) > 1 else ""
        axes.plot(false, true, label=f"{name}AUC {image['auc'].value:.3f}", **_line(k))
        point = 1 - image["specificity"].value, image["sensitivity"].value
        axes.plot(*point, "o", color=COLOURS[k % len(COLOURS)])
    axes.plot([0, 1], [0, 1], ":", color=QUIET)
    axes.set(xlabel="1 − specificity", ylabel="Sensitivity", xlim=(0, 1), ylim=(0, 1.01))
    axes.legend(loc="lower right", frameon=False, fontsize=9)


def _precision(axes: Axes, models: Sequence[Judged]) -> None:
    for k, model in enumerate(models):
        image = model.judgement.image
        precision, recall, _ = precision_recall_curve(*model.labels)
        axes.step(recall, precision, where="pre", label=plain(model.name), **_line(k))
        point = image["sensitivity"].value, image["precision"].value
        axes.plot(*point, "o", color=COLOURS[k % len(COLOURS)])
    axes.axhline(models[0].labels[0].mean(), linestyle=":", color=QUIET)
    axes.set(xlabel="Recall (sensitivity)", ylabel="Precision", xlim=(0, 1), ylim=(0, 1.01))
    _legend(axes, models, "lower left")


def _reliability(axes: Axes, models: Sequence[Judged]) -> None:
    axes.plot([0, 1], [0, 1], ":", color=QUIET)
    for k, model in enumerate(models):
        curve = reliability(*model.labels)
        axes.plot(curve.said, curve.came, linewidth=1, label=plain(model.name), **_line(k))
        size = 15 + 200 * curve.counts / curve.counts.max()
        colour = COLOURS[k % len(COLOURS)]
        axes.scatter(curve.said, curve.came, s=size, color=colour, alpha=0.6)
    axes.set(xlabel="Score", ylabel="Share of positives", xlim=(0, 1), ylim=(0, 1))
    _legend(axes, models, "upper left")


def heat(axes: Axes, grid: Grid) -> None:
    """A grid as coloured tiles with their numbers."""
    rows, columns = grid.values.shape
    top = np.nanmax(grid.values, initial=0.0) or 1.0
    axes.pcolormesh(grid.values, cmap="BuGn", vmin=0, vmax=top, edgecolor="white", linewidth=1)
    for r in range(rows):
        for c in range(columns):
            value = grid.values[r, c]
            ink = "white" if value > 0.6 * top else INK
            text = "–" if value != value else f"{value:.2f}".removeprefix("0")
            axes.text(c + 0.5, r + 0.5, text, ha="center", va="center", color=ink, fontsize=8)
    for axis, (name, values), at in (
        *((axes.xaxis, grid.columns, columns), (axes.yaxis, grid.rows, rows)),
    ):
        axis.set_ticks(np.arange(at) + 0.5, [f"{v:g}" for v in values])
        axis.set_label_text(AXES.get(name, name))
    axes.grid(False)
    axes.tick_params(length=0)


def _forest(axes: Axes, models: Sequence[Judged]) -> None:
    groups = models[0].judgement.subgroups
    for k, model in enumerate(models):
        colour = COLOURS[k % len(COLOURS)]
        shift = (k - (len(models) - 1) / 2) * 0.6 / len(models)
        for y, group in enumerate(model.judgement.subgroups):
            area = group.auc
            axes.plot([area.low, area.high], [y + shift] * 2, color=colour)
            fill = "white" if group.few else colour
            label = plain(model.name) if y == 0 else None
            axes.plot(area.value, y + shift, "o", color=colour, markerfacecolor=fill, label=label)
    names = [plain(f"{g.column} {g.value} (n = {g.images})") for g in groups]
    axes.set_yticks(range(len(groups)), names)
    axes.invert_yaxis()
    axes.axvline(models[0].judgement.image["auc"].value, linestyle=":", color=QUIET)
    axes.set(xlabel="AUC", xlim=(0, 1.02))
    _legend(axes, models, "lower left")
