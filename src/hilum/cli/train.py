"""`hilum train`: a recipe and its data -> a run."""

from __future__ import annotations

from pathlib import Path

import typer


def train(
    recipe: str = typer.Argument(help="A recipe's name (default) or a YAML file."),
    data: Path = typer.Option(
        ..., envvar="HILUM_DATA", help="Folder with the training sets, or a catalog (.parquet)."
    ),
    out: Path | None = typer.Option(
        None, "--out", "-o", help="Folder of the run (runs/RECIPE); a run there goes on."
    ),
    split: Path | None = typer.Option(
        None,
        help="A file of `hilum data split`, or a run's split.json; else the catalog's column "
        "`split`, or the recipe's own.",
    ),
    resume: bool = typer.Option(False, "--resume", help="Fail if there is no run to go on with."),
    change: list[str] = typer.Option(
        [], "--set", help="Change a setting: stages.base.steps=20 (repeatable)."
    ),
) -> None:
    """Train a recipe. A killed run goes on where it was when the same command is given again.

    Example: hilum train rsna-yolo-small --data $HILUM_DATA --set train.epochs=3 --out runs/a
    """
    import logging

    from hilum.core.errors import ConfigError
    from hilum.core.extras import require

    require("train")
    from hilum.train.recipe import load_recipe
    from hilum.train.run import run

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    chosen = load_recipe(recipe, tuple(change))
    folder = out or Path("runs") / chosen.name
    if resume and not (folder / "recipe.yaml").is_file():
        raise ConfigError(f"--resume: {folder} holds no run; leave --resume out to begin one")
    run(chosen, data, folder, split=split)
    typer.echo(f"{folder}/index.html shows it; hilum export {folder} --out NAME.zip")
