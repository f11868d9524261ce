"""`hilum data fetch`: a public set from Kaggle."""

from __future__ import annotations

from pathlib import Path

import typer

from hilum.cli import options

NAME = typer.Argument(..., help="rsna, siim-covid, siim-acr, nih, vindr.")


def fetch(
    name: str = NAME,
    out: Path = options.output("New folder for the set; one that is there is verified."),
    accept_licence: bool = typer.Option(
        False, "--accept-licence", help="Accept the set's terms, which are shown."
    ),
    as_json: bool = options.JSON,
) -> None:
    """Download a set, unpack and verify it; a rerun goes on where the download broke off.

    Space is checked first. The terms are shown and accepted once. Needs a Kaggle account: a token
    in ~/.kaggle/access_token or KAGGLE_API_TOKEN. hilum stores and logs no credentials.

    Example: hilum data fetch rsna --out rsna --accept-licence
    """
    import sys

    from hilum.cli.common import print_json, progress
    from hilum.core.errors import ConfigError
    from hilum.data.download import fetch as fetching
    from hilum.data.download import licences

    hub = fetching.hub_of(name)
    terms = f"{hub.terms}\n{hub.page}"
    if not licences.accepted(name, terms):
        typer.echo(f"Terms of {name}, in short (the page decides):\n{terms}", err=True)
        interactive = not accept_licence and sys.stdin.isatty()
        if not accept_licence and not (interactive and typer.confirm("Accept?", err=True)):
            raise ConfigError("the terms were not accepted: read them, then --accept-licence")
        licences.accept(name, terms)
    with progress("fetching"):
        done = fetching.fetch(name, out)
    if as_json:
        print_json({"files": done.files, "bytes": done.bytes, "downloaded": done.downloaded})
        return
    what = "fetched and verified" if done.downloaded else "there already, all checksums agree"
    typer.echo(f"{done.files} files, {done.bytes / 1e9:.2f} GB in {out}: {what}.")
    typer.echo(f"Next: hilum data check {out} --kind {name} --out {out}-check")
