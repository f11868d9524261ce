"""What readers said of results -> a catalog: the boxes that hold after their verdicts.

An image is annotated when somebody spoke of the whole image, or of every finding on it; of the
others nothing is known, so they are left out and counted. Comments teach nothing. Names and
numbers of patients do not enter: who is the same is told by the hashes that come in.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import pandas as pd

from hilum.core.errors import DataError
from hilum.core.files import write_bytes
from hilum.core.folders import claimed
from hilum.data.catalog import Catalog, build, open_catalog

Box = tuple[float, float, float, float]
NAME = "feedback"
CATALOG, IMAGES = "feedback.parquet", "images"  # in the zip that the service hands out


@dataclass(frozen=True, slots=True, kw_only=True)
class Marked:
    """One box with its label, px."""

    label: str
    box: Box


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One thing that was said, of a finding or (None) of the whole image."""

    verdict: str  # accept, reject, redraw, add (a box that was missed), comment
    finding: str | None = None
    boxes: Sequence[Box] = ()
    label: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFeedback:
    """An image, what was found on it, and all that was said of it, oldest first."""

    id: str
    path: str  # relative to the catalog
    patient: str
    study: str
    width: int
    height: int
    view: str
    modality: str
    findings: dict[str, Marked]  # by the finding's id
    verdicts: Sequence[Verdict]


def boxes_after(image: ImageFeedback, label: str) -> list[Marked] | None:
    """The boxes that hold; None where somebody has still to speak of a finding.

    Args:
        label: of boxes drawn without one.
    """
    open_, boxes = set(image.findings), {id: [mark] for id, mark in image.findings.items()}
    added, complete = "added", False
    for one in image.verdicts:
        if one.verdict == "comment":
            continue
        each = [_drawn(image, one.label or label, box) for box in one.boxes]
        drawn = [mark for mark in each if mark is not None]
        if one.verdict == "add":
            boxes.setdefault(added, []).extend(drawn)
            complete = True
            continue
        if one.finding is None or one.finding not in image.findings:
            open_, complete = set(), True
            if one.verdict != "accept":
                boxes = {"": drawn}
            continue
        open_.discard(one.finding)
        mark = image.findings[one.finding]
        kept: dict[str, list[Marked]] = {"accept": [mark], "reject": [], "redraw": drawn}
        boxes[one.finding] = kept[one.verdict]
        complete = True
    return None if open_ or not complete else [m for marks in boxes.values() for m in marks]


def feedback_catalog(
    images: Iterable[ImageFeedback], label: str = "opacity", root: Path = Path()
) -> Catalog:
    """A catalog that every recipe takes as a source.

    Raises:
        DataError: of no image everything is said.
    """
    rows, skipped = [], 0
    for image in images:
        marks = boxes_after(image, label)
        if marks is None:
            skipped += 1
        else:
            rows.append(_row(image, marks, label))
    notes = (f"{len(rows)} images annotated by readers' feedback",)
    columns = ["image_id", "path", "patient"]
    table = pd.DataFrame(rows) if rows else pd.DataFrame(columns=columns)
    return build(NAME, table, root, notes=notes, skips={"not-all-said": skipped} if skipped else {})


def _row(image: ImageFeedback, marks: list[Marked], label: str) -> dict[str, object]:
    fields = ("path", "patient", "study", "view", "modality", "width", "height")
    row: dict[str, object] = {name: getattr(image, name) for name in fields}
    row |= {"image_id": image.id, "source": NAME}
    row["boxes"] = [float(v) for mark in marks for v in mark.box]
    row["box_labels"] = [mark.label for mark in marks]
    row[f"label_{label}"] = float(any(mark.label == label for mark in marks))
    return row


def _drawn(image: ImageFeedback, label: str, box: Box) -> Marked | None:
    """A box cut to the image; None where nothing of it lies there."""
    x1, y1 = max(box[0], 0.0), max(box[1], 0.0)
    x2, y2 = min(box[2], float(image.width)), min(box[3], float(image.height))
    return Marked(label=label, box=(x1, y1, x2, y2)) if x1 < x2 and y1 < y2 else None


def unpacked(content: bytes, out: Path) -> Catalog:
    """The service's zip of catalog and images, in a folder.

    Raises:
        DataError: a member that lies elsewhere.
        ConfigError: the folder holds something else.
    """
    with claimed(out, NAME, names=(CATALOG, IMAGES)), zipfile.ZipFile(BytesIO(content)) as archive:
        for name in sorted(archive.namelist(), key=lambda name: name == CATALOG):
            target = out / name
            if not target.resolve().is_relative_to(out.resolve()):
                raise DataError(f"{name[:80]!r} lies outside {out}; refused")
            write_bytes(target, archive.read(name))  # the catalog last: it names what is there
    return open_catalog(out / CATALOG)
