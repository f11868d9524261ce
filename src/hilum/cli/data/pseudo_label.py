"""`hilum data pseudo-label`: a model's sure answers as annotations of images that have none."""

from __future__ import annotations

from pathlib import Path

import typer

from hilum.cli import options
from hilum.cli.data.sources import ledger, open_source


def pseudo_label(
    source: Path = options.SOURCE,
    predictions: Path = typer.Argument(..., help="findings.json of these images."),
    out: Path = options.output("The catalog to write (Parquet)."),
    kind: str = options.KIND,
    option: list[str] = options.OPTIONS,
    finding: str = options.FINDING,
    present: float = typer.Option(0.8, help="Image score from which on the finding is there."),
    absent: float = typer.Option(0.05, help="Image score up to which it is not."),
    box: float = typer.Option(0.3, help="Score of a box from which on it is taken."),
    as_json: bool = options.JSON,
) -> None:
    """Annotate unannotated images by a model's sure answers, to train on (self-training).

    Never evaluate on them. Predict with a threshold of at most --box. Images of which the model is
    not sure are left out and counted; what readers annotated stays.

    Example: hilum data pseudo-label new.parquet predicted/findings.json --out pseudo.parquet
    """
    from hilum.cli.common import print_json, progress
    from hilum.core.extras import require

    require("eval")
    from hilum.evaluate.prediction_files import read_predictions
    from hilum.evaluate.pseudo_labels import Sure, pseudo_labelled

    sure = Sure(present=present, absent=absent, box=box)
    catalog = open_source(source, kind, option)
    with progress("labelling"):
        made = pseudo_labelled(catalog, read_predictions(predictions), finding, sure)
        made.need_files()
        made.save(out)
    if as_json:
        print_json({"images": len(made), "out": str(out)} | ledger(made))
        return
    for note in made.notes[len(catalog.notes) :]:
        typer.echo(f"note: {note}", err=True)
    typer.echo(f"{len(made)} images: {out}")
