"""The data set that a `hilum data` verb works on: a set's own directory, or a catalog of ours."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from hilum.data import Catalog

NAMED = ("columns", "masks")  # options that are given name by name
NOTED = ("no-file", "no-label")  # problems that the reader itself has told


def open_source(
    source: Path,
    kind: str,
    options: list[str],
    split: Path | None = None,
    root: Path | None = None,
    part: str = "",
) -> Catalog:
    """The catalog of the arguments `SOURCE`, `KIND` and `OPTIONS`; what its reader assumed and
    could not use is said on stderr.

    Args:
        split: a file of `hilum data split`, or of held-out patients (recipes/splits), whose parts
            the catalog then has.
        root: where the images of a catalog lie now.
        part: only this part of its split, or several with commas.

    Raises:
        ConfigError: options that make no sense, or there is no such part.
        DataError: as `load`, `open_catalog` and `Split.apply`.
    """
    from hilum.cli.common import progress
    from hilum.data.split import split_of

    with progress("reading the set"):
        catalog = _open(source, kind, options, root)
        if split is not None:
            catalog = split_of(split, catalog).apply(catalog)
    catalog = catalog.where(catalog.in_part(part)) if part else catalog
    for note in catalog.notes:
        typer.echo(f"note: {note}", err=True)
    return catalog


def ledger(catalog: Catalog) -> dict[str, Any]:
    """For --json: what was assumed, and how much could not be used, by kind."""
    return {"notes": list(catalog.notes), "skips": dict(catalog.skips)}


def table_problems(catalog: Catalog, *, tell: bool) -> dict[str, int]:
    """How many problems the tables alone show, by code; told on stderr where nobody reads JSON."""
    from hilum.data.check.findings import check

    problems = {code: n for code, n in check(catalog).counts().items() if code not in NOTED}
    if problems and tell:
        counted = ", ".join(f"{code} {count}" for code, count in problems.items())
        text = f"problems of the tables (hilum data check names them): {counted}"
        typer.echo(f"note: {text}", err=True)
    return problems


def _open(source: Path, kind: str, options: list[str], root: Path | None) -> Catalog:
    from hilum.core.errors import ConfigError
    from hilum.data.catalog import open_catalog
    from hilum.data.registry import load, options_of

    if kind:
        if root is not None:
            raise ConfigError("--root belongs to a catalog; a set's directory is its own root")
        return load(kind, source, **_parsed(options, options_of(kind)))
    if options:
        raise ConfigError("--option belongs to a set's reader: name it with --kind")
    if source.is_dir():
        raise ConfigError(f"{source} is a directory: say of which kind of set with --kind")
    return open_catalog(source, root)


def _parsed(words: list[str], known: list[str]) -> dict[str, Any]:
    from hilum.core.errors import ConfigError

    out: dict[str, Any] = {}
    for word in words:
        name, given, value = word.partition("=")
        name, _, key = name.partition(".")
        if not given or name not in known or bool(key) != (name in NAMED):
            raise ConfigError(
                f"--option {word!r}: needed NAME=VALUE with a name of this set's reader: "
                + (", ".join(f"{k}.NAME" if k in NAMED else k for k in known) or "it has none")
            )
        if key:
            out.setdefault(name, {})[key] = value
        else:
            out[name] = {"true": True, "false": False}.get(value.lower(), value)
    return out
