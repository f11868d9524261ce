"""`hilum evaluate challenge`: a submission's score, as its challenge computes it."""

from __future__ import annotations

import math
from enum import StrEnum
from pathlib import Path

import typer

from hilum.cli import common, options


class Challenge(StrEnum):
    """The three challenges."""

    RSNA = "rsna"
    SIIM_COVID = "siim-covid"
    SIIM_ACR = "siim-acr"


def challenge(
    name: Challenge = typer.Argument(..., help="Which challenge's score."),
    truth: list[Path] = typer.Option(
        ...,
        help="The true table: RSNA labels, SIIM solution (or its study and image tables, given "
        "one after the other with two --truth), SIIM-ACR run lengths. Or a catalog (.parquet) of "
        "images that were held out of the challenge's training set.",
    ),
    submission: Path = typer.Option(..., help="The submission file."),
    as_json: bool = options.JSON,
) -> None:
    """Score a submission exactly as its challenge does.

    Example: hilum evaluate challenge rsna --truth labels.csv --submission mine.csv
    """
    from hilum.core.extras import require

    require("eval")
    from hilum.evaluate.challenges.scores import score_submission

    with common.progress("scoring"):
        values = score_submission(name.value, truth, submission)
    if as_json:
        common.print_json({key: _plain(value) for key, value in values.items()})
        return
    for key, value in values.items():
        shown = f"{value:.6f}" if isinstance(value, float) else value
        typer.echo(f"{key:15} {shown}")


def _plain(value: object) -> object:
    """JSON has no NaN."""
    return None if isinstance(value, float) and math.isnan(value) else value
