"""`hilum pipeline`: what a pipeline does, and whether it can be run here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from hilum.cli import common, options

if TYPE_CHECKING:
    from hilum.inference.pipeline import Pipeline

app = typer.Typer(help="Show, draw and check pipelines.", no_args_is_help=True)

NAME = typer.Argument("default", help="A pipeline's YAML file, or a shipped name.")


@app.command("list")
def list_(as_json: bool = options.JSON) -> None:
    """List the pipelines that come with hilum.

    Example: hilum pipeline list
    """
    from hilum.inference.pipeline import Pipeline, shipped_pipelines

    about = {name: Pipeline.load(name).about for name in shipped_pipelines()}
    if as_json:
        common.print_json(about)
        return
    for name, text in about.items():
        typer.echo(f"{name:22} {text}")


@app.command()
def show(
    name: str = NAME,
    bundle: list[str] = options.BUNDLES,
    change: list[str] = options.CHANGES,
    svg: Path | None = typer.Option(None, help="Draw it into this .svg file as well."),
    png: Path | None = typer.Option(None, help="Draw it into this .png file as well."),
    as_json: bool = options.JSON,
) -> None:
    """Show what a pipeline does: gates, models, flows, results.

    Example: hilum pipeline show pneumothorax --png pneumothorax.png
    """
    from hilum.core.files import write_bytes, write_text
    from hilum.inference import diagram

    described = _named(name, bundle, change)
    if svg is not None:
        write_text(svg, diagram.svg(described))
    if png is not None:
        write_bytes(png, diagram.png(described))
    if as_json:
        common.print_json(described.model_dump(mode="json", by_alias=True))
    else:
        typer.echo("\n".join(diagram.tree(described)))


@app.command()
def check(
    name: str = NAME,
    bundle: list[str] = options.BUNDLES,
    change: list[str] = options.CHANGES,
    as_json: bool = options.JSON,
) -> None:
    """Say what is missing or wrong: bundles, masks, scores, operating points, graphs.

    Ends with 1 if the pipeline cannot be run as it is.

    Example: hilum pipeline check pneumothorax --bundle classifier=c.zip --bundle segmenter=s.zip
    """
    from hilum.inference.examine import examine

    described = _named(name, bundle, change)
    models, problems = examine(described)
    if as_json:
        common.print_json({"pipeline": described.name, "models": models, "problems": problems})
    else:
        _tell(described, models, problems)
    if problems:
        raise typer.Exit(common.SOME_REFUSED)


def _named(name: str, bundle: list[str], change: list[str]) -> Pipeline:
    from hilum.inference.pipeline import Pipeline

    return Pipeline.load(name, change).with_named(bundle)


def _tell(described: Pipeline, models: dict[str, Any], problems: list[str]) -> None:
    for name, bundles in models.items():
        for one in bundles:
            typer.echo(
                f"{name:14} {one['name']} {one['version']}, {one['size']} px, "
                f"{one['precision']}: {', '.join(one['gives']) or 'nothing'}"
            )
    for problem in problems:
        typer.echo(f"  {problem}")
    if not problems:
        typer.echo(f"{described.name}: everything fits.")
