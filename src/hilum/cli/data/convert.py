"""`hilum data convert`: annotations in the form another tool reads; radiographs as PNG or WebP."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

import typer

from hilum.cli.data.sources import OPTIONS, PART, SET_NAME, SOURCE, SPLIT, ledger, open_source


class MasksFrom(StrEnum):
    """What masks are made of."""

    MASKS = "masks"
    BOXES = "boxes"


OUT = typer.Option(..., "--out", help="Folder to write into; new, empty, or of a run to go on.")


def convert(
    source: Path = SOURCE,
    out: Path = OUT,
    to: str = typer.Option(
        ...,
        help="Pictures: png, webp. Annotations: coco, voc, yolo, coco-segments, yolo-segments, "
        "masks, rle.",
    ),
    set_name: str = SET_NAME,
    options: list[str] = OPTIONS,
    size: int = typer.Option(0, min=0, help="Pictures: px of the longer side; 0 keeps it."),
    bits: int = typer.Option(8, help="Pictures: grey depth, 8 or (PNG) 16."),
    window: tuple[float, float] | None = typer.Option(
        None, help="Pictures: centre and width for reading, instead of each file's own window."
    ),
    workers: int = typer.Option(0, min=0, help="Pictures: files at once; 0: one a core."),
    mask: str = typer.Option("", help="Which mask, for the segments, masks and rle."),
    masks_from: MasksFrom = typer.Option(
        MasksFrom.MASKS, "--from", help="Boxes: filled, those of label --mask or all."
    ),
    split: Path | None = SPLIT,
    part: str = PART,
    enrich: str = typer.Option(
        "", help="Pictures: add augmented copies by this policy to the training part."
    ),
    label: str = typer.Option("", help="--enrich: make positives and negatives of it equal."),
    seed: int = typer.Option(0, min=0, help="--enrich: the same seed makes the same copies."),
    as_json: bool = typer.Option(False, "--json", help="Counts as JSON on stdout."),
) -> None:
    """Write a data set's radiographs as PNG or WebP, or its annotations for another tool.

    Pictures come with catalog.parquet beside them: boxes, masks and spacing scaled along, the
    scales stored. A rerun goes on. Files that cannot be read are listed in left_out.csv, and the
    exit code is then 1.

    Example: hilum data convert rsna/ --set rsna --to png --size 512 --out rsna-512

    --enrich POLICY makes (negatives - positives) / augmentations copies by each augmentation of
    the policy, of training images only; boxes and masks move along.

    Example: hilum data convert rsna/ --set rsna --to coco --out rsna-coco

    Example: hilum data convert rsna/ --set rsna --to masks --from boxes --out rsna-masks

    Example: hilum data convert siim/ --set siim-acr --split split.json --to png --size 512
    --enrich pneumothorax --label pneumothorax --out siim-512
    """
    from hilum.cli import common
    from hilum.core.errors import ConfigError
    from hilum.data.convert import convert as write
    from hilum.data.enrich import Enrichment
    from hilum.data.export import LEFT_OUT, export
    from hilum.data.images import FORMS, Pictures

    boxes = masks_from is MasksFrom.BOXES
    if bool(enrich) != bool(label):
        raise ConfigError("--enrich POLICY and --label NAME belong together")
    if to in FORMS and boxes:
        raise ConfigError(f"--from boxes belongs to masks, rle and the segments, not to {to}")
    if to not in FORMS and (size or bits != 8 or window or enrich):
        raise ConfigError(
            f"--size, --bits, --window and --enrich belong to {' and '.join(FORMS)}, not to {to}"
        )
    wanted = Pictures(to, bits, size, window) if to in FORMS else None
    more = Enrichment(enrich, label, seed) if enrich else None
    catalog = open_source(source, set_name, options, split, part=part)
    if wanted is None:
        with common.progress("writing"):
            written = write(catalog, to, out, mask, from_boxes=boxes)
        counts = {"images": written.images, "left_out": written.left_out}
        text, refused = f"{written.left_out} without annotation left out", 0
    else:
        with common.progress("writing", len(catalog)) as advance:
            exported = export(
                catalog,
                wanted,
                out,
                enrichment=more,
                workers=workers or common.cores(),
                advance=advance,
            )
        catalog, refused = exported.catalog, len(exported.left_out)
        counts = {"images": exported.images, "left_out": refused}
        text = f"{refused} left out" + (f", see {out / LEFT_OUT}" if refused else "")
        if more:
            counts["augmented_copies"] = exported.copies
            text += f"; {exported.copies} augmented copies added"
    if as_json:
        common.print_json(counts | ledger(catalog))
    else:
        typer.echo(f"{counts['images']} images in {out}; {text}")
    if refused:
        raise typer.Exit(common.SOME_REFUSED)
