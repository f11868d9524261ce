"""`hilum train`: a recipe and a data folder -> a run and its bundle."""

from __future__ import annotations

from pathlib import Path

import typer


def train(
    recipe: str = typer.Argument(help="A recipe's name (default) or a YAML file."),
    data: Path = typer.Option(..., envvar="HILUM_DATA", help="Folder with the training sets."),
    out: Path | None = typer.Option(
        None, "--out", "-o", help="Folder of the run (runs/RECIPE); a run there goes on."
    ),
    bundle: Path | None = typer.Option(
        None, help="For `default`: where its bundle goes (OUT/bundle): a new folder, or .zip."
    ),
    split: Path | None = typer.Option(
        None, help="A file of `hilum data split`; else the recipe's own split."
    ),
    resume: bool = typer.Option(False, "--resume", help="Fail if there is no run to go on with."),
    change: list[str] = typer.Option(
        [], "--set", help="Change a setting: stages.base.steps=20 (repeatable)."
    ),
    baselines: bool = typer.Option(
        True, help="For `default`: also train and measure its baselines."
    ),
) -> None:
    """Train a recipe. A killed run goes on where it was when the same command is given again.

    Example: hilum train rsna-yolo-small --data $HILUM_DATA --set train.epochs=3 --out runs/a
    """
    import logging

    from hilum.core.errors import ConfigError
    from hilum.core.extras import require

    require("train")
    from hilum.train.build import build
    from hilum.train.recipe import load_recipe
    from hilum.train.run import run

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    chosen = load_recipe(recipe, tuple(change))
    folder = out or Path("runs") / chosen.name
    if resume and not (folder / "recipe.yaml").is_file():
        raise ConfigError(f"--resume: {folder} holds no run; leave --resume out to begin one")
    if chosen.data is not None:
        run(chosen, data, folder, split=split)
        typer.echo(f"{folder}/index.html shows it; hilum export {folder} --out NAME.zip")
        return
    target = bundle or folder / "bundle"
    found = build(chosen, data, folder, target, baselines=baselines)
    typer.echo(f"{found.path}  {found.name} {found.version}  sha256 {found.sha256[:16]}")
