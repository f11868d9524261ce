"""Reads every file of a catalog once and says what it found. Decides nothing; `findings` does."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hilum.core.errors import DataError, InputRefused
from hilum.core.radiograph import Radiograph
from hilum.data.catalog import Catalog
from hilum.data.duplicates import fingerprint_of
from hilum.data.pixels import mask_levels, open_mask, open_radiograph
from hilum.data.resume import each_file, stamp
from hilum.dicom.gate import chest_header_reason

FACTS = (
    *("reason", "key", "thumb", "width", "height", "photometric", "reading", "header", "part"),
    *("drawn", "gate"),
)
FILLED = 0.95  # of the image
LABELS = 8  # values up to which a mask is a map of labels, not a blurred or uncertain one
FIELDS = (*FACTS, "mark")
# As BodyPartExamined is typed over the world; "?" stands where an accent was lost.
CHEST = re.compile(r"CHEST|T.{0,2}RAX|PECHO|PEITO|POITRINE|BRUST|LUNG|PULM|CXR|PORTABLE")


@dataclass(frozen=True, slots=True)
class Gate:
    """Looks at pixels, and raises InputRefused where they are of no frontal chest radiograph."""

    check: Callable[[Radiograph], None]
    fingerprint: str  # what it said is remembered under this


def file_facts(
    catalog: Catalog, memory: Path, workers: int = 2, gate: Gate | None = None
) -> Iterator[dict[str, Any]]:
    """`FIELDS` and the path of each row that has a file; `memory` as `each_file`.

    Raises:
        DataError: the folder of the catalog is not there.
    """
    catalog.need_files()
    columns = [c for c in map(str, catalog.table) if c.startswith("mask_")]
    masks = {
        str(path): {c: r for c, r in zip(columns, references, strict=True) if r}
        for path, references in zip(
            catalog.table["path"], catalog.table[columns].itertuples(index=False), strict=True
        )
    }

    def mark(path: str) -> list[str]:
        own = [f"{r} {stamp(catalog.root, r)}" for r in masks[path].values()]
        return own if gate is None else [*own, f"gate {gate.fingerprint}"]

    def work(path: str) -> dict[str, Any]:
        facts = _facts(catalog.root, path, masks[path], gate)
        return dict.fromkeys(FIELDS) | facts | {"mark": mark(path)}

    def holds(facts: dict[str, Any]) -> bool:
        return set(FIELDS) <= set(facts) and facts["mark"] == mark(facts["path"])

    return each_file(
        catalog.root, catalog.table["path"], work, memory=memory, workers=workers, holds=holds
    )


def _facts(root: Path, path: str, masks: dict[str, str], gate: Gate | None) -> dict[str, Any]:
    try:
        radiograph = open_radiograph(root, path)
    except InputRefused as refusal:
        return {"reason": f"{refusal.code}: {refusal.reason}"}
    except DataError as error:
        return {"reason": str(error)}
    own = fingerprint_of(radiograph)
    return {
        "key": own.key,
        "thumb": own.thumb,
        "width": radiograph.width,
        "height": radiograph.height,
        "photometric": radiograph.decoding.photometric,
        "reading": "; ".join(radiograph.decoding.warnings) or None,
        "header": _suspicion(radiograph),
        "part": _other_part(radiograph),
        "drawn": _mask_problems(root, masks, radiograph),
        "gate": _refusal(gate, radiograph),
    }


def _refusal(gate: Gate | None, radiograph: Radiograph) -> str | None:
    try:
        if gate is not None:
            gate.check(radiograph)
    except InputRefused as refusal:
        return refusal.reason
    return None


def _mask_problems(
    root: Path, masks: dict[str, str], radiograph: Radiograph
) -> dict[str, tuple[str, str]]:
    """mask_<name> -> code and words of what is wrong with it."""
    out = {}
    for column, reference in masks.items():
        try:
            mask = open_mask(root, reference, radiograph.height, radiograph.width)
            levels = mask_levels(root, reference)
        except DataError as error:
            out[column] = ("mask-unreadable", str(error))
            continue
        doubt = "" if mask.any() else "its file holds nothing"
        if doubt:
            out[column] = ("mask-empty", doubt)
        elif not reference.startswith("rle:") and (doubt := _covers(mask) or _mixed(levels)):
            out[column] = ("mask-odd", doubt)
    return out


def _covers(mask: NDArray[np.bool_]) -> str:
    """Nothing that is drawn in a chest fills the image, or all of its corners and most of it."""
    share = float(mask.mean())
    if share > FILLED or (share > 0.5 and mask[[0, 0, -1, -1], [0, -1, 0, -1]].all()):
        return f"it covers {share:.0%} of the image: is it the background that is drawn?"
    return ""


def _mixed(levels: NDArray[np.generic]) -> str:
    """All that is not 0 is set; a map of labels or of probabilities, or a blurred mask, differs."""
    values = np.unique(levels[levels != 0])
    if len(values) < 2:
        return ""
    if len(values) <= LABELS:
        return f"it holds the values {', '.join(map(str, values))}: all of them count as one"
    high = levels > values.max() / 2
    return (
        f"it holds {len(values)} grey values: all that is not 0 counts, {(levels != 0).mean():.1%} "
        f"of the image, where {high.mean():.1%} are brighter than half"
    )


def _suspicion(radiograph: Radiograph) -> str | None:
    reason = chest_header_reason(radiograph)
    if reason:
        return reason
    orientation = radiograph.patient_orientation
    if orientation and orientation[1][:1] in ("L", "R", "H"):
        return f"rotated: its rows and columns run to {'/'.join(orientation)}"
    return None


def _other_part(radiograph: Radiograph) -> str | None:
    """What the header calls a chest is typed by hand, and often wrong."""
    part = (radiograph.body_part or "").upper()
    return f"of body part {part}" if part and not CHEST.search(part) else None
