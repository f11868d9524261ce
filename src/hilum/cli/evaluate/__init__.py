"""`hilum evaluate` and its verbs: predictions and truth -> numbers."""

from __future__ import annotations

import math
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import typer

from hilum.cli import common
from hilum.cli.evaluate import calibrate as calibrate_verb

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hilum.core.manifest import OperatingPoint
    from hilum.data.catalog import Catalog
    from hilum.evaluate.cases import Cases
    from hilum.evaluate.measures import Thresholds
    from hilum.evaluate.thresholds.sweep import Grid

app = typer.Typer(no_args_is_help=True, help="Judge predictions.")


class Challenge(StrEnum):
    """The three challenges."""

    RSNA = "rsna"
    SIIM_COVID = "siim-covid"
    SIIM_ACR = "siim-acr"


app.command("calibrate")(calibrate_verb.calibrate)


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
    validation_split: str = typer.Option(
        "", help="Split on which --choose and --calibrate settle things; give --split, too."
    ),
    choose: list[str] = typer.Option(
        [],
        help="Operating point by its aim, e.g. sensitivity=.95 (images), false-boxes=1 (boxes); "
        "an unknown one lists all.",
    ),
    calibrate: str = typer.Option("", help="temperature, logistic or isotonic; else none."),
    study: str = typer.Option("max", help="Study from images: max, mean or noisy-or."),
    epoch: list[str] = typer.Option(
        [], help="Predictions of an epoch, e.g. 3=epoch3.csv; repeat for heat-maps over epochs."
    ),
    repeats: int = typer.Option(1000, min=1, help="Bootstrap replicates over patients."),
    gallery: int = typer.Option(
        0,
        min=0,
        help="Images of each kind (best, worst, missed, false alarms) to show. Puts radiographs "
        "into the file: check the licence of the set before passing it on.",
    ),
    plots: Path | None = typer.Option(None, help="Also write the figures as PNG, to this folder."),
    as_json: bool = typer.Option(False, "--json", help="Print the numbers as JSON."),
) -> None:
    """Judge predictions against a catalog: numbers with intervals, curves, subgroups, comparisons.

    Example: hilum evaluate report catalog.parquet a/findings.json --split test
    --validation-split validation --choose sensitivity=.95 --choose false-boxes=1 --out report.html
    """
    from hilum.core.extras import require

    require("eval")
    from hilum.data.catalog import open_catalog
    from hilum.evaluate.cases import join
    from hilum.evaluate.compare import answered_by_all, compare
    from hilum.evaluate.evaluation import judge
    from hilum.evaluate.metrics.segmentation import segmentation
    from hilum.evaluate.prediction_files import read_predictions
    from hilum.evaluate.studies import judge_studies, study_cases
    from hilum.report.evaluation import write_report
    from hilum.report.gallery import galleries
    from hilum.report.plots import Judged, figures

    _check_out(out, [catalog, *predictions])
    whole = open_catalog(catalog)
    truth = part_of(whole, split)
    given = _one_each(threshold, len(predictions))
    names = _names(predictions)
    said = [read_predictions(file) for file in predictions]
    plain = answered_by_all([join(truth, one, finding) for one in said])
    validation = _validation(whole, validation_split, choose, calibrate)
    settled = [
        _settle(
            join(validation, one, finding) if validation else None, cases, choose, calibrate, point
        )
        for one, cases, point in zip(said, plain, given, strict=True)
    ]
    combine = combine_by(study)
    models = [
        Judged(
            *(name, one.cases, judge(one.cases, threshold=one.thresholds, repeats=repeats)),
            segmentation(truth, file, repeats=repeats),
            judge_studies(
                study_cases(truth, file, finding, combine), one.thresholds.image, repeats=repeats
            ),
            one.points,
            cases if calibrate else None,
        )
        for name, one, file, cases in zip(names, settled, said, plain, strict=True)
    ]
    compared = compare(
        {model.name: model.cases for model in models},
        [one.thresholds for one in settled],
        repeats=repeats,
    )
    grids = _epochs(validation or truth, epoch, finding)
    about = [f"{truth.name}{', split ' + split if split else ''}.", *truth.notes]
    if grids:
        about.append(f"Epochs are shown on split {validation_split or split or 'all'}.")
    title = f"{finding.capitalize()} on {truth.name}"
    pictures = galleries(truth, models, gallery) if gallery else []
    document = write_report(
        out,
        models,
        title=title,
        about=about,
        compared=compared,
        pictures=pictures,
        epochs=grids,
    )
    if plots is not None:
        plots.mkdir(parents=True, exist_ok=True)
        for figure in figures(models, grids):
            figure.save(plots)
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


def _check_out(out: Path, inputs: list[Path]) -> None:
    """Raises ConfigError if the report or a twin of it would overwrite what it is made from."""
    from hilum.core.errors import ConfigError

    written = {out.with_suffix(end).resolve() for end in (".html", ".json", ".parquet")}
    for file in inputs:
        if file.resolve() in written | {out.resolve()}:
            raise ConfigError(f"--out {out} would overwrite {file}; choose another name")


class _Settled(NamedTuple):
    """What is fixed of a model before it is judged."""

    cases: Cases
    thresholds: Thresholds
    points: tuple[OperatingPoint, ...]


def _validation(catalog: Catalog, split: str, choose: list[str], calibrate: str) -> Catalog | None:
    """The cases on which things are settled, if any are."""
    from hilum.core.errors import ConfigError

    if (choose or calibrate) and not split:
        raise ConfigError("--choose and --calibrate need --validation-split: never the judged one")
    return part_of(catalog, split) if split else None


def _settle(
    chosen_on: Cases | None, judged: Cases, choose: list[str], calibrate: str, given: float
) -> _Settled:
    from hilum.evaluate.measures import Thresholds
    from hilum.evaluate.thresholds import validation

    if chosen_on is None:
        return _Settled(judged, Thresholds.of(given), ())
    validation.check_apart(chosen_on, judged)
    where = f"{chosen_on.catalog}, {len(chosen_on)} validation images"
    if calibrate:
        maps = validation.calibrate(chosen_on, calibrate, where)
        chosen_on = validation.calibrated(chosen_on, maps)
        judged = validation.calibrated(judged, maps)
    points = tuple(validation.choose(text, chosen_on, where) for text in choose)
    boxes, image, _ = validation.thresholds_of(points, given)
    return _Settled(judged, Thresholds(boxes, image), points)


def combine_by(how: str) -> Callable[[Sequence[float]], float]:
    from hilum.core.errors import ConfigError
    from hilum.fuse import study_score

    ways: dict[str, Callable[[Sequence[float]], float]] = {
        "max": lambda scores: float(study_score(scores, "max")),
        "mean": lambda scores: float(study_score(scores, "mean")),
        "noisy-or": lambda scores: float(study_score(scores, "noisy-or")),
    }
    if how not in ways:
        raise ConfigError(f"unknown way {how!r} from images to a study; known: {', '.join(ways)}")
    return ways[how]


def _epochs(truth: Catalog, given: list[str], finding: str) -> list[Grid]:
    """Heat-maps over the epochs of a training, on the images that all epochs answered."""
    from hilum.core.errors import ConfigError
    from hilum.evaluate.cases import join
    from hilum.evaluate.compare import answered_by_all
    from hilum.evaluate.prediction_files import read_predictions
    from hilum.evaluate.thresholds.sweep import nms_by_epoch, score_by_epoch
    from hilum.fuse import keep_best

    files: dict[float, Path] = {}
    for text in given:
        number, equals, file = text.partition("=")
        if not equals or not number.isdigit() or float(number) in files:
            raise ConfigError(f"--epoch {text!r}: needed: N=FILE, each N once")
        files[float(number)] = Path(file)
    if not files:
        return []
    cases = answered_by_all([join(truth, read_predictions(f), finding) for f in files.values()])
    boxed = cases[0].boxed
    if not any(len(boxes) for boxes in cases[0].truth):
        raise ConfigError("--epoch: no true box in these images: nothing to show over epochs")
    said = {n: one.where(boxed).predictions for n, one in zip(files, cases, strict=True)}
    said = dict(sorted(said.items()))
    true = cases[0].where(boxed).truth
    return [
        score_by_epoch(true, said),
        nms_by_epoch(true, said, lambda b, s, iou: keep_best(b, s, iou=iou)),
    ]


def part_of(truth: Catalog, split: str) -> Catalog:
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
    from hilum.evaluate.challenges.tables import same_ids

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
