"""`hilum export`: a finished run -> a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from hilum.cli import common, options

if TYPE_CHECKING:
    from hilum.core.bundle import Bundle


def export(
    run: Path = typer.Argument(help="Folder of a finished `hilum train`."),
    out: Path = options.output("The bundle: a new folder, or .zip."),
    data: Path | None = typer.Option(
        None, help="Where the run's data lies now, if it was moved since."
    ),
    epoch: int | None = typer.Option(None, min=1, help="A kept epoch instead of the run's choice."),
    best: int = typer.Option(
        0, min=0, help="So many of the best kept epochs instead, each a bundle in the folder --out."
    ),
    size: int | None = typer.Option(
        None, help="Px of the square that the bundle sees; the run's size if left out."
    ),
    nms_iou: float | None = typer.Option(None, help="Overlap from which the lower box goes."),
    score_floor: float | None = typer.Option(None, help="Boxes below it are never given."),
    fp32: bool = typer.Option(
        True, help="Also write the fp32 graph, which training can begin from."
    ),
    int8: bool = typer.Option(True, help="Also write an int8 graph, calibrated on real images."),
    precision: str | None = typer.Option(
        None, help="What runs where nobody asks for one: fp32 (default) or int8."
    ),
    sweep: Path | None = typer.Option(None, help="A `hilum sweep` whose table goes on the card."),
    beside: Path | None = typer.Option(
        None, help="Another bundle, evaluated on the same held-out images for the card."
    ),
    as_json: bool = options.JSON,
) -> None:
    """Write the bundle of a run, check it against PyTorch, and say what int8 costs.

    Example: hilum export runs/rsna-retinanet-small --epoch 13 --size 1024 --out retinanet.zip

    Example: hilum export runs/rsna-retinanet-small --best 4 --out bundles
    """
    from hilum.core.extras import require

    require("train")
    from hilum.core.errors import ConfigError
    from hilum.train.export.bundle import Choice, export_best
    from hilum.train.export.bundle import export as write

    if best and epoch is not None:
        raise ConfigError("--best and --epoch are given; needed: one of them")

    common.log()
    choice = Choice(
        epoch=epoch,
        size=size,
        nms_iou=nms_iou,
        score_floor=score_floor,
        fp32=fp32,
        int8=int8,
        precision=precision,
        sweep=sweep,
        beside=beside,
    )
    if best:
        bundles = export_best(run, out, count=best, data=data, choice=choice)
    else:
        bundles = [write(run, out, data, choice)]
    if as_json:
        common.print_json([_entry(bundle) for bundle in bundles])
        return
    for bundle in bundles:
        for name, figure in bundle.manifest.figures.items():
            typer.echo(f"{name}: {figure.value:.4f}")
        typer.echo(f"{bundle.path}  {bundle.name} {bundle.version}  sha256 {bundle.sha256[:16]}")
    typer.echo(f"hilum predict FILES --bundle {bundles[0].path} --out DIR")


def _entry(bundle: Bundle) -> dict[str, Any]:
    figures = {name: one.model_dump() for name, one in bundle.manifest.figures.items()}
    named = {"name": bundle.name, "version": bundle.version, "sha256": bundle.sha256}
    return {"path": str(bundle.path), **named, "figures": figures}
