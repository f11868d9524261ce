"""`hilum data convert`: annotations of any set in the form another tool reads."""

from __future__ import annotations

from pathlib import Path

import typer

SOURCE = typer.Argument(..., help="A catalog (Parquet), or a set's directory with --set.")
OUT = typer.Option(..., "--out", help="Folder to write into; must be new or empty.")


def convert(
    source: Path = SOURCE,
    out: Path = OUT,
    to: str = typer.Option(..., help="coco, voc, yolo, yolo-segments, masks, rle."),
    set_name: str = typer.Option("", "--set", help="Kind of set: rsna, siim-covid, coco, …"),
    mask: str = typer.Option("", help="Which mask, for yolo-segments, masks and rle."),
) -> None:
    """Write a data set's annotations as COCO, VOC, YOLO, mask PNGs or run lengths.

    Example: hilum data convert rsna/ --set rsna --to coco --out rsna-coco
    """
    from hilum.data.catalog import open_catalog
    from hilum.data.convert import convert as write
    from hilum.data.registry import load

    catalog = load(set_name, source) if set_name else open_catalog(source)
    done = write(catalog, to, out, mask)
    typer.echo(f"{done.images} images in {out}; {done.left_out} without annotation left out")
