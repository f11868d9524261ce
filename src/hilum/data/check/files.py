"""Reads every file of a catalog once and says what it found. Judges nothing; `check` does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hilum.core.errors import DataError, InputRefused
from hilum.core.radiograph import Radiograph
from hilum.data.catalog import Catalog
from hilum.data.duplicates import picture_key
from hilum.data.pixels import open_radiograph
from hilum.data.resume import each_file
from hilum.dicom.gate import chest_header_reason

FIELDS = ("reason", "key", "width", "height", "photometric", "header")


def file_facts(catalog: Catalog, memory: Path, workers: int = 2) -> Iterator[dict[str, Any]]:
    """`FIELDS` and the path of each row that has a file; `memory` as `each_file`."""

    def work(path: str) -> dict[str, Any]:
        return dict.fromkeys(FIELDS) | _facts(catalog.root, path)

    return each_file(
        catalog.root, catalog.table["path"], work, memory, workers, lambda f: set(FIELDS) <= set(f)
    )


def _facts(root: Path, path: str) -> dict[str, Any]:
    try:
        radiograph = open_radiograph(root, path)
    except InputRefused as refusal:
        return {"reason": f"{refusal.code}: {refusal.reason}"}
    except DataError as error:
        return {"reason": str(error)}
    return {
        "key": picture_key(radiograph),
        "width": radiograph.width,
        "height": radiograph.height,
        "photometric": radiograph.decoding.photometric,
        "header": _suspicion(radiograph),
    }


def _suspicion(radiograph: Radiograph) -> str | None:
    reason = chest_header_reason(radiograph)
    if reason:
        return reason
    part = (radiograph.body_part or "").upper()
    if part and "CHEST" not in part and "THORAX" not in part:
        return f"of body part {part}"
    orientation = radiograph.patient_orientation
    if orientation and orientation[1][:1] in ("L", "R", "H"):
        return f"rotated: its rows and columns run to {'/'.join(orientation)}"
    return None
