"""`hilum data catalog`: a data set as one file that everything accepts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from hilum.cli import options
from hilum.cli.data.sources import ledger, open_source, table_problems

if TYPE_CHECKING:
    from hilum.data import Catalog


def catalog(
    source: Path = options.SOURCE,
    out: Path = options.output("The catalog to write (Parquet)."),
    kind: str = options.KIND,
    option: list[str] = options.OPTIONS,
    split: Path | None = options.SPLIT,
    part: str = options.PART,
    known: list[str] = typer.Option(
        [], help="Only images of which this column is annotated: boxes, mask_NAME; repeatable."
    ),
    rename: list[str] = typer.Option(
        [], help="OLD=NEW: a finding (label, box, mask) under another name; repeatable."
    ),
    licence: str = typer.Option(
        "", help="The set's licence; it stands on the card of every model that learns from it."
    ),
    root: Path | None = typer.Option(None, help="Where a catalog's images lie, if moved."),
    as_json: bool = options.JSON,
) -> None:
    """Write a data set's catalog: one row an image, with labels, boxes, masks and patients.

    Every other verb, evaluation and training take it in place of the set's directory.

    Example: hilum data catalog rsna/ --kind rsna --split split.json --out rsna.parquet

    Example: hilum data catalog coco/ --kind coco --rename Pneumonia=opacity --out coco.parquet
    """
    from hilum.cli.common import print_json
    from hilum.data.split import person
    from hilum.data.tally import in_words, tally

    content = open_source(source, kind, option, split=split, root=root, part=part)
    for column in known:
        content = _annotated(content, column)
    content = _renamed(content, rename) if rename else content
    content = replace(content, licence=licence) if licence else content
    content.need_files()
    content.save(out)
    problems = table_problems(content, tell=not as_json)
    parts = {name or "no part": len(part) for name, part in content.parts()}
    patients = content.table["patient"].map(person).nunique()
    if as_json:
        summary = {"images": len(content), "patients": patients, "parts": parts}
        summary |= {"known": tally(content), "problems": problems, "out": str(out)}
        summary |= {"licence": content.licence or None}
        print_json(summary | ledger(content))
        return
    for line in in_words(content):
        typer.echo(line)
    text = ", ".join(f"{name} {count}" for name, count in parts.items())
    text = "in no part yet" if [*parts] == ["no part"] else text
    typer.echo(f"{len(content)} images of {patients} patients ({text}): {out}")
    if not content.licence:
        typer.echo("its licence is not known: --licence states it")


def _renamed(catalog: Catalog, words: list[str]) -> Catalog:
    from hilum.core.errors import ConfigError
    from hilum.data.rename import renamed

    names = dict(word.split("=", 1) for word in words if "=" in word)
    if len(names) != len(words) or not all(names.values()):
        raise ConfigError(f"--rename {' '.join(words)}: needed: OLD=NEW, each OLD once")
    return renamed(catalog, names)


def _annotated(catalog: Catalog, column: str) -> Catalog:
    from hilum.core.errors import ConfigError
    from hilum.core.options import unknown

    if column not in catalog.table:
        raise ConfigError(f"--known: {unknown('column', column, map(str, catalog.table.columns))}")
    nobody = catalog.table[column].isna().to_numpy(bool)
    return catalog.without(nobody, "not-annotated", f"images have no known {column}")
