"""`hilum pipeline`: what a pipeline does, and whether it can be run here."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from hilum.cli import common, options

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from hilum.inference.pipeline import Pipeline

app = typer.Typer(help="Show, draw, check and tune pipelines.", no_args_is_help=True)

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
    with common.progress("opening bundles"):
        models, problems = examine(described)
    if as_json:
        common.print_json({"pipeline": described.name, "models": models, "problems": problems})
    else:
        _tell(described, models, problems)
    if problems:
        raise typer.Exit(common.SOME_REFUSED)


@app.command()
def tune(
    name: str = NAME,
    bundle: list[str] = options.BUNDLES,
    change: list[str] = options.CHANGES,
    catalog: Path = typer.Option(..., help="A catalog (Parquet) with true masks."),
    part: str = options.PART,
    try_: list[str] = typer.Option(
        [],
        "--try",
        help="Values of a number of the text: masks.lungs.1.at=[0.3, 0.4]; repeatable, all "
        "combinations are tried. Left out: usual values of every threshold, triplet and size of "
        "the mask's flow.",
    ),
    finding: str = typer.Option("", help="Which mask; else the pipeline's only one."),
    metric: str = typer.Option(
        "dice", help="Mean over images of dice, iou, f2_mask; dice_positive: those with a finding."
    ),
    folds: int = typer.Option(5, min=2, help="Folds of the patients."),
    out: Path = typer.Option(
        ..., "--out", "-o", help="The pipeline's text (.yaml) with the best values and its bundles."
    ),
    as_json: bool = options.JSON,
) -> None:
    """Choose numbers of a pipeline's masks (cut, triplet, size, gate) on validation images.

    Name a --part that no bundle learnt from, and never the test. Networks are asked once an image;
    beside --out, NAME.search.json says what was tried.

    Example: hilum pipeline tune pneumothorax --bundle classifier=c.zip --bundle segmenter=s.zip
    --catalog set.parquet --part validation --out tuned.yaml
    """
    from hilum.core.extras import require

    require("eval")
    from hilum.core.files import write_text
    from hilum.data.catalog import open_catalog
    from hilum.data.pixels import reference_bytes
    from hilum.dicom.stored import open_stored
    from hilum.evaluate.thresholds.mask_search import combinations, searched
    from hilum.inference.pipeline import Pipeline
    from hilum.inference.tuning import cores
    from hilum.inference.variants import Variants

    described = _named(name, bundle, change)
    mask = _mask(described, finding)
    grid = _grid(described, mask, try_)
    whole = open_catalog(catalog)
    images = whole.where(whole.in_part(part))

    def text(options: Mapping[str, Any]) -> Pipeline:
        given = [f"{key}={json.dumps(value)}" for key, value in options.items()]
        return Pipeline.load(name, [*change, *given]).with_named(bundle)

    variants = Variants([text(options) for options in combinations(grid)], threads=cores())

    def masks(path: str) -> Iterator[NDArray[np.bool_]]:
        stored = open_stored((path, reference_bytes(images.root, path)))
        return (one.masks[mask] for one in variants(stored))

    with common.progress("searching", len(images)) as advance:
        best, document = searched(
            images,
            masks,
            grid,
            finding=mask,
            metric=metric,
            folds=folds,
            advance=advance,
        )
    chosen = text(best.options)
    words = ", ".join(f"{key}={value}" for key, value in best.options.items())
    where = f"{images.name}{part and ', part '}{part}, {document['images']} images"
    about = f"{chosen.about} Chosen by {metric} on {where}: {words}.".strip()
    write_text(out, chosen.model_copy(update={"about": about}).to_yaml(out.parent))
    write_text(out.with_suffix(".search.json"), json.dumps(document, indent=1) + "\n")
    if as_json:
        common.print_json(document)
        return
    for image, why in document["refused"].items():
        typer.echo(f"left out: {image}: {why}")
    known = f"{document['images']} images, {document['with_finding']} with {mask}"
    typer.echo(f"{known}, {len(best.tried)} combinations")
    common.tell_search(document)
    typer.echo(f"written: {out}")


def _mask(described: Pipeline, finding: str) -> str:
    """The mask that is asked for, or the only one."""
    from hilum.core.errors import ConfigError
    from hilum.core.options import unknown

    if finding or len(described.masks) != 1:
        if finding in described.masks:
            return finding
        raise ConfigError(f"pipeline {described.name}: {unknown('mask', finding, described.masks)}")
    return next(iter(described.masks))


def _grid(described: Pipeline, mask: str, given: list[str]) -> dict[str, Sequence[Any]]:
    """The values to try, by their place in the text."""
    from hilum.core.errors import ConfigError
    from hilum.core.options import assignment
    from hilum.evaluate.thresholds.mask_search import GRIDS

    grid = dict(assignment(pair, "--try") for pair in given) or {
        f"masks.{mask}.{place}.{option}": values
        for place, stage in enumerate(described.masks[mask])
        for option, values in GRIDS.get(stage.use, {}).items()
    }
    for key, values in grid.items():
        if not key.startswith(("masks.", "models.")) or not isinstance(values, (list, tuple)):
            raise ConfigError(
                f"--try {key}={values!r}; needed: a list of values of a mask's flow or of a model, "
                "such as masks.lungs.1.at=[0.3, 0.4]"
            )
    return grid


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
