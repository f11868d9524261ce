"""Reads every file of a catalog once and remembers what it found, so that a rerun resumes.

Judges nothing; `check` does. One JSON line a file, written as it is read.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from hilum.core.errors import DataError, InputRefused
from hilum.core.radiograph import Radiograph
from hilum.data.catalog import Catalog
from hilum.data.duplicates import picture_key
from hilum.data.pixels import open_radiograph
from hilum.dicom.gate import chest_header_reason

FIELDS = ("path", "stamp", "reason", "key", "width", "height", "photometric", "header")


def file_facts(catalog: Catalog, memory: Path, workers: int = 2) -> Iterator[dict[str, Any]]:
    """`FIELDS` of each row that has a file, in no particular order.

    Args:
        memory: JSON lines of earlier runs; a file of the same size and time is not read again.
        workers: threads; decoding releases Python's lock.
    """
    known = _remembered(memory)
    todo: list[tuple[str, str]] = []
    for path in catalog.table["path"]:
        if not path:
            continue
        stamp = _stamp(catalog.root, path)
        if path in known and known[path]["stamp"] == stamp:
            yield known[path]
        else:
            todo.append((path, stamp))
    memory.parent.mkdir(parents=True, exist_ok=True)
    with memory.open("a", encoding="utf-8") as stream, ThreadPoolExecutor(workers) as pool:
        # In slices, so that an interrupt does not wait for thousands of queued files.
        for start in range(0, len(todo), 64 * workers):
            part = todo[start : start + 64 * workers]
            for facts in pool.map(lambda item: _facts(catalog.root, *item), part):
                stream.write(json.dumps(facts, ensure_ascii=False) + "\n")
                yield facts
            stream.flush()


def _facts(root: Path, path: str, stamp: str) -> dict[str, Any]:
    out: dict[str, Any] = dict.fromkeys(FIELDS) | {"path": path, "stamp": stamp}
    try:
        radiograph = open_radiograph(root, path)
    except InputRefused as refusal:
        return out | {"reason": f"{refusal.code}: {refusal.reason}"}
    except DataError as error:
        return out | {"reason": str(error)}
    return out | {
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


def _stamp(root: Path, reference: str) -> str:
    file = root / reference.partition("!")[0]
    try:
        status = file.stat()
    except OSError:
        return "gone"
    return f"{status.st_size}-{status.st_mtime_ns}"


def _remembered(memory: Path) -> dict[str, dict[str, Any]]:
    known: dict[str, dict[str, Any]] = {}
    if not memory.is_file():
        return known
    for line in memory.read_text(encoding="utf-8").splitlines():
        try:
            facts = json.loads(line)
            if set(facts) == set(FIELDS):
                known[facts["path"]] = facts
        except ValueError:
            continue  # the last line of a killed run may be torn; that file is read again
    return known
