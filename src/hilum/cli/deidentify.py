"""`hilum deidentify`: DICOM images without names, for research."""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from hilum.cli import options

if TYPE_CHECKING:
    from hilum.dicom.copies import Copied


class Dates(StrEnum):
    """What becomes of dates."""

    REMOVED = "removed"
    SHIFTED = "shifted"
    KEPT = "kept"


PATHS = typer.Argument(..., help="DICOM files, folders, zips, DICOMDIR.")
SECRET = typer.Option(
    ..., "--secret", help="File of the secret that keys all pseudonyms; made where there is none."
)


def deidentify(
    paths: list[Path] = PATHS,
    out: Path = options.output("Folder to write into: patient/study/instance.dcm."),
    secret: Path = SECRET,
    dates: Dates = typer.Option(Dates.REMOVED, help="Shifted: by other days for each patient."),
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
    as_json: bool = options.JSON,
) -> None:
    """Write copies without identity, by the basic profile of DICOM PS3.15 Annex E.

    The same secret gives the same patient, study and image ids in every run: keep it safe, or
    delete it and nobody can link the copies again. Pixels are not changed: text that is burned
    into them stays, and is warned of where the header gives it away. Exit code 1 where a file
    was refused.

    Example: hilum deidentify incoming/ --out research --secret study.key --dates shifted
    """
    from hilum.cli.common import SOME_REFUSED, print_json, progress, tell_passed
    from hilum.core.folders import held
    from hilum.dicom.copies import write_copies
    from hilum.dicom.deidentify import Options
    from hilum.dicom.discover import discover
    from hilum.dicom.pseudonyms import Pseudonyms, open_secret

    options = Options(
        dates=dates.value,
        patient=keep_patient,
        device=keep_device,
        uids=keep_uids,
        descriptors=descriptors,
        burned_in=burned_in,
    )
    key, is_new = open_secret(secret)
    if is_new and not as_json:
        typer.echo(f"New secret in {secret}. Who has it can link the copies to the patients.")
    done, passed = [], Counter[str]()
    with held(out), progress("copying") as advance:
        for copied in write_copies(discover(paths, passed=passed), out, Pseudonyms(key), options):
            done.append(copied)
            advance()
            if not as_json:
                _say(copied, show_names)
    tell_passed(passed)
    refused = sum(bool(one.refused) for one in done)
    if as_json:
        images = [one.to_json(named=show_names) for one in done]
        print_json({"schema": "hilum.deidentify/1", "images": images})
    else:
        warned = sum(bool(one.warnings) for one in done)
        typer.echo(f"{len(done) - refused} written, {refused} refused, {warned} with a warning.")
    if refused:
        raise typer.Exit(SOME_REFUSED)


def _say(copied: Copied, named: bool) -> None:
    """Messages name sources by their number unless asked: file names hold people's names."""
    name = copied.source if named else f"image {copied.number}"
    if copied.refused:
        typer.echo(f"{name}: refused ({copied.refused}): {copied.reason}", err=True)
    for warning in copied.warnings:
        typer.echo(f"{name} -> {copied.file}: {warning}", err=True)
