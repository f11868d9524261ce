"""The `hilum` command: one verb a file, heavy imports inside command bodies only."""

from __future__ import annotations

import sys
from importlib import import_module

import typer

from hilum.cli import common

# Each a file beside this one with a function of its name.
VERBS = (
    "demo",
    "inspect",
    "predict",
    "batch",
    "bench",
    "report",
    "deidentify",
    "train",
    "sweep",
    "export",
    "explain",
    "ensemble",
    "submit",
    "serve",
    "feedback",
)
# Each a file or folder beside this one with an `app` of verbs.
GROUPS = ("audit", "users", "bundle", "pipeline", "data", "evaluate")

app = typer.Typer(
    name="hilum",
    help="Finds, outlines and grades lung opacities on chest radiographs. " + common.NOTICE,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
)
common.add_verbs(app, "hilum.cli", VERBS)
for name in GROUPS:
    app.add_typer(import_module(f"hilum.cli.{name}").app, name=name)


@app.callback(invoke_without_command=True)
def _root(
    version: bool = typer.Option(False, "--version", help="Print the version and stop."),
) -> None:
    if version:
        from hilum import __version__

        typer.echo(__version__)
        raise typer.Exit


def run() -> None:
    """Entry point: exit codes 0 done, 1 some inputs refused, 2 usage, 3 failed,
    130 interrupted."""
    sys.exit(common.guarded(app))
