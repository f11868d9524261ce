"""`hilum data` and its verbs."""

from __future__ import annotations

import typer

from hilum.cli.common import add_verbs

# Each a file beside this one with a function of its name.
VERBS = (
    "fetch",
    "phantom",
    "catalog",
    "split",
    "convert",
    "check",
    "explore",
    "label_reports",
    "pseudo_label",
    "preview",
)

app = typer.Typer(
    no_args_is_help=True,
    help="Data sets: fetch, check, explore, catalog, split, convert, label, phantoms, preview.",
)
add_verbs(app, __name__, VERBS)
