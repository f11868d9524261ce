"""`hilum serve`: the DICOM node, the page and the work behind them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from hilum.cli import common, options

if TYPE_CHECKING:
    from hilum.serve.config import Config


def serve(
    config: Path | None = options.CONFIG,
    check: bool = typer.Option(False, "--check", help="Say what is wrong, and stop."),
    as_json: bool = options.JSON,
) -> None:
    """Receive radiographs by DICOM and HTTP, analyse them, send results on, show a page.

    Listens on this machine only, unless TLS and credentials are configured. Ctrl-C ends it; what
    was received and not yet done goes on at the next start.

    Example: hilum serve
    """
    loaded = configuration(config)
    if check:
        from hilum.serve.check import problems

        wrong = problems(loaded)
        if as_json:
            common.print_json({"problems": wrong})
        else:
            typer.echo("\n".join(f"- {one}" for one in wrong) or "Nothing is wrong.")
        raise typer.Exit(common.USAGE if wrong else common.DONE)
    _run(loaded)


def configuration(config: Path | None) -> Config:
    """Of the file and the environment.

    Raises:
        ConfigError, MissingExtraError: it is wrong, or the service is not installed.
    """
    from hilum.core.extras import require

    require("serve")
    from hilum.serve.config import load

    return load(config)


def _run(config: Config) -> None:
    import signal
    import threading

    from hilum.serve.logs import configure
    from hilum.serve.run import Running

    configure(config.log_level)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with Running(config) as running:
        if running.node is not None:
            where = f"{config.node.host}:{running.node.port}"
            typer.echo(f"DICOM node {config.node.ae_title} at {where}")
        if config.web.enabled:
            scheme = "https" if config.web.tls else "http"
            typer.echo(f"Page at {scheme}://{config.web.host}:{config.web.port}")
        typer.echo(f"Kept in {config.root}. {common.NOTICE}")
        stop.wait()
        typer.echo("Ending: what has begun is ended, the rest goes on at the next start.")
