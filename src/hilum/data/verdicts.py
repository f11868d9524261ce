"""What readers said of results -> the boxes that hold after their verdicts; as JSON between the
service and who learns from it.

An image is annotated when somebody spoke of the whole image, or of every finding on it; of the
others nothing is known. Comments teach nothing. Names and numbers of patients do not enter: who is
the same is told by the hashes that come in. Knows no table: the service has no pandas.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

from pydantic import BaseModel, ConfigDict

from hilum.core.documents import parse_json
from hilum.core.errors import DataError, DocumentError
from hilum.core.options import checked

Box = tuple[float, float, float, float]
WORDS = "feedback.json"  # in the zip that the service hands out, beside the images
LABEL = "opacity"  # of boxes that were drawn without one


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


def boxes_after(image: ImageFeedback, label: str = LABEL) -> list[Marked] | None:
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


def _drawn(image: ImageFeedback, label: str, box: Box) -> Marked | None:
    """A box cut to the image; None where nothing of it lies there."""
    x1, y1 = max(box[0], 0.0), max(box[1], 0.0)
    x2, y2 = min(box[2], float(image.width)), min(box[3], float(image.height))
    return Marked(label=label, box=(x1, y1, x2, y2)) if x1 < x2 and y1 < y2 else None


class _Export(BaseModel):
    model_config = ConfigDict(allow_inf_nan=False)

    images: list[ImageFeedback]


def to_json(images: Iterable[ImageFeedback]) -> str:
    return json.dumps({"images": [asdict(image) for image in images]}, indent=1)


def from_json(text: bytes) -> list[ImageFeedback]:
    """What `to_json` was given.

    Raises:
        DataError: it is something else.
    """
    try:
        return checked(_Export, parse_json(text), "what readers said is damaged", DataError).images
    except DocumentError as error:
        raise DataError(f"what readers said is damaged: {error}") from error
