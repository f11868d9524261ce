"""`hilum audit`: the service's trail, verified and exported."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from hilum.cli import common, options

if TYPE_CHECKING:
    from hilum.serve.audit import Audit

app = typer.Typer(help="The audit trail of the service.", no_args_is_help=True)


@app.command()
def verify(
    config: Path | None = options.CONFIG,
    head: str = typer.Option("", help="An earlier end, NUMBER:HASH, which must be there still."),
    as_json: bool = options.JSON,
) -> None:
    """Go through the whole chain; the last entry's number and hash, to be noted elsewhere.

    Example: hilum audit verify --config hilum.toml
    """
    from hilum.core.errors import ConfigError
    from hilum.serve.audit import Head

    number, _, digest = head.partition(":")
    if head and not (number.isdigit() and digest):
        raise ConfigError(f"--head {head!r}; needed: NUMBER:HASH, as this command prints it")
    with common.progress("verifying"):
        end = _audit(config).verify(Head(int(number), digest) if head else None)
    if as_json:
        common.print_json({"number": end.number, "hash": end.hash})
    else:
        typer.echo(f"{end.number} entries, whole. Note this end: {end.number}:{end.hash}")


@app.command()
def export(
    config: Path | None = options.CONFIG,
    after: int = typer.Option(0, min=0, help="Entries after this number."),
    as_json: bool = options.JSON,
) -> None:
    """The messages (XML, DICOM PS3.15 A.5), one a line; --json: an array of them.

    Example: hilum audit export --after 1000 > audit.xml
    """
    messages = (" ".join(one.split("\n")) for one in _audit(config).messages(after))
    if as_json:
        common.print_json(list(messages))
        return
    for message in messages:
        typer.echo(message)


def _audit(config: Path | None) -> Audit:
    from hilum.core.errors import ConfigError
    from hilum.core.extras import require

    require("serve")
    from hilum.serve.audit import Audit
    from hilum.serve.config import load
    from hilum.serve.records import Records

    loaded = load(config)
    file = loaded.root / "hilum.sqlite"
    if not loaded.database and not file.exists():
        raise ConfigError(f"{file}: there is none; name the service's --config")
    return Audit(Records(loaded.database_url))
