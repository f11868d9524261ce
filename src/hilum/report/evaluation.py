"""A judgement as one HTML file that needs no network, with a JSON and a Parquet twin.

One model or several side by side. Holds no radiograph unless a gallery is handed in, so it may
be passed on.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from hilum.core.files import atomic_path, write_text
from hilum.evaluate import expected_calibration_error
from hilum.evaluate.cases import Cases
from hilum.evaluate.compare import Compared
from hilum.evaluate.thresholds.sweep import Grid
from hilum.report.gallery import Gallery
from hilum.report.plots import Judged, figures
from hilum.report.published import PUBLISHED

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
    "dice": "Dice, equal to F1 over pixels",
    "iou": "IoU",
    "hd95_px": "Hausdorff distance, 95th percentile, px",
    "ece": "Expected calibration error (lower is better)",
    "brier": "Brier score (lower is better)",
}


def write_report(
    path: str | Path,
    models: Sequence[Judged],
    *,
    title: str,
    about: Sequence[str],
    compared: Sequence[Compared] = (),
    pictures: Sequence[Gallery] = (),
    epochs: Sequence[Grid] = (),
) -> dict[str, Any]:
    """Write `path` (HTML), and beside it the same name with .json and .parquet.

    Args:
        models: one or more, judged on the same images.
        title: what was judged.
        about: sentences on the data and on what the numbers cannot show.
        compared: the models' differences.
        pictures: galleries; they put radiographs into the page.
        epochs: grids over the epochs of a training.

    Returns:
        The numbers, as in the JSON twin.
    """
    html = Path(path)
    document = _document(models, title, about, compared, epochs)
    write_text(html, _page(models, title, about, compared, pictures, epochs))
    text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False)
    write_text(html.with_suffix(".json"), text + "\n")
    with atomic_path(html.with_suffix(".parquet")) as temporary:
        _rows(models).to_parquet(temporary, index=False)
    return document


def _document(
    models: Sequence[Judged],
    title: str,
    about: Sequence[str],
    compared: Sequence[Compared],
    epochs: Sequence[Grid],
) -> dict[str, Any]:
    return {
        **{"title": title, "about": list(about), **_counts(models[0].cases)},
        "models": [
            {
                **{"name": m.name, "unanswered": m.cases.unanswered, **m.judgement.to_json()},
                "masks": [mask.to_json() for mask in m.masks],
                "studies": [study.to_json() for study in m.studies],
                "operating_points": [point.to_json() for point in m.points],
                "ece_before_calibration": _ece_before(m),
            }
            for m in models
        ],
        "comparisons": [pair.to_json() for pair in compared],
        "epochs": [grid.to_json() for grid in epochs],
    }


def _page(
    models: Sequence[Judged],
    title: str,
    about: Sequence[str],
    compared: Sequence[Compared],
    pictures: Sequence[Gallery],
    epochs: Sequence[Grid],
) -> str:
    environment = Environment(
        loader=PackageLoader("hilum.report"), autoescape=True, undefined=StrictUndefined
    )
    return environment.get_template("evaluation.html").render(
        title=title,
        about=about,
        counts=_counts(models[0].cases),
        models=models,
        compared=compared,
        text=TEXT,
        figures=figures(models, epochs),
        galleries=pictures,
        published=PUBLISHED.get(models[0].cases.catalog, ()),
    )


def _ece_before(model: Judged) -> float | None:
    if model.before is None or not model.judgement.image:
        return None
    rows = model.before.labelled
    return expected_calibration_error(model.before.label[rows], model.before.score[rows])


def _counts(cases: Cases) -> dict[str, int | str]:
    return {
        "finding": cases.finding,
        "images": len(cases),
        "patients": int(cases.rows["patient"].nunique()),
        "positive_images": int((cases.label[cases.labelled] == 1).sum()),
        "images_without_label": int((~cases.labelled).sum()),
        "images_with_box_annotation": int(cases.boxed.sum()),
        "true_boxes": sum(len(t) for t in cases.truth),
    }


def _rows(models: Sequence[Judged]) -> pd.DataFrame:
    """One row an image and model: what was true and what was said."""
    return pd.concat([_rows_of(model) for model in models], ignore_index=True)


def _rows_of(model: Judged) -> pd.DataFrame:
    cases = model.cases
    rows = cases.rows.copy()
    rows.insert(0, "model", model.name)
    rows["label"], rows["score"] = cases.label, cases.score
    rows["true_boxes"] = [t.ravel().tolist() for t in cases.truth]
    rows["boxes_annotated"] = cases.boxed
    rows["boxes"] = [b.ravel().tolist() for b, _ in cases.predictions]
    rows["box_scores"] = [s.tolist() for _, s in cases.predictions]
    return rows
