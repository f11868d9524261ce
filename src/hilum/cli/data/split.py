"""`hilum data split`: parts by patient, written down and proved."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from hilum.cli import options
from hilum.cli.data.sources import ledger, open_source

if TYPE_CHECKING:
    from hilum.data import Catalog


def split(
    source: Path = options.SOURCE,
    out: Path = options.output("JSON file to write; never overwritten."),
    kind: str = options.KIND,
    option: list[str] = options.OPTIONS,
    fractions: str = typer.Option("0.8,0.1,0.1", help="Shares of train(, validation), test."),
    folds: int = typer.Option(0, min=0, help="So many folds instead of a hold-out."),
    seed: int = options.SEED,
    stratify: str = typer.Option(
        "", help="Beside the labels, which are balanced anyway: age, sex, view."
    ),
    sample: int = typer.Option(0, min=0, help="Only about so many images, classes in balance."),
    compare: bool = typer.Option(True, help="Read every image: duplicates stay together."),
    workers: int = options.READERS,
    as_json: bool = options.JSON,
) -> None:
    """Split a data set by patient; refuses to tear a patient apart or to overwrite.

    Run again, it goes on with the comparison of images. Exit code 1 where a file could not
    be read: it is in no part.

    Example: hilum data split rsna/ --kind rsna --out split.json --folds 5 --stratify age,sex
    """
    from hilum.cli import common
    from hilum.data import split as splitting
    from hilum.data.duplicates import compared

    splitting.need_new(out)  # before minutes of reading
    catalog = splitting.known(open_source(source, kind, option))
    without = 0
    if sample:
        without = len(catalog) - len(catalog.with_files())
        catalog = splitting.sample(catalog, sample, seed)
    memory = out.with_name(f".{out.stem}.contents.jsonl")  # of a run that is broken off
    shares, strata = common.numbers(fractions, "--fractions"), common.words(stratify)
    keys, left = None, list[str]()
    if compare and (catalog.table["path"] != "").any():
        with common.progress("comparing images", len(catalog)) as advance:
            catalog, keys, left = compared(catalog, memory, workers or common.cores(), advance)
    parts = (
        splitting.folds(catalog, folds, seed, stratify=strata, contents=keys)
        if folds
        else splitting.hold_out(catalog, shares, seed, stratify=strata, contents=keys)
    )
    parts.save(out)
    memory.unlink(missing_ok=True)
    proof = parts.proof(catalog)
    if as_json:
        common.print_json(proof | {"left_out": left, "without_file": without} | ledger(catalog))
    else:
        for path in left:
            typer.echo(f"cannot be read, in no part: {path}")
        if without:
            typer.echo(f"{without} images without a file are not drawn from.")
        withheld = catalog.skips.get("withheld", 0)
        if withheld:
            typer.echo(f"{withheld} test images without truth are in no part.")
        _tell(proof, dict(parts.apply(catalog).parts()))
        typer.echo(f"Written: {out}")
    if left:
        raise typer.Exit(common.SOME_REFUSED)


def _tell(proof: dict[str, Any], own: dict[str, Catalog]) -> None:
    from hilum.data.tally import in_words

    for part, images in proof["images"].items():
        known = "; ".join(in_words(own[part]))
        text = f"{part}: {images} images, {proof['patients'][part]} patients"
        typer.echo(f"{text}; {known}" if known else text)
    count, same = proof["images_compared"], proof["images_that_stand_twice"]
    compared = f"none of {count} compared ({same} stand twice)" if count else "not compared"
    typer.echo(f"Patients in two parts: {sum(proof['patients_in_both'].values()) or 'none'}.")
    typer.echo(f"Duplicates in two parts: {compared}.")
