"""`hilum feedback`: what readers said on the page, as a catalog that `hilum train` reads."""

from __future__ import annotations

import os
import zipfile
from io import BytesIO
from pathlib import Path

import typer

from hilum.cli import options

PASSWORD = "HILUM_PASSWORD"  # noqa: S105  the name of a variable


def feedback(
    out: Path = options.output("Folder for feedback.parquet and images/."),
    url: str = typer.Option("http://127.0.0.1:8080", help="The service."),
    user: str | None = typer.Option(None, help=f"An admin; the password is in {PASSWORD}."),
) -> None:
    """Fetch the images with feedback of readers, with the boxes that hold after their verdicts.

    An image counts once somebody spoke of the whole of it, or of every finding on it. The images
    come as they were received, with their headers: treat the folder like them.

    Example: hilum feedback --out readers && hilum train siim-covid-yolo-finetune-small \\
      --data readers/feedback.parquet --out runs/a
    """
    from hilum.client import Client
    from hilum.core.errors import DataError
    from hilum.core.files import write_bytes
    from hilum.core.folders import claimed
    from hilum.data.catalog import open_catalog

    with Client(url, user=user, password=os.environ.get(PASSWORD)) as client:
        content = client.catalog("zip")
    with (
        claimed(out, "feedback", names=("feedback.parquet", "images")),
        zipfile.ZipFile(BytesIO(content)) as archive,
    ):
        for name in sorted(archive.namelist(), key=lambda name: name.endswith(".parquet")):
            target = out / name
            if not target.resolve().is_relative_to(out.resolve()):
                raise DataError(f"{name[:80]!r} lies outside {out}; refused")
            write_bytes(target, archive.read(name))  # the catalog last: it names what is there
    catalog = open_catalog(out / "feedback.parquet")
    typer.echo(f"{len(catalog)} images of {catalog.table['patient'].nunique()} patients in {out}.")
    for note in catalog.notes:
        typer.echo(note)
