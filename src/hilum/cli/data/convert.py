"""`hilum data convert`: annotations in the form another tool reads; radiographs as PNG or WebP."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from hilum.cli.data.sources import OPTIONS, PART, SET_NAME, SOURCE, SPLIT, ledger, open_source

if TYPE_CHECKING:
    from hilum.data import Catalog
    from hilum.data.enrich import Enrichment
    from hilum.data.images import Pictures

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
    source_of_masks: str = typer.Option(
        "masks", "--from", help="masks, or boxes: filled, those of label --mask or all."
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
    from hilum.cli.common import SOME_REFUSED, print_json
    from hilum.core.errors import ConfigError
    from hilum.data.convert import convert as write
    from hilum.data.enrich import Enrichment
    from hilum.data.images import FORMS, Pictures

    if bool(enrich) != bool(label):
        raise ConfigError("--enrich POLICY and --label NAME belong together")
    counts: dict[str, Any]
    if source_of_masks not in ("masks", "boxes"):
        raise ConfigError(f"--from {source_of_masks}; known: masks, boxes")
    if to in FORMS:
        if source_of_masks == "boxes":
            raise ConfigError(f"--from boxes belongs to masks, rle and the segments, not to {to}")
        wanted = Pictures(to, bits, size, window)
        more = Enrichment(enrich, label, seed) if enrich else None
        catalog = open_source(source, set_name, options, split, part=part)
        result, refused = _pictures(catalog, wanted, more, out, workers, as_json)
        added = int((result.table["copy_of"] != "").sum()) if more else 0
        written = len(result) - added
        counts = {"images": written, "left_out": refused}
        text = f"{written} images in {out}; {refused} left out" + (
            f", see {out / 'left_out.csv'}" if refused else ""
        )
        if more:
            counts["augmented_copies"] = added
            text += f"; {added} augmented copies added"
    else:
        if size or bits != 8 or window or enrich:
            raise ConfigError(
                "--size, --bits, --window and --enrich belong to "
                f"{' and '.join(FORMS)}, not to {to}"
            )
        result = open_source(source, set_name, options, split, part=part)
        export = write(result, to, out, mask, from_boxes=source_of_masks == "boxes")
        refused = 0
        counts = {"images": export.images, "left_out": export.left_out}
        text = f"{export.images} images in {out}; {export.left_out} without annotation left out"
    if as_json:
        print_json(counts | ledger(result))
    else:
        typer.echo(text)
    if refused:
        raise typer.Exit(SOME_REFUSED)


def _pictures(
    catalog: Catalog,
    wanted: Pictures,
    more: Enrichment | None,
    out: Path,
    workers: int,
    quiet: bool,
) -> tuple[Catalog, int]:
    """The catalog of what was written, augmented copies at its end, and how many could not be."""
    from rich.progress import Progress, track

    from hilum.cli.common import cores
    from hilum.core.files import write_text
    from hilum.data.enrich import enrich
    from hilum.data.images import CATALOG, finish, write_pictures

    if more:
        more.check(catalog)  # before hours of writing
    total = int((catalog.table["path"] != "").sum())
    steps = write_pictures(catalog, wanted, out, workers or cores())
    facts = list(track(steps, "Writing", total=total, transient=True, disable=quiet))
    copies, left = finish(catalog, facts, out)
    write_text(out / "left_out.csv", left.to_csv(index=False))
    if more:
        with Progress(transient=True, disable=quiet) as progress:
            progress.add_task("Enriching", total=None)
            copies = enrich(copies, more, wanted, workers or cores())
    copies.save(out / CATALOG)
    return copies, len(left)
