"""An evaluation as one HTML file that needs no network, with a JSON and a Parquet twin.

One model or several side by side. Holds no radiograph unless a gallery is asked for, so it may be
passed on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from hilum.core.errors import ConfigError
from hilum.core.files import atomic_path, need_writable, write_text
from hilum.evaluate import expected_calibration_error
from hilum.evaluate.cases import Cases
from hilum.evaluate.classes import ClassEvaluation
from hilum.evaluate.metrics.names import METRICS, text
from hilum.evaluate.models import EvaluatedModel, EvaluatedModels, Settings
from hilum.evaluate.segmentation import MaskEvaluation
from hilum.evaluate.statistics.bootstrap import Interval
from hilum.evaluate.studies import StudyEvaluation
from hilum.evaluate.thresholds.sweep import Grid
from hilum.report.curves import figures
from hilum.report.gallery import galleries
from hilum.report.pages import render
from hilum.report.published import published_of

TWINS = (".html", ".json", ".parquet")


def check_out(out: Path, inputs: Sequence[Path]) -> None:
    """Raises ConfigError if the report or a twin of it would overwrite what it is made from,
    OSError if it cannot be written."""
    written = {out.with_suffix(end).resolve() for end in TWINS} | {out.resolve()}
    for file in inputs:
        if file.resolve() in written:
            raise ConfigError(f"--out {out} would overwrite {file}; choose another name")
    need_writable(out)


def write_report(
    path: str | Path,
    evaluated: EvaluatedModels,
    *,
    settings: Settings | None = None,
    epochs: Sequence[Grid] = (),
    gallery: int = 0,
    plots: Path | None = None,
) -> dict[str, Any]:
    """Write `path` (HTML), and beside it the same name with .json and .parquet.

    Args:
        evaluated: models on the same images.
        epochs: grids over the epochs of a training.
        gallery: images of each kind to show; they put radiographs into the page.
        plots: a folder for the figures as PNG.

    Returns:
        The numbers, as in the JSON twin.
    """
    html, settings = Path(path), settings or Settings()
    drawn = figures(evaluated.models, epochs)
    title = f"{settings.finding.capitalize()} on {evaluated.catalog.title}"
    about = _about(evaluated, settings, epochs)
    document = {"title": title, "about": about, **_document(evaluated, epochs)}
    models = evaluated.models
    page = render(
        "evaluation.html",
        title=title,
        about=about,
        finding=models[0].cases.finding,
        counts=_tiles(models[0].cases),
        accounts=_accounts(models),
        models=models,
        detectors=[model for model in models if model.cases.detects],
        levels=_levels(models),
        blocks={kind: _blocks(models, kind) for kind in ("classes", "masks", "studies")},
        compared=evaluated.compared,
        text=text,
        figures=drawn,
        galleries=galleries(evaluated.catalog, models, gallery) if gallery else [],
        published=published_of(evaluated.catalog.name, models[0].cases.finding),
    )
    write_text(html, page)
    numbers = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False)
    write_text(html.with_suffix(".json"), numbers + "\n")
    with atomic_path(html.with_suffix(".parquet")) as temporary:
        _rows(models).to_parquet(temporary, index=False)
    for figure in drawn if plots is not None else ():
        assert plots is not None
        plots.mkdir(parents=True, exist_ok=True)
        figure.save(plots)
    return document


def _about(evaluated: EvaluatedModels, settings: Settings, epochs: Sequence[Grid]) -> list[str]:
    part = f", part {settings.part}" if settings.part else ""
    about = [f"{evaluated.catalog.title}{part}.", *(f"{n}." for n in evaluated.catalog.notes)]
    if epochs:
        where = settings.validation_part or settings.part or "all"
        about.append(f"Epochs are shown on part {where}.")
    return about


def _document(evaluated: EvaluatedModels, epochs: Sequence[Grid]) -> dict[str, Any]:
    return {
        **_counts(evaluated.models[0].cases),
        "models": [_model(m) for m in evaluated.models],
        "comparisons": [pair.to_json() for pair in evaluated.compared],
        "epochs": [grid.to_json() for grid in epochs],
    }


def _model(m: EvaluatedModel) -> dict[str, Any]:
    account = m.cases.account
    return {
        **{"name": m.name, "unanswered": m.cases.unanswered, **m.evaluation.to_json()},
        "account": account.to_json() if account else None,
        "masks": [mask.to_json() for mask in m.masks],
        "studies": [study.to_json() for study in m.studies],
        "classes": [one.to_json() for one in m.classes],
        "operating_points": [point.to_json() for point in m.points],
        "ece_before_calibration": _ece_before(m),
    }


LEVELS = {"boxes": "Boxes", "any_box": "Images by their best box", "image": "Images"}


@dataclass(frozen=True, slots=True)
class Block:
    """Numbers of one kind, model by model, under a heading."""

    heading: str
    notes: tuple[str, ...]  # what differs from model to model
    numbers: dict[str, tuple[Interval | None, ...]]  # name -> one a model
    reasons: Mapping[str, str] = field(default_factory=dict)  # name -> why a model lacks it


def _levels(models: Sequence[EvaluatedModel]) -> list[Block]:
    """Boxes, images by their best box and images, with the reasons why numbers are not there."""
    out = []
    for level, heading in LEVELS.items():
        has: list[dict[str, Interval]] = [getattr(m.evaluation, level) for m in models]
        names = dict.fromkeys(name for own in has for name in own)
        whys = [(m.name, m.evaluation.why_not) for m in models]
        notes = [f"{_of(name, models)}not evaluated: {w[level]}" for name, w in whys if level in w]
        if names or notes:
            numbers = {name: tuple(own.get(name) for own in has) for name in names}
            reasons = {n: w[n] for _, w in reversed(whys) for n in names if n in w}
            out.append(Block(heading, tuple(notes), numbers, reasons))
    return out


def _of(name: str, models: Sequence[EvaluatedModel]) -> str:
    return f"{name}: " if len(models) > 1 else ""


def _blocks(models: Sequence[EvaluatedModel], kind: str) -> list[Block]:
    """The masks, studies or classes of all models, each thing of one name a block."""
    every = [{_heading(one): one for one in getattr(model, kind)} for model in models]
    out = []
    for heading in dict.fromkeys(name for own in every for name in own):
        has = [own.get(heading) for own in every]
        names = dict.fromkeys(n for one in has if one for n in one.numbers)
        notes = [
            f"{model.name}: {_counted(one)}"
            for model, one in zip(models, has, strict=True)
            if one is not None
        ]
        numbers = {n: tuple(one.numbers.get(n) if one else None for one in has) for n in names}
        undefined = (n for n, own in numbers.items() if any(v and v.value != v.value for v in own))
        reasons = {n: f"needed: {METRICS[n].needs}" for n in undefined}
        out.append(Block(heading, tuple(notes), numbers, reasons))
    return out


Part = MaskEvaluation | StudyEvaluation | ClassEvaluation


def _heading(one: Part) -> str:
    if isinstance(one, ClassEvaluation):
        return f"{one.level.capitalize()} classes: {', '.join(one.classes)}".replace("_", " ")
    return one.name.replace("_", " ").capitalize()


def _counted(one: Part) -> str:
    if isinstance(one, ClassEvaluation):
        return f"{one.cases} cases, {one.left_out} left out"
    if isinstance(one, MaskEvaluation):
        return f"{one.images} images, {one.both_empty} both empty, {one.one_empty} one empty"
    counts = f"{one.studies} studies, {one.positives} positive, {one.own} of the model's own score"
    missing = f", {one.unanswered} without an answer" if one.unanswered else ""
    return counts + missing + (f"; not evaluated: {one.why_not}" if one.why_not else "")


def _accounts(models: Sequence[EvaluatedModel]) -> dict[str, list[str]]:
    lines = {m.name: m.cases.account.lines() if m.cases.account else [] for m in models}
    return {name: own for name, own in lines.items() if own}


def _ece_before(model: EvaluatedModel) -> float | None:
    if model.before is None or not model.evaluation.image:
        return None
    rows = model.before.labelled
    return expected_calibration_error(model.before.label[rows], model.before.score[rows])


def _counts(cases: Cases) -> dict[str, int | str]:
    return {
        "finding": cases.finding,
        "images": len(cases),
        "patients": int(cases.rows["patient"].nunique()),
        "positive_images": int((cases.label == 1).sum()),
        "images_without_label": int((~cases.known).sum()),
        "images_with_box_annotation": int(cases.boxed.sum()),
        "true_boxes": sum(len(t) for t in cases.truth),
    }


def _tiles(cases: Cases) -> dict[str, int | str]:
    return {name.replace("_", " "): value for name, value in _counts(cases).items()}


def _rows(models: Sequence[EvaluatedModel]) -> pd.DataFrame:
    """One row an image and model: what was true and what was predicted."""
    return pd.concat([_rows_of(model) for model in models], ignore_index=True)


def _rows_of(model: EvaluatedModel) -> pd.DataFrame:
    cases = model.cases
    rows = cases.rows.copy()
    rows.insert(0, "model", model.name)
    rows["label"], rows["score"] = cases.label, cases.score
    rows["true_boxes"] = [t.ravel().tolist() for t in cases.truth]
    rows["boxes_annotated"] = cases.boxed
    rows["boxes"] = [b.ravel().tolist() for b, _ in cases.predictions]
    rows["box_scores"] = [s.tolist() for _, s in cases.predictions]
    return rows
