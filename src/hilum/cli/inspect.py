"""`hilum inspect`: what a file is, without its identifiers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from hilum.cli import common, options


def inspect(
    paths: list[Path] = typer.Argument(..., help="Files, folders, zips, DICOMDIR."),
    full: bool = typer.Option(False, "--full", help="Every element of the header."),
    show_identifiers: bool = typer.Option(
        False, "--show-identifiers", help="Also names, ids, UIDs, dates, free and private text."
    ),
    full_range: bool = options.FULL_RANGE,
    as_json: bool = options.JSON,
) -> None:
    """Show the metadata that matters, one line per image. Identifiers are hidden unless asked.

    Example: hilum inspect chest.dcm study.zip
    """
    from hilum.dicom.description import described
    from hilum.dicom.discover import discover

    passed: Counter[str] = Counter()
    rows = (
        described(item, full=full, identifiers=show_identifiers, full_range=full_range)
        for item in discover(paths, passed=passed)
    )
    refused = 0
    if as_json:
        entries = list(common.tracked(rows, "reading"))
        refused = sum(row["status"] == "refused" for row in entries)
        common.print_json({"schema": "hilum.inspect/1", "images": entries})
    else:
        for row in rows:
            refused += row["status"] == "refused"
            for line in _lines(row):
                typer.echo(line)
    common.tell_passed(passed)
    if refused:
        raise typer.Exit(common.SOME_REFUSED)


def _lines(row: dict[str, Any]) -> Iterator[str]:
    if row["status"] == "refused":
        yield f"{row['path']}: refused ({row['code']}): {row['reason']} {row['remedy']}".rstrip()
    else:
        yield f"{row['path']}: " + " · ".join(_summary(row))
    for warning in row.get("warnings", []):
        yield f"    warning: {warning}"
    for keyword, value in (row.get("identifiers") or {}).items():
        yield f"    {keyword} = {value or '-'}"
    for element in row.get("elements", []):
        yield "    {tag} {vr} {name} = {value}".format(**element)


def _summary(row: dict[str, Any]) -> Iterator[str]:
    from hilum.dicom.dump import syntax_name

    yield f"{row['height']} x {row['width']} px"
    yield f"{row['bits']} bit"
    if row["format"] == "dicom":
        yield row["photometric"]
        yield syntax_name(row["transfer_syntax"])
        yield f"VOI {row['voi']}"
    else:
        yield row["format"].upper()
    if row["spacing_mm"]:
        yield "{:g} x {:g} mm".format(*row["spacing_mm"]) + f" ({row['spacing_source']})"
    for key in ("modality", "view", "sex"):
        if row[key]:
            yield row[key]
    if row["age_years"] is not None:
        yield f"{row['age_years']:g} years"
    yield f"{row['decode_ms']} ms"
    if row["not_a_chest_radiograph"]:
        yield f"would not be analysed: {row['not_a_chest_radiograph']}"
