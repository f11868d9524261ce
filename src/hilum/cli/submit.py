"""`hilum submit`: predictions -> a challenge's exact submission file."""

from __future__ import annotations

from pathlib import Path

import typer

from hilum.cli import common, options
from hilum.cli.evaluate.challenge import Challenge


def submit(
    challenge: Challenge = typer.Argument(..., help="Which challenge's form."),
    predictions: Path = typer.Argument(
        ..., help="findings.json of hilum predict, or an RSNA or SIIM-COVID CSV."
    ),
    out: Path = options.output("The submission (CSV)."),
    sample: Path | None = typer.Option(
        None,
        help="The challenge's sample submission: its ids, in its order. Or a catalog (.parquet) of "
        "images held out of its training set.",
    ),
    finding: str = typer.Option(
        "", help="Label of boxes or name of masks; else opacity, for siim-acr pneumothorax."
    ),
    threshold: float = typer.Option(0.0, min=0, max=1, help="Leave out boxes of a lower score."),
    none: str = typer.Option(
        "best-box",
        help="siim-covid: `none` is 1 - best box, an image score by its name, or not:NAME.",
    ),
    as_json: bool = options.JSON,
) -> None:
    """Write predictions as a challenge wants them, checked as it reads them.

    Images that were refused or have no prediction get a valid blank row and are counted (exit
    code 1). For a second stage, predict its folder and submit again.

    Example: hilum submit rsna run/findings.json --sample stage_2_sample_submission.csv --out s.csv
    """
    from hilum.core.extras import require

    require("eval")
    from hilum.evaluate.prediction_files import read_predictions
    from hilum.report.submissions import Settings, write_submission

    with common.progress("writing"):
        submission = write_submission(
            out,
            challenge.value,
            read_predictions(predictions),
            sample=sample,
            settings=Settings(finding=finding, threshold=threshold, none=none),
        )
    if as_json:
        common.print_json({**submission.to_json(), "out": str(out)})
    else:
        for line in submission.lines():
            typer.echo(line)
        typer.echo(f"written: {out}")
    if submission.blank:
        raise typer.Exit(common.SOME_REFUSED)
