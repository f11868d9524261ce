"""`hilum evaluate report`: models against a catalog on one page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from hilum.cli import common, options

if TYPE_CHECKING:
    from hilum.evaluate.models import EvaluatedModels


def report(
    catalog: Path = options.CATALOG,
    predictions: list[Path] = typer.Argument(
        ...,
        help="findings.json, an RSNA or SIIM-COVID CSV, or a table of image scores; of several "
        "models to compare them.",
    ),
    out: Path = options.output("The HTML file; .json, .parquet beside it."),
    finding: str = options.FINDING,
    part: str = options.PART,
    threshold: list[float] = typer.Option(
        [],
        min=0,
        max=1,
        help="Operating point, chosen on other data; one, or one a model. Else the run's, or .5.",
    ),
    validation_part: str = typer.Option(
        "", help="Part on which --choose and --calibrate settle things; give --part, too."
    ),
    choose: list[str] = typer.Option(
        [],
        help="Operating point by its aim, e.g. sensitivity=.95 (images), false-boxes=1 (boxes); "
        "an unknown one lists all.",
    ),
    calibrate: str = typer.Option("", help="temperature, logistic or isotonic; else none."),
    study: str = options.STUDY,
    classes: str = typer.Option(
        "",
        help="Exclusive classes in their order, e.g. normal,not-normal,opacity; else found where "
        "every case has exactly one label.",
    ),
    compare: list[str] = typer.Option(
        [],
        help="Compare models in this number, e.g. rsna_score, ap50, box_f1, dice; repeatable. "
        "Fewer comparisons cost less in Holm's correction; else the usual ones.",
    ),
    epoch: list[str] = typer.Option(
        [],
        help="Predictions of an epoch, e.g. 3=epoch3.json, best unsuppressed; repeat for heat-maps "
        "over epochs.",
    ),
    repeats: int = typer.Option(1000, min=1, help="Bootstrap replicates over patients."),
    gallery: int = typer.Option(
        0,
        min=0,
        help="Images of each kind (best, worst, missed, false alarms) to show. Puts radiographs "
        "into the file: check the licence of the set before passing it on.",
    ),
    plots: Path | None = typer.Option(None, help="Also write the figures as PNG, to this folder."),
    as_json: bool = options.JSON,
) -> None:
    """Evaluate predictions against a catalog: numbers with intervals, curves, subgroups.

    Example: hilum evaluate report catalog.parquet a/findings.json --part test
    --validation-part validation --choose sensitivity=.95 --choose false-boxes=1 --out report.html
    """
    from hilum.core.extras import require

    require("eval")
    from hilum.data.catalog import open_catalog
    from hilum.evaluate.models import Settings, epoch_grids, evaluate_models, parse_epochs
    from hilum.fuse import combine_by, keep_best
    from hilum.report.evaluation import check_out, write_report

    check_out(out, [catalog, *predictions])
    settings = Settings(
        finding=finding,
        part=part,
        validation_part=validation_part,
        choose=choose,
        calibrate=calibrate,
        thresholds=threshold,
        classes=tuple(common.words(classes)),
        compare=compare,
        repeats=repeats,
    )
    with common.progress("evaluating"):
        whole = open_catalog(catalog)
        evaluated = evaluate_models(whole, predictions, settings, combine_by(study))
        grids = epoch_grids(
            whole, parse_epochs(epoch), settings, lambda b, s, iou: keep_best(b, s, iou=iou)
        )
        document = write_report(
            out, evaluated, settings=settings, epochs=grids, gallery=gallery, plots=plots
        )
    if as_json:
        common.print_json(document)
    else:
        _tell(evaluated)
        typer.echo(f"written: {out}")


def _tell(evaluated: EvaluatedModels) -> None:
    for model in evaluated.models:
        typer.echo(f"{model.name}: {len(model.cases)} images evaluated")
        for line in model.lines():
            typer.echo(f"  {line}")
    for pair in evaluated.compared:
        typer.echo(f"{pair.metric}, {pair.first} - {pair.second}: {pair.verdict}")
