"""`hilum data preview`: what a recipe's augmentation makes of its images."""

from __future__ import annotations

from pathlib import Path

import typer

from hilum.cli import options


def preview(
    recipe: str = typer.Argument(help="A recipe's name, or a YAML file."),
    data: Path = options.DATA,
    out: Path = typer.Option(Path("preview.png"), "--out", "-o", help="The picture."),
    images: int = typer.Option(4, min=1, help="Rows: one image each."),
    samples: int = typer.Option(5, min=1, help="Augmented copies of each image."),
    seed: int = options.SEED,
    change: list[str] = options.RECIPE_CHANGES,
    as_json: bool = options.JSON,
) -> None:
    """Draw images as prepared and as augmented, with their boxes and masks.

    Example: hilum data preview default --set augment=covid/yolo --data $HILUM_DATA --out sheet.png
    """
    from hilum.cli import common
    from hilum.core.extras import require
    from hilum.core.files import write_bytes

    require("train")
    from hilum.train import preview as drawing
    from hilum.train.recipe import load_recipe

    chosen = load_recipe(recipe, tuple(change))
    with common.progress("reading and drawing"):
        sheet = drawing.preview(chosen, data, images=images, samples=samples, seed=seed)
    write_bytes(out, sheet.png)
    summary = {
        "out": str(out),
        "augment": chosen.augment,
        "images": sheet.images,
        "boxes": sheet.boxes,
    }
    if as_json:
        common.print_json(summary)
    else:
        typer.echo(f"{sheet.images} images, {samples} samples each by {chosen.augment!r}: {out}")
