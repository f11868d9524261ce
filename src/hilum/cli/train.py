"""`hilum train`: a recipe and a data folder -> a run and its bundle."""

from __future__ import annotations

from pathlib import Path

import typer


def train(
    recipe: str = typer.Argument(help="A recipe's name (default) or a YAML file."),
    data: Path = typer.Option(..., envvar="HILUM_DATA", help="Folder with the training sets."),
    out: Path = typer.Option(Path("runs/default"), help="Folder of the run; rerun to go on."),
    bundle: Path = typer.Option(
        Path("runs/default/bundle"), help="Where the finished bundle goes: a new folder, or .zip."
    ),
    change: list[str] = typer.Option(
        [], "--set", help="Change a setting: stages.base.steps=20 (repeatable)."
    ),
    baselines: bool = typer.Option(True, help="Also train and measure the recipe's baselines."),
) -> None:
    """Train a recipe, measure it against its baselines and write the bundle.

    Example: hilum train default --data $HILUM_DATA --out runs/default
    """
    import logging

    from hilum.core.extras import require

    require("train")
    from hilum.train.build import build
    from hilum.train.recipe import load_recipe

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    found = build(load_recipe(recipe, tuple(change)), data, out, bundle, baselines=baselines)
    typer.echo(f"{found.path}  {found.name} {found.version}  sha256 {found.sha256[:16]}")
