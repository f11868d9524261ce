"""`hilum inspect`: what a file is, without its identifiers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from hilum.cli import common, options

if TYPE_CHECKING:
    from hilum.core.radiograph import Radiograph
    from hilum.dicom.discover import Item
    from hilum.dicom.stored import StoredImage


def inspect(
    paths: list[Path] = typer.Argument(..., help="Files, folders, zips, DICOMDIR."),
    full: bool = typer.Option(False, "--full", help="Every element of the header."),
    show_identifiers: bool = typer.Option(
        False, "--show-identifiers", help="Also names, ids, UIDs, dates, free and private text."
    ),
    full_range: bool = typer.Option(
        False, "--full-range", help="Read the whole stored range, without windows and VOI LUTs."
    ),
    as_json: bool = options.JSON,
) -> None:
    """Show the metadata that matters, one line per image. Identifiers are hidden unless asked.

    Example: hilum inspect chest.dcm study.zip
    """
    from hilum.dicom.discover import discover

    look = _Look(full, show_identifiers, full_range)
    rows = (look.at(item) for item in discover(paths))
    refused = 0
    if as_json:
        entries = list(rows)
        refused = sum(row["status"] == "refused" for row in entries)
        common.print_json({"schema": "hilum.inspect/1", "images": entries})
    else:
        for row in rows:
            refused += row["status"] == "refused"
            for line in _lines(row):
                typer.echo(line)
    if refused:
        raise typer.Exit(common.SOME_REFUSED)


@dataclass(frozen=True, slots=True)
class _Look:
    """How closely to look at each file."""

    full: bool
    show_identifiers: bool
    full_range: bool

    def at(self, item: Item) -> dict[str, Any]:
        from hilum.core.errors import InputRefused

        row: dict[str, Any] = {"path": item.name}
        try:
            stored = item.open()
            row |= self._header(stored)
            start = time.perf_counter()
            radiograph = stored.radiograph(full_range=self.full_range)
            row |= {"status": "read", **_facts(radiograph)}
            row["decode_ms"] = round(1000 * (time.perf_counter() - start), 1)
        except InputRefused as error:
            row |= {"status": "refused", "code": error.code, "reason": error.reason}
            row["remedy"] = error.remedy
        return row

    def _header(self, stored: StoredImage) -> dict[str, Any]:
        """What is known before a pixel is decoded."""
        from hilum.dicom.dump import elements
        from hilum.dicom.gate import chest_header_reason

        row: dict[str, Any] = {
            "format": stored.kind,
            "object": stored.object_name,
            "not_a_chest_radiograph": chest_header_reason(stored),
        }
        if self.show_identifiers:
            row["identifiers"] = asdict(stored.ids)
        if self.full:
            row["elements"] = elements(stored, self.show_identifiers)
        return row


def _facts(radiograph: Radiograph) -> dict[str, Any]:
    decoding, valid = radiograph.decoding, radiograph.valid
    return {
        "height": radiograph.height,
        "width": radiograph.width,
        "bits": decoding.bits_stored,
        "photometric": decoding.photometric,
        "transfer_syntax": decoding.transfer_syntax,
        "decoder": decoding.decoder,
        "voi": decoding.voi,
        "clipped_black": round(decoding.clipped_black, 4),
        "clipped_white": round(decoding.clipped_white, 4),
        "warnings": list(decoding.warnings),
        "spacing_mm": radiograph.spacing_mm,
        "spacing_source": radiograph.spacing_source,
        "view": radiograph.view,
        "modality": radiograph.modality,
        "body_part": radiograph.body_part,
        "sex": radiograph.sex,
        "age_years": radiograph.age_years,
        "valid_fraction": 1.0 if valid is None else round(float(valid.mean()), 4),
    }


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
