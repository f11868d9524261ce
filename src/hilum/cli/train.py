"""`hilum train`: a recipe and its data -> a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from hilum.cli import common, options

if TYPE_CHECKING:
    from hilum.train.recipe import Recipe


def train(
    recipe: str = typer.Argument(help="A recipe's name (default) or a YAML file."),
    data: Path = options.DATA,
    out: Path | None = typer.Option(
        None, "--out", "-o", help="Folder of the run (runs/RECIPE); a run there goes on."
    ),
    split: Path | None = typer.Option(
        None,
        help="A file of `hilum data split`, or a run's split.json; else the catalog's column "
        "`split`, or the recipe's own.",
    ),
    resume: bool = typer.Option(False, "--resume", help="Fail if there is no run to go on with."),
    workers: int | None = typer.Option(
        None, min=1, help="Processes that share every batch, on Ray; else one, without it."
    ),
    address: str | None = typer.Option(
        None, help="A Ray cluster, of which all nodes see --data and --out; else Ray starts here."
    ),
    change: list[str] = options.RECIPE_CHANGES,
    as_json: bool = options.JSON,
) -> None:
    """Train a recipe. A killed run goes on where it was when the same command is given again.

    Example: hilum train rsna-yolo-small --data $HILUM_DATA --set train.epochs=3 --out runs/a
    """
    from hilum.core.errors import ConfigError
    from hilum.core.extras import require

    require("train")
    from hilum.train.folder import RunFolder
    from hilum.train.recipe import load_recipe

    common.log()
    chosen = load_recipe(recipe, tuple(change))
    folder = out or Path("runs") / chosen.name
    if resume and not (folder / "recipe.yaml").is_file():
        raise ConfigError(f"--resume: {folder} holds no run; leave --resume out to begin one")
    if workers is None and address is not None:
        raise ConfigError("--address: needed: --workers, how many processes train there")
    if workers is None:
        from hilum.train.run import run

        run(chosen, data, folder, split=split)
    else:
        _on_ray(chosen, data, folder, workers=workers, split=split, address=address)
    if as_json:
        common.print_json({"run": str(folder), "results": RunFolder(folder, chosen).results})
    else:
        typer.echo(f"{folder}/index.html shows it; hilum export {folder} --out NAME.zip")


def _on_ray(
    recipe: Recipe, data: Path, out: Path, workers: int, split: Path | None, address: str | None
) -> None:
    from hilum.scale.cluster import ready

    ready(address)
    from hilum.scale.training import train

    whole = None if split is None else split.resolve()
    train(recipe, data.resolve(), out.resolve(), workers=workers, split=whole, address=address)
