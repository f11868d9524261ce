"""`hilum feedback`: what readers said on the page, as a catalog that `hilum train` reads."""

from __future__ import annotations

import os
from pathlib import Path

import typer

from hilum.cli import common, options

PASSWORD = "HILUM_PASSWORD"  # noqa: S105  the name of a variable


def feedback(
    out: Path = options.output("Folder for feedback.parquet and images/."),
    url: str = typer.Option("http://127.0.0.1:8080", help="The service."),
    user: str | None = typer.Option(None, help=f"An admin; the password is in {PASSWORD}."),
    as_json: bool = options.JSON,
) -> None:
    """Fetch the images with feedback of readers, with the boxes that hold after their verdicts.

    An image counts once somebody spoke of the whole of it, or of every finding on it. The images
    come as they were received, with their headers: treat the folder like them.

    Example: hilum feedback --out readers && hilum train siim-covid-yolo-finetune-small \\
      --data readers/feedback.parquet --out runs/a
    """
    from hilum.client import Client
    from hilum.core.extras import require

    require("eval")
    from hilum.data.feedback import unpacked

    password = os.environ.get(PASSWORD)
    with Client(url, user=user, password=password) as client, common.progress("fetching"):
        content = client.exported_feedback()
    catalog = unpacked(content, out)
    patients = catalog.table["patient"].nunique()
    if as_json:
        counts = {"images": len(catalog), "patients": patients, "out": str(out)}
        common.print_json(counts | {"notes": list(catalog.notes)})
        return
    typer.echo(f"{len(catalog)} images of {patients} patients in {out}.")
    for note in catalog.notes:
        typer.echo(note)
