"""`hilum export`: a finished run -> a bundle."""

from __future__ import annotations

from pathlib import Path

import typer


def export(
    run: Path = typer.Argument(help="Folder of a finished `hilum train`."),
    out: Path = typer.Option(..., "--out", "-o", help="The bundle: a new folder, or .zip."),
    data: Path | None = typer.Option(
        None, help="Where the run's data lies now, if it was moved since."
    ),
    int8: bool = typer.Option(True, help="Also write an int8 graph, calibrated on real images."),
) -> None:
    """Write the bundle of a run, check it against PyTorch, and say what int8 costs.

    Example: hilum export runs/rsna-retinanet-small --out retinanet.zip
    """
    import logging

    from hilum.core.extras import require

    require("train")
    from hilum.train.release import export as write

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    made = write(run, out, data, int8=int8)
    for name, figure in made.manifest.figures.items():
        typer.echo(f"{name}: {figure.value:.4f}")
    typer.echo(f"{made.path}  {made.name} {made.version}  sha256 {made.sha256[:16]}")
    typer.echo(f"hilum predict FILES --bundle {made.path} --out DIR")
