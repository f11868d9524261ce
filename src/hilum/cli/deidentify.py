"""`hilum deidentify`: DICOM images without names, for research."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from hilum.dicom.deidentify import Deidentified

PATHS = typer.Argument(..., help="DICOM files, folders, zips, DICOMDIR.")
OUT = typer.Option(..., "--out", help="Folder to write into: patient/study/instance.dcm.")
SECRET = typer.Option(
    ..., "--secret", help="File of the secret that keys all pseudonyms; made where there is none."
)


def deidentify(
    paths: list[Path] = PATHS,
    out: Path = OUT,
    secret: Path = SECRET,
    dates: str = typer.Option("removed", help="removed, shifted (per patient), or kept."),
    keep_patient: bool = typer.Option(False, "--keep-patient", help="Keep sex, age, size, weight."),
    keep_device: bool = typer.Option(False, "--keep-device", help="Keep maker, model, serial."),
    keep_uids: bool = typer.Option(False, "--keep-uids", help="Keep valid UIDs."),
    descriptors: bool = typer.Option(
        False, "--clean-descriptors", help="Keep common words of descriptions (chest, pa, …)."
    ),
    burned_in: bool = typer.Option(
        False, "--allow-burned-in", help="Take images that say they have burned-in annotation."
    ),
    show_names: bool = typer.Option(
        False, "--show-names", help="Name source files in messages; names may identify people."
    ),
    as_json: bool = typer.Option(False, "--json", help="One JSON document."),
) -> None:
    """Write copies without identity, by the basic profile of DICOM PS3.15 Annex E.

    The same secret gives the same patient, study and image ids in every run: keep it safe, or
    delete it and nobody can link the copies again. Pixels are not changed: text that is burned
    into them stays, and is warned of where the header gives it away. Exit code 1 where a file
    was refused.

    Example: hilum deidentify incoming/ --out research --secret study.key --dates shifted
    """
    from hilum.cli.common import SOME_REFUSED, print_json
    from hilum.core.errors import ConfigError, InputRefused
    from hilum.dicom.deidentify import Options, deidentify
    from hilum.dicom.discover import discover
    from hilum.dicom.pseudonyms import Pseudonyms, open_secret

    if dates not in ("removed", "shifted", "kept"):
        raise ConfigError(f"dates {dates!r}; known: removed, shifted, kept")
    options = Options(
        dates=dates,  # type: ignore[arg-type]
        patient=keep_patient,
        device=keep_device,
        uids=keep_uids,
        descriptors=descriptors,
        burned_in=burned_in,
    )
    key, is_new = open_secret(secret)
    pseudonyms = Pseudonyms(key)
    if is_new and not as_json:
        typer.echo(f"New secret in {secret}. Who has it can link the copies to the patients.")
    rows: list[dict[str, Any]] = []
    for number, item in enumerate(discover(paths), 1):
        row: dict[str, Any] = {"number": number} | ({"source": item.name} if show_names else {})
        try:
            copy = deidentify(item.load(), pseudonyms, options)
            row |= {"file": _write(out, copy), "warnings": list(copy.warnings)}
        except InputRefused as error:
            row |= {"refused": error.code, "reason": f"{error.reason} {error.remedy}".strip()}
        rows.append(row)
        if not as_json:
            _say(row)
    refused = sum("refused" in row for row in rows)
    if as_json:
        print_json({"schema": "hilum.deidentify/1", "images": rows})
    else:
        warned = sum(bool(row.get("warnings")) for row in rows)
        typer.echo(f"{len(rows) - refused} written, {refused} refused, {warned} with a warning.")
    if refused:
        raise typer.Exit(SOME_REFUSED)


def _write(out: Path, copy: Deidentified) -> str:
    """The new file's path below `out`; another object of the same id is never overwritten."""
    from hilum.core.errors import UnsupportedRefused
    from hilum.core.files import write_bytes

    name = f"{copy.patient}/{copy.study}/{copy.instance}.dcm"
    target = out / name
    if not target.exists():
        write_bytes(target, copy.data)
    elif target.read_bytes() != copy.data:
        raise UnsupportedRefused(
            "",
            "another object with its SOPInstanceUID (or other options) was written before.",
            "Write into a new folder.",
        )
    return name


def _say(row: dict[str, Any]) -> None:
    """Messages name sources by their number unless asked: file names hold people's names."""
    name = row.get("source") or f"image {row['number']}"
    if "refused" in row:
        typer.echo(f"{name}: refused ({row['refused']}): {row['reason']}", err=True)
    for warning in row.get("warnings", ()):
        typer.echo(f"{name} -> {row['file']}: {warning}", err=True)
