"""`hilum data split`: parts by patient, written down and proved."""

from __future__ import annotations

from pathlib import Path

import typer

from hilum.cli.data.sources import OPTIONS, SET_NAME, SOURCE, ledger, open_source

OUT = typer.Option(..., "--out", help="JSON file to write; never overwritten.")


def split(
    source: Path = SOURCE,
    out: Path = OUT,
    set_name: str = SET_NAME,
    options: list[str] = OPTIONS,
    fractions: str = typer.Option("0.8,0.1,0.1", help="Shares of train(, validation), test."),
    folds: int = typer.Option(0, min=0, help="So many folds instead of a hold-out."),
    seed: int = typer.Option(0, min=0, help="The same seed gives the same split."),
    stratify: str = typer.Option("", help="Beside the classes: age, sex, view (commas)."),
    sample: int = typer.Option(0, min=0, help="Only about so many images, classes in balance."),
    pictures: bool = typer.Option(True, help="Read every picture; equal ones stay together."),
    workers: int = typer.Option(0, min=0, help="Pictures read at once; 0: one a core."),
    as_json: bool = typer.Option(False, "--json", help="The proof as JSON on stdout."),
) -> None:
    """Split a data set by patient; refuses to tear a patient apart or to overwrite.

    Example: hilum data split rsna/ --set rsna --out split.json --folds 5 --stratify age,sex
    """
    import pandas as pd
    from rich.progress import track

    from hilum.cli.common import cores, print_json
    from hilum.core.errors import ConfigError, DataError
    from hilum.data import split as splitting
    from hilum.data.duplicates import picture_keys

    splitting.need_new(out)  # before minutes of reading
    catalog = splitting.known(open_source(source, set_name, options))
    if sample:
        catalog = splitting.sample(catalog, sample, seed)
    try:
        shares = [float(part) for part in fractions.split(",")]
    except ValueError:
        raise ConfigError(f"fractions {fractions!r}: needed: numbers with commas") from None
    strata = [name.strip() for name in stratify.split(",") if name.strip()]
    keys, left = None, []
    if pictures and (catalog.table["path"] != "").any():
        catalog.need_files()
        read = track(
            picture_keys(catalog, workers or cores()),
            "Comparing pictures",
            total=len(catalog),
            transient=True,
            disable=as_json,
        )
        keys = pd.Series(list(read), dtype=object)
        unread = (keys.isna() & (catalog.table["path"] != "")).to_numpy(bool)
        left = catalog.table.loc[unread, "path"].tolist()
        catalog = catalog.without(unread, "unreadable", "images cannot be read: in no part")
        keys = keys[~unread].reset_index(drop=True)
    parts = (
        splitting.folds(catalog, folds, seed, strata, keys)
        if folds
        else splitting.hold_out(catalog, shares, seed, strata, keys)
    )
    proof = parts.proof(catalog)
    shared = [*proof["patients_in_both"].values(), *proof["pictures_in_both"].values()]
    if any(shared):
        raise DataError(f"the split tears patients or pictures apart: {proof}; nothing is written")
    parts.save(out)
    if as_json:
        print_json(proof | {"left_out": left} | ledger(catalog))
        return
    for path in left:
        typer.echo(f"cannot be read, in no part: {path}")
    withheld = catalog.skips.get("withheld", 0)
    if withheld:
        typer.echo(f"{withheld} test images without truth are in no part.")
    for part in parts.parts:
        typer.echo(f"{part}: {proof['images'][part]} images, {proof['patients'][part]} patients")
    same = proof["pictures_that_stand_twice"]
    compared = f"none of {proof['pictures_compared']} compared ({same} stand twice)"
    typer.echo(f"Patients in two parts: {sum(proof['patients_in_both'].values()) or 'none'}.")
    typer.echo(f"Pictures in two parts: {compared if keys is not None else 'not compared'}.")
    typer.echo(f"Written: {out}")
