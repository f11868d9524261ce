"""`hilum data phantom`: made-up radiographs with exact truth."""

from __future__ import annotations

from pathlib import Path

import typer

from hilum.cli import options


def phantom(
    out: Path = options.output("Folder to write into; must be new or empty."),
    count: int = typer.Option(4, min=1, help="How many."),
    seed: int = typer.Option(0, min=0, help="Seed of the first; the next ones count up."),
    format: str = typer.Option("dicom", help="dicom or png."),
    syntax: str = typer.Option("explicit-little", help="Transfer syntax, e.g. jpeg-2000."),
    bits: int = typer.Option(12, min=8, max=16, help="Grey depth (PNG: 8 or 16)."),
    photometric: str = typer.Option("MONOCHROME2", help="MONOCHROME1 or MONOCHROME2."),
    size: str = typer.Option("1024x1024", help="WIDTHxHEIGHT in pixels."),
    opacities: int = typer.Option(2, min=0, max=6, help="Opacities in each image."),
    pneumothorax: bool = typer.Option(False, help="Air beside one lung."),
    sop_class: str = typer.Option("CR", help="CR or DX."),
    as_json: bool = options.JSON,
) -> None:
    """Write made-up chest radiographs, their masks and truth.json.

    For tests and load, never for figures about accuracy.

    Example: hilum data phantom --out phantoms --count 3 --syntax jpeg-2000 --size 2048x2500
    """
    from hilum.cli.common import print_json, tracked
    from hilum.data.phantom.sets import PhantomSet

    wanted = PhantomSet.parse(
        size=size,
        format=format,
        syntax=syntax,
        bits=bits,
        photometric=photometric,
        opacities=opacities,
        pneumothorax=pneumothorax,
        sop_class=sop_class,
    )
    steps = wanted.write(out, range(seed, seed + count))
    for _ in tracked(steps, "phantoms", count):
        pass
    if as_json:
        print_json({"images": count, "out": str(out), "truth": str(out / "truth.json")})
    else:
        typer.echo(f"{count} phantoms in {out}, truth in {out / 'truth.json'}")
