"""`hilum data` and its verbs."""

from __future__ import annotations

import typer

from hilum.cli.data import (
    catalog,
    check,
    convert,
    explore,
    fetch,
    label_reports,
    phantom,
    preview,
    pseudo_label,
    split,
)

app = typer.Typer(
    no_args_is_help=True,
    help="Data sets: fetch, check, explore, catalog, split, convert, label, phantoms, preview.",
)
app.command()(fetch.fetch)
app.command()(phantom.phantom)
app.command()(catalog.catalog)
app.command()(split.split)
app.command()(convert.convert)
app.command()(check.check)
app.command()(explore.explore)
app.command()(label_reports.label_reports)
app.command()(pseudo_label.pseudo_label)
app.command()(preview.preview)
