"""`hilum evaluate` and its verbs: predictions and truth -> numbers."""

from __future__ import annotations

import math
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from hilum.cli import common

if TYPE_CHECKING:
    from hilum.data.catalog import Catalog

app = typer.Typer(no_args_is_help=True, help="Judge predictions.")


class Challenge(StrEnum):
    """The three challenges."""

    RSNA = "rsna"
    SIIM_COVID = "siim-covid"
    SIIM_ACR = "siim-acr"


@app.callback()
def _evaluate() -> None:
    """Judge predictions."""


@app.command()
def challenge(
    name: Challenge = typer.Argument(..., help="Which challenge's score."),
    truth: list[Path] = typer.Option(
        ...,
        help="The true table: RSNA labels, SIIM solution (or its study and image tables, given "
        "one after the other with two --truth), SIIM-ACR run lengths.",
    ),
    submission: Path = typer.Option(..., help="The submission file."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Score a submission exactly as its challenge does.

    Example: hilum evaluate challenge rsna --truth labels.csv --submission mine.csv
    """
    from hilum.core.errors import ConfigError
    from hilum.core.extras import require

    require("eval")
    if len(truth) > (2 if name is Challenge.SIIM_COVID else 1):
        raise ConfigError(f"{len(truth)} --truth files are too many for {name.value}")
    score = {
        Challenge.RSNA: _rsna,
        Challenge.SIIM_COVID: _siim_covid,
        Challenge.SIIM_ACR: _siim_acr,
    }[name]
    values = {"challenge": name.value, **score(truth, submission)}
    if as_json:
        common.print_json({key: _plain(value) for key, value in values.items()})
        return
    for key, value in values.items():
        shown = f"{value:.6f}" if isinstance(value, float) else value
        typer.echo(f"{key:15} {shown}")


@app.command()
def report(
    catalog: Path = typer.Argument(..., help="A catalog (Parquet)."),
    predictions: list[Path] = typer.Argument(
        ..., help="findings.json, or an RSNA or SIIM-COVID CSV; of several models to compare them."
    ),
    out: Path = typer.Option(..., "--out", "-o", help="The HTML file; .json, .parquet beside it."),
    finding: str = typer.Option("opacity", help="Which finding is judged."),
    split: str = typer.Option("", help="Only this split of the catalog."),
    threshold: list[float] = typer.Option(
        [0.5], min=0, max=1, help="Operating point, chosen on other data; one, or one a model."
    ),
    repeats: int = typer.Option(1000, min=1, help="Bootstrap replicates over patients."),
    gallery: int = typer.Option(
        0,
        min=0,
        help="Images of each kind (best, worst, missed, false alarms) to show. Puts radiographs "
        "into the file: check the licence of the set before passing it on.",
    ),
    as_json: bool = typer.Option(False, "--json", help="Print the numbers as JSON."),
) -> None:
    """Judge predictions against a catalog: numbers with intervals, curves, subgroups, comparisons.

    Example: hilum evaluate report catalog.parquet a/findings.json b/findings.json --out report.html
    """
    from hilum.core.extras import require

    require("eval")
    from hilum.data.catalog import open_catalog
    from hilum.evaluate.cases import join
    from hilum.evaluate.compare import answered_by_all, compare
    from hilum.evaluate.judge import judge
    from hilum.evaluate.prediction_files import read_predictions
    from hilum.evaluate.segmentation import segmentation
    from hilum.report.evaluation import write_report
    from hilum.report.gallery import galleries
    from hilum.report.plots import Judged

    truth = _part(open_catalog(catalog), split)
    points = _one_each(threshold, len(predictions))
    names = _names(predictions)
    said = [read_predictions(file) for file in predictions]
    joined = answered_by_all([join(truth, one, finding) for one in said])
    models = [
        Judged(
            *(name, cases, judge(cases, threshold=point, repeats=repeats)),
            segmentation(truth, one, repeats=repeats),
        )
        for name, cases, point, one in zip(names, joined, points, said, strict=True)
    ]
    compared = compare(dict(zip(names, joined, strict=True)), points, repeats=repeats)
    about = [f"{truth.name}{', split ' + split if split else ''}.", *truth.notes]
    title = f"{finding.capitalize()} on {truth.name}"
    pictures = galleries(truth, models, gallery) if gallery else []
    document = write_report(
        out, models, title=title, about=about, compared=compared, pictures=pictures
    )
    if as_json:
        common.print_json(document)
        return
    for model in models:
        typer.echo(f"{model.name}: {model.cases.unanswered} images without an answer")
        for name, value in {**model.judgement.boxes, **model.judgement.image}.items():
            typer.echo(f"  {name:20} {value}")
    for pair in compared:
        typer.echo(f"{pair.metric}, {pair.first} - {pair.second}: {pair.verdict}")
    typer.echo(f"written: {out}")


def _part(truth: Catalog, split: str) -> Catalog:
    """The images of a split, all without one."""
    from hilum.core.errors import ConfigError

    if not split:
        return truth
    keep = truth.table["split"] == split
    if not keep.any():
        known = ", ".join(sorted(truth.table["split"].unique()))
        raise ConfigError(f"no image of split {split!r}; known: {known}")
    return truth.where(keep)


def _one_each(thresholds: list[float], models: int) -> list[float]:
    from hilum.core.errors import ConfigError

    if len(thresholds) not in (1, models):
        raise ConfigError(f"{len(thresholds)} thresholds for {models} models; needed: one, or each")
    return thresholds * (models // len(thresholds))


def _names(files: list[Path]) -> list[str]:
    """What the models are called: the files' names, else their folders' (findings.json)."""
    from hilum.core.errors import ConfigError

    folders = [file.absolute().parent.name for file in files]
    for names in ([file.stem for file in files], folders):
        if len(set(names)) == len(files):
            return names
    raise ConfigError("models need names of their own: rename a prediction file or its folder")


def _rsna(truth: list[Path], submission: Path) -> dict[str, Any]:
    import numpy as np

    from hilum.evaluate import rsna_per_image, rsna_predictions, rsna_truth
    from hilum.evaluate.tables import same_ids

    wanted, given = rsna_truth(truth[0]), rsna_predictions(submission)
    same_ids(wanted, given)
    scores = rsna_per_image(list(wanted.values()), [given[image] for image in wanted])
    counted = scores[~np.isnan(scores)]
    return {
        "score": float(counted.mean()) if len(counted) else float("nan"),
        "images": len(scores),
        "counted": len(counted),
    }


def _siim_covid(truth: list[Path], submission: Path) -> dict[str, Any]:
    from hilum.evaluate import siim_covid_score, siim_covid_solution

    values = siim_covid_score(
        truth[0] if len(truth) == 1 else siim_covid_solution(truth[0], truth[1]), submission
    )
    return {"score": values.pop("mean"), **values}


def _siim_acr(truth: list[Path], submission: Path) -> dict[str, Any]:
    from hilum.evaluate import siim_acr_per_image

    values = siim_acr_per_image(truth[0], submission)
    score = sum(values.values()) / len(values) if values else float("nan")
    return {"score": score, "images": len(values)}


def _plain(value: object) -> object:
    """JSON has no NaN."""
    return None if isinstance(value, float) and math.isnan(value) else value
