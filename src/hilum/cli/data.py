"""`hilum data` and its verbs."""

from __future__ import annotations

import typer

app = typer.Typer(no_args_is_help=True, help="Being built.")
