"""The figures of an evaluation: curves, tiles and intervals of one model or several."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hilum.core.look import AXIS, COLOURS
from hilum.evaluate import precision_recall_curve, reliability, roc_curve
from hilum.evaluate.classes import ClassCases, ClassEvaluation
from hilum.evaluate.models import EvaluatedModel
from hilum.evaluate.segmentation import SizeSweep
from hilum.evaluate.thresholds.sweep import Grid, threshold_curve
from hilum.report.figures import Figure, line, plain, tiles

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Models = Sequence[EvaluatedModel]

AXES = {"score": "Score threshold", "iou": "IoU", "epoch": "Epoch", "nms": "NMS threshold (IoU)"}
WHOLE: dict[str, Any] = {"clip_on": False, "zorder": 3}  # a mark on the border is not cut in half
ROWS = {"score": "Score threshold", "nms": "NMS threshold"}
EPOCHS = {
    "score": "of the boxes of at least a score, after suppression at IoU .5.",
    "nms": "when boxes that overlap a better one by more are dropped. Nothing changes above the "
    "threshold that the predictions were made with.",
}
RELIABILITY = (
    "Mean score against the share of positives in tenths of the score; on the diagonal a score is "
    "a probability. Larger marks hold more images."
)


def figures(models: Models, epochs: Sequence[Grid] = ()) -> list[Figure]:
    """The figures that the data allows; all models share each of them.

    Args:
        epochs: grids over the epochs of a training.
    """
    return [
        *_of_boxes(models),
        *(_of_epochs(grid) for grid in epochs),
        *_of_images(models),
        *_of_classes(models),
        *_of_masks(models),
        *_of_subgroups(models),
    ]


def _of_boxes(models: Models) -> Iterator[Figure]:
    models = [model for model in models if model.cases.detects]
    first = models[0].evaluation.curve if models else None
    if first is not None and first.lesions:
        words = "Share of true boxes found at IoU .5 against false boxes per image."
        yield Figure("FROC", words, partial(_froc, models=models))
        words = (
            "Boxes at IoU .5: precision full, recall dashed. The upright line is the operating "
            "point. Shown, not chosen from."
        )
        draw = partial(_against_threshold, models=models)
        yield Figure("Box precision and recall against threshold", words, draw)
    for model in models:
        grid = model.evaluation.grid
        if grid is not None:
            words = (
                "F1 of the boxes of at least a score, for each IoU asked of a hit. Shown, not "
                "chosen from: a threshold picked here would be optimistic."
            )
            title = f"Score threshold × IoU{_of(model, models)}"
            yield Figure(title, words, partial(heat, grid=grid))


def epoch_figures(grids: Sequence[Grid], *, nms: float, score: float) -> list[Figure]:
    """Of `evaluate.epochs.run_grids`, made at these thresholds; their words stand on them."""
    fixed = {"score": f"suppression at IoU {nms:g}", "nms": f"boxes from score {score:g} on"}
    out = []
    for grid in grids:
        drawn = _of_epochs(grid)
        title = f"{_short(grid.metric)}, {fixed[grid.rows[0]]}"
        draw = partial(heat, grid=grid, best=True, title=title)
        out.append(replace(drawn, draw=draw, height=1.4 + 0.3 * len(grid.rows[1])))
    return out


def _of_epochs(grid: Grid) -> Figure:
    words = f"{_short(grid.metric)} {EPOCHS[grid.rows[0]]} The best is framed; shown, not chosen."
    title = f"{ROWS[grid.rows[0]]} × epoch: {_short(grid.metric)}"
    width = max(4.8, 1.3 + 0.4 * len(grid.columns[1]))
    return Figure(title, words, partial(heat, grid=grid, best=True), width=width)


def _short(metric: str) -> str:
    words = {"ap50": "AP at IoU .5", "rsna_score": "RSNA score", "box_f1": "F1"}
    return words.get(metric, metric.replace("_", " ").capitalize())


def _of_images(models: Models) -> Iterator[Figure]:
    if not models[0].evaluation.image:
        return
    at = "The point is the operating point."
    yield Figure("ROC", f"Image level. {at}", partial(_roc, models=models))
    words = f"Image level; the level line is the prevalence. {at}"
    yield Figure("Precision and recall", words, partial(_precision, models=models))
    before = [replace(m, cases=m.before) for m in models if m.before is not None]
    if before:
        draw = partial(_reliability, models=before)
        yield Figure("Reliability before calibration", RELIABILITY, draw)
    words = RELIABILITY + (" The map was fitted on validation cases." if before else "")
    title = "Reliability after calibration" if before else "Reliability"
    yield Figure(title, words, partial(_reliability, models=models))


def _of_classes(models: Models) -> Iterator[Figure]:
    for model in models:
        for one in model.classes:
            title = f"Confusion of {one.level} classes{_of(model, models)}"
            yield confusion(title, one)


def confusion(title: str, classes: ClassEvaluation | ClassCases) -> Figure:
    """K x K: which class was called which."""
    words = (
        f"{int(classes.matrix.sum())} cases of exactly one class; rows are the truth, columns the "
        "class of the highest score. Colour: share of the row."
    )
    side = 1.8 + 0.7 * len(classes.classes)
    draw = partial(_confusion, names=classes.classes, matrix=classes.matrix)
    return Figure(title, words, draw, height=max(3.4, side), width=max(4.8, side + 1))


def _of_masks(models: Models) -> Iterator[Figure]:
    names = dict.fromkeys(mask.name for model in models for mask in model.masks)
    for name in names:
        sweeps = {
            model.name: mask.sweep
            for model in models
            for mask in model.masks
            if mask.name == name and mask.sweep is not None
        }
        words = (
            "Mean Dice when components smaller than a size (px at 1024) are removed, 95 % "
            "interval. Dashed: images that the score does not call positive have an empty mask. "
            "Shown, not chosen from."
        )
        yield Figure(f"Component size: {name}", words, partial(_sizes, sweeps=sweeps))


def _of_subgroups(models: Models) -> Iterator[Figure]:
    groups = models[0].evaluation.subgroups
    if groups:
        words = (
            "AUC with 95 % interval. Hollow: fewer than 30 images; no mark: all of one kind. Many "
            "groups are compared; one that stands out may do so by chance."
        )
        height = 1.2 + 0.32 * len(groups) * len(models)
        yield Figure("Subgroups", words, partial(_forest, models=models), height)


def _of(model: EvaluatedModel, models: Models) -> str:
    return f" of {model.name}" if len(models) > 1 else ""


def _legend(axes: Axes, models: Models) -> None:
    """Above the axes: inside there is no corner that is free in every figure."""
    if len(models) > 1:
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2)


def _froc(axes: Axes, models: Models) -> None:
    rates: list[float] = []
    for k, model in enumerate(models):
        curve = model.evaluation.curve
        if curve is None:
            continue
        name = plain(model.name)
        axes.step(curve.fp_per_image, curve.sensitivity, where="post", label=name, **line(k))
        rates = list(curve.at_rates)
        dots: dict[str, Any] = {"color": COLOURS[k % len(COLOURS)], "markersize": 4}
        axes.plot(rates, list(curve.at_rates.values()), "o", **dots)
    axes.set(xscale="log", xlim=(0.05, 10), ylim=(0, 1))
    axes.set(xlabel="False boxes per image", ylabel="Sensitivity per box")
    axes.set_xticks(rates, [f"{r:g}" for r in rates])
    axes.minorticks_off()
    _legend(axes, models)


def _against_threshold(axes: Axes, models: Models) -> None:
    for k, model in enumerate(models):
        part = model.cases.where(model.cases.boxed)
        curve = threshold_curve(part.truth, part.predictions)
        colour = COLOURS[k % len(COLOURS)]
        name = f"{plain(model.name)}: " if len(models) > 1 else ""
        axes.step(curve.thresholds, curve.precision, color=colour, label=f"{name}precision")
        label = f"{name}recall"
        axes.step(curve.thresholds, curve.recall, color=colour, linestyle="--", label=label)
        axes.axvline(model.evaluation.threshold, color=colour, linestyle=":", linewidth=1)
    axes.set(xlabel="Score threshold", ylabel="Share", xlim=(0, 1), ylim=(0, 1.01))
    axes.legend(loc="best")


def _roc(axes: Axes, models: Models) -> None:
    for k, model in enumerate(models):
        image = model.evaluation.image
        curve = roc_curve(*model.labels)
        name = f"{plain(model.name)}: " if len(models) > 1 else ""
        name += f"AUC {image['auc'].value:.3f}"
        axes.plot(curve.false_positive_rate, curve.sensitivity, label=name, **line(k))
        point = 1 - image["specificity"].value, image["sensitivity"].value
        axes.plot(*point, "o", color=COLOURS[k % len(COLOURS)], **WHOLE)
    axes.plot([0, 1], [0, 1], ":", color=AXIS)
    axes.set(xlabel="1 − specificity", ylabel="Sensitivity", xlim=(0, 1), ylim=(0, 1.01))
    axes.legend(loc="lower right")


def _precision(axes: Axes, models: Models) -> None:
    for k, model in enumerate(models):
        image = model.evaluation.image
        curve = precision_recall_curve(*model.labels)
        axes.step(curve.recall, curve.precision, where="pre", label=plain(model.name), **line(k))
        point = image["sensitivity"].value, image["precision"].value
        axes.plot(*point, "o", color=COLOURS[k % len(COLOURS)], **WHOLE)
    axes.axhline(models[0].labels[0].mean(), linestyle=":", color=AXIS)
    axes.set(xlabel="Recall (sensitivity)", ylabel="Precision", xlim=(0, 1), ylim=(0, 1.01))
    _legend(axes, models)


def _reliability(axes: Axes, models: Models) -> None:
    axes.plot([0, 1], [0, 1], ":", color=AXIS)
    for k, model in enumerate(models):
        curve = reliability(*model.labels)
        axes.plot(curve.score, curve.share, linewidth=1, label=plain(model.name), **line(k))
        size = 15 + 200 * curve.counts / curve.counts.max()
        colour = COLOURS[k % len(COLOURS)]
        axes.scatter(curve.score, curve.share, s=size, color=colour, alpha=0.6, **WHOLE)
    axes.set(xlabel="Score", ylabel="Share of positives", xlim=(0, 1), ylim=(0, 1))
    _legend(axes, models)


def heat(axes: Axes, grid: Grid, best: bool = False, title: str = "") -> None:
    """A grid as coloured tiles with their numbers."""
    rows, columns = ([f"{v:g}" for v in axis[1]] for axis in (grid.rows, grid.columns))
    tiles(axes, grid.values, rows, columns, mark_best=best)
    axes.set(xlabel=AXES[grid.columns[0]], ylabel=AXES[grid.rows[0]], title=title)


def _confusion(axes: Axes, names: Sequence[str], matrix: NDArray[np.int64]) -> None:
    counts = matrix.astype(np.float64)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    words = [plain(name.replace("_", " ")) for name in names]
    order = slice(None, None, -1)  # the first class on top
    shown = iter(counts[order].ravel().astype(int).tolist())
    tiles(axes, share[order], words[order], words, shown=lambda _: f"{next(shown):,}")
    axes.set(xlabel="Called", ylabel="Truth")
    axes.tick_params(axis="x", labelrotation=20 if len(names) > 3 else 0)


def _sizes(axes: Axes, sweeps: dict[str, SizeSweep]) -> None:
    for k, (name, sweep) in enumerate(sweeps.items()):
        colour = COLOURS[k % len(COLOURS)]
        prefix = f"{plain(name)}: " if len(sweeps) > 1 else ""
        for values, dashes, words in (
            (sweep.plain, "-", "without gate"),
            (sweep.gated, "--", f"gate at {sweep.threshold:.3g}"),
        ):
            if values:
                means = [v.value for v in values]
                label = prefix + words
                axes.plot(sweep.sizes, means, dashes, marker="o", ms=4, color=colour, label=label)
                low, high = [v.low for v in values], [v.high for v in values]
                axes.fill_between(sweep.sizes, low, high, color=colour, alpha=0.1, linewidth=0)
    axes.set(xlabel="Smallest component kept, px at 1024", ylabel="Mean Dice")
    axes.legend(loc="best")


def _forest(axes: Axes, models: Models) -> None:
    groups = models[0].evaluation.subgroups
    for k, model in enumerate(models):
        colour = COLOURS[k % len(COLOURS)]
        shift = (k - (len(models) - 1) / 2) * 0.6 / len(models)
        for y, group in enumerate(model.evaluation.subgroups):
            area = group.auc
            axes.plot([area.low, area.high], [y + shift] * 2, color=colour)
            fill = "white" if group.few else colour
            label = plain(model.name) if y == 0 else None
            axes.plot(area.value, y + shift, "o", color=colour, markerfacecolor=fill, label=label)
    names = [plain(f"{g.column} {g.value} (n = {g.images})") for g in groups]
    axes.set_yticks(range(len(groups)), names)
    axes.set_ylim(len(groups) - 0.5, -0.5)  # a group of one kind alone has a row and no AUC
    axes.axvline(models[0].evaluation.image["auc"].value, linestyle=":", color=AXIS)
    axes.set(xlabel="AUC", xlim=(0, 1.02))
    _legend(axes, models)
