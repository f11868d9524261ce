"""`hilum data convert`: annotations in the form another tool reads; radiographs as PNG or WebP."""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import typer

from hilum.cli import common, options
from hilum.cli.data.sources import ledger, open_source, table_problems

if TYPE_CHECKING:
    from hilum.data import Catalog
    from hilum.data.enrich import Enrichment
    from hilum.data.images import ImageFormat


class MasksFrom(StrEnum):
    """What masks are made of."""

    MASKS = "masks"
    BOXES = "boxes"


def convert(
    source: Path = options.SOURCE,
    out: Path = options.output("Folder to write into; new, empty, or of a run to go on."),
    to: str = typer.Option(
        ...,
        help="Images: png, webp. Annotations: coco, voc, yolo, coco-segments, yolo-segments, "
        "masks, rle.",
    ),
    kind: str = options.KIND,
    option: list[str] = options.OPTIONS,
    size: int = typer.Option(0, min=0, help="Images: px of the longer side; 0 keeps it."),
    bits: int = typer.Option(8, help="Images: grey depth, 8 or (PNG) 16."),
    window: tuple[float, float] | None = options.WINDOW,
    workers: int = options.READERS,
    mask: str = typer.Option("", help="Which mask, for the segments, masks and rle."),
    masks_from: MasksFrom = typer.Option(
        MasksFrom.MASKS, "--from", help="Boxes: filled, those of label --mask or all."
    ),
    split: Path | None = options.SPLIT,
    part: str = options.PART,
    enrich: str = typer.Option(
        "", help="Images: add augmented copies by this policy to the training part."
    ),
    label: str = typer.Option("", help="--enrich: make positives and negatives of it equal."),
    seed: int = options.SEED,
    as_json: bool = options.JSON,
) -> None:
    """Write a data set's radiographs as PNG or WebP, or its annotations for another tool.

    Images come with catalog.parquet beside them: boxes, masks and spacing scaled along, the
    scales stored. A rerun goes on. Files that cannot be read are listed in left_out.csv, and the
    exit code is then 1.

    Example: hilum data convert rsna/ --kind rsna --to png --size 512 --out rsna-512

    --enrich POLICY makes (negatives - positives) / augmentations copies by each augmentation of
    the policy, of training images only; boxes and masks move along.

    Example: hilum data convert rsna/ --kind rsna --to coco --out rsna-coco

    Example: hilum data convert rsna/ --kind rsna --to masks --from boxes --out rsna-masks

    Example: hilum data convert siim/ --kind siim-acr --split split.json --to png --size 512
    --enrich pneumothorax --label pneumothorax --out siim-512
    """
    from hilum.core.errors import ConfigError
    from hilum.data.enrich import Enrichment
    from hilum.data.images import FORMS, ImageFormat

    boxes = masks_from is MasksFrom.BOXES
    if bool(enrich) != bool(label):
        raise ConfigError("--enrich POLICY and --label NAME belong together")
    if to in FORMS and boxes:
        raise ConfigError(f"--from boxes belongs to masks, rle and the segments, not to {to}")
    if to not in FORMS and (size or bits != 8 or window or enrich):
        raise ConfigError(
            f"--size, --bits, --window and --enrich belong to {' and '.join(FORMS)}, not to {to}"
        )
    form = ImageFormat(to, bits, size, window) if to in FORMS else None
    more = Enrichment(enrich, label, seed) if enrich else None
    catalog = open_source(source, kind, option, split, part=part)
    problems = table_problems(catalog, tell=not as_json)
    if form is None:
        written = _annotations(catalog, to, out, mask=mask, from_boxes=boxes)
    else:
        written = _images(catalog, form, out, more=more, workers=workers)
    if as_json:
        common.print_json(written.counts | {"problems": problems} | ledger(written.catalog))
    else:
        typer.echo(f"{written.counts['images']} images in {out}; {written.text}")
    if written.refused:
        raise typer.Exit(common.SOME_REFUSED)


class _Written(NamedTuple):
    catalog: Catalog
    counts: dict[str, int]
    text: str  # what was left out
    refused: int  # files that cannot be read


def _annotations(
    catalog: Catalog, form: str, out: Path, *, mask: str, from_boxes: bool
) -> _Written:
    from hilum.data.convert import convert as write

    with common.progress("writing"):
        written = write(catalog, form, out, mask, from_boxes=from_boxes)
    return _Written(
        catalog=catalog,
        counts=asdict(written),
        text=f"left out: {written.left_out} without annotation, "
        f"{written.without_file} without file",
        refused=0,
    )


def _images(
    catalog: Catalog, wanted: ImageFormat, out: Path, *, more: Enrichment | None, workers: int
) -> _Written:
    from hilum.data.export import LEFT_OUT, export

    workers = workers or common.cores()
    with common.progress("writing", len(catalog)) as advance:
        done = export(catalog, wanted, out, enrichment=more, workers=workers, advance=advance)
    refused = len(done.left_out)
    counts = {"images": done.images, "left_out": refused}
    text = f"{refused} left out" + (f", see {out / LEFT_OUT}" if refused else "")
    if more:
        counts["augmented_copies"] = done.copies
        text += f"; {done.copies} augmented copies added"
    return _Written(catalog=done.catalog, counts=counts, text=text, refused=refused)
