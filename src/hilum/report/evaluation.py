"""A judgement as one HTML file that needs no network, with a JSON and a Parquet twin.

Holds no radiograph: only numbers and curves, so it may be passed on.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from numpy.typing import NDArray

from hilum.core.files import atomic_path, write_text
from hilum.evaluate import precision_recall_curve, reliability, roc_curve
from hilum.evaluate.cases import Cases
from hilum.evaluate.judge import Judgement

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Float = NDArray[np.float64]

TEXT = {
    "rsna_score": "RSNA score of the boxes shown",
    "ap50": "AP at IoU .5",
    "ap50_95": "AP at IoU .5 to .95",
    "fp_per_normal_image": "False boxes per image without finding",
    "auc": "AUC",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "precision": "Precision",
    "f1": "F1",
    "f2": "F2",
    "mcc": "MCC",
    "brier": "Brier score",
}
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
INK, ACCENT, QUIET = "#12303f", "#0b7a75", "#8a97a0"


def write_report(
    path: str | Path, cases: Cases, judgement: Judgement, *, title: str, about: list[str]
) -> list[Path]:
    """Write `path` (HTML), and beside it the same name with .json and .parquet.

    Args:
        title: what was judged.
        about: sentences on the data and on what the numbers cannot show.

    Returns:
        The files written.
    """
    html = Path(path)
    twin, rows = html.with_suffix(".json"), html.with_suffix(".parquet")
    write_text(html, _page(cases, judgement, title, about))
    document = {"title": title, "about": about, **_counts(cases), **judgement.to_json()}
    write_text(twin, json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    with atomic_path(rows) as temporary:
        _rows(cases).to_parquet(temporary, index=False)
    return [html, twin, rows]


def _page(cases: Cases, judgement: Judgement, title: str, about: list[str]) -> str:
    environment = Environment(
        loader=PackageLoader("hilum.report"), autoescape=True, undefined=StrictUndefined
    )
    return environment.get_template("evaluation.html").render(
        title=title,
        about=about,
        counts=_counts(cases),
        judgement=judgement,
        text=TEXT,
        figures=_figures(cases, judgement),
    )


def _counts(cases: Cases) -> dict[str, int | str]:
    labelled = ~np.isnan(cases.label)
    return {
        "finding": cases.finding,
        "images": len(cases),
        "patients": int(cases.rows["patient"].nunique()),
        "positive_images": int((cases.label[labelled] == 1).sum()),
        "images_without_label": int((~labelled).sum()),
        "images_with_box_annotation": int(cases.boxed.sum()),
        "true_boxes": sum(len(t) for t in cases.truth),
        "unanswered": cases.unanswered,
    }


def _rows(cases: Cases) -> pd.DataFrame:
    """One row an image: what was true and what was said."""
    rows = cases.rows.copy()
    rows["label"], rows["score"] = cases.label, cases.score
    rows["true_boxes"] = [t.ravel().tolist() for t in cases.truth]
    rows["boxes_annotated"] = cases.boxed
    rows["boxes"] = [b.ravel().tolist() for b, _ in cases.predictions]
    rows["box_scores"] = [s.tolist() for _, s in cases.predictions]
    return rows


def _figures(cases: Cases, judgement: Judgement) -> list[dict[str, Any]]:
    """Title, caption and SVG of each figure that the data allows."""
    out: list[dict[str, Any]] = []

    def add(title: str, caption: str, draw: Callable[[Axes], None], height: float = 4.0) -> None:
        out.append({"title": title, "caption": caption, "svg": _svg(draw, height)})

    if judgement.curve is not None and judgement.curve.lesions:
        add(
            "FROC",
            "Share of true boxes found at IoU .5 against false boxes per image.",
            lambda axes: _froc(axes, judgement),
        )
    if judgement.image:
        labelled = ~np.isnan(cases.label)
        label, score = cases.label[labelled] == 1, cases.score[labelled]
        at = f"The point is the threshold {judgement.threshold:g}."
        add("ROC", f"Image level. {at}", lambda axes: _roc(axes, label, score, judgement))
        add(
            "Precision and recall",
            f"Image level; the line is the prevalence. {at}",
            lambda axes: _precision(axes, label, score, judgement),
        )
        add(
            "Reliability",
            "Mean score against the share of positives in tenths of the score; on the diagonal "
            "a score is a probability. Larger marks hold more images.",
            lambda axes: _reliability(axes, label, score),
        )
    if judgement.subgroups:
        add(
            "Subgroups",
            "AUC with 95 % interval. Hollow: fewer than 30 images. Many groups are compared; "
            "one that stands out may do so by chance.",
            lambda axes: _forest(axes, judgement),
            1.2 + 0.32 * len(judgement.subgroups),
        )
    return out


def _svg(draw: Callable[[Axes], None], height: float) -> Markup:
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(STYLE):
        figure = Figure(figsize=(4.8, height), layout="constrained")
        draw(figure.subplots())
        out = io.StringIO()
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None})
    # Numbers drawn by matplotlib, no text of the data but escaped subgroup names.
    return Markup(re.sub(r"^.*?(?=<svg)", "", out.getvalue(), flags=re.DOTALL))  # noqa: S704


def _froc(axes: Axes, judgement: Judgement) -> None:
    curve = judgement.curve
    if curve is None:
        return
    axes.step(curve.fp_per_image, curve.sensitivity, where="post", color=ACCENT)
    rates = list(curve.at_rates)
    axes.plot(rates, list(curve.at_rates.values()), "o", color=INK, markersize=4)
    axes.set(xscale="log", xlim=(0.05, 10), ylim=(0, 1))
    axes.set(xlabel="False boxes per image", ylabel="Sensitivity per box")
    axes.set_xticks(rates, [f"{r:g}" for r in rates])
    axes.minorticks_off()


def _roc(axes: Axes, label: NDArray[np.bool_], score: Float, judgement: Judgement) -> None:
    false, true, _ = roc_curve(label, score)
    axes.plot(false, true, color=ACCENT, label=f"AUC {judgement.image['auc']}")
    axes.plot([0, 1], [0, 1], ":", color=QUIET)
    point = 1 - judgement.image["specificity"].value, judgement.image["sensitivity"].value
    axes.plot(*point, "o", color=INK)
    axes.set(xlabel="1 − specificity", ylabel="Sensitivity", xlim=(0, 1), ylim=(0, 1.01))
    axes.legend(loc="lower right", frameon=False)


def _precision(axes: Axes, label: NDArray[np.bool_], score: Float, judgement: Judgement) -> None:
    precision, recall, _ = precision_recall_curve(label, score)
    axes.step(recall, precision, where="pre", color=ACCENT)
    axes.axhline(label.mean(), linestyle=":", color=QUIET)
    image = judgement.image
    axes.plot(image["sensitivity"].value, image["precision"].value, "o", color=INK)
    axes.set(xlabel="Recall (sensitivity)", ylabel="Precision", xlim=(0, 1), ylim=(0, 1.01))


def _reliability(axes: Axes, label: NDArray[np.bool_], score: Float) -> None:
    curve = reliability(label, score)
    axes.plot([0, 1], [0, 1], ":", color=QUIET)
    axes.plot(curve.said, curve.came, color=ACCENT, linewidth=1)
    size = 15 + 200 * curve.counts / curve.counts.max()
    axes.scatter(curve.said, curve.came, s=size, color=ACCENT, alpha=0.7)
    axes.set(xlabel="Score", ylabel="Share of positives", xlim=(0, 1), ylim=(0, 1))


def _forest(axes: Axes, judgement: Judgement) -> None:
    groups = judgement.subgroups[::-1]
    for y, group in enumerate(groups):
        area = group.auc
        axes.plot([area.low, area.high], [y, y], color=ACCENT)
        fill = "white" if group.few else ACCENT
        axes.plot(area.value, y, "o", color=ACCENT, markerfacecolor=fill)
    # A dollar sign in a name would start a formula.
    names = [f"{g.column} {g.value} (n = {g.images})".replace("$", r"\$") for g in groups]
    axes.set_yticks(range(len(groups)), names)
    axes.axvline(judgement.image["auc"].value, linestyle=":", color=QUIET)
    axes.set(xlabel="AUC", xlim=(0, 1.02))
