"""Maps of many radiographs, drawn into a folder; the pointing game on those with true boxes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hilum.core.errors import DataError, InputRefused
from hilum.core.files import write_bytes
from hilum.core.findings import Findings
from hilum.core.progress import counted
from hilum.core.radiograph import Radiograph
from hilum.dicom.discover import Item
from hilum.dicom.stored import StoredImage
from hilum.explain.explainer import Explainer
from hilum.explain.heat import Heat
from hilum.explain.picture import picture
from hilum.explain.pointing import Pointed, pointed
from hilum.report.explanation import Annotations

DRAWN = 12  # images of the game


@dataclass(frozen=True, slots=True)
class Case:
    """An image and, where somebody knows it, whose it is and what readers drew."""

    item: Item
    patient: str = ""
    # Of an image of that width and height; may raise DataError: of another shape.
    readers: Callable[[int, int], Annotations] | None = None
    boxed: bool = False  # whether readers drew a box
    marked: bool = False  # a box or a mask


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One image, explained."""

    stored: StoredImage
    radiograph: Radiograph
    findings: Findings
    heat: Heat
    readers: Annotations | None
    note: str  # why the annotations are not drawn


@dataclass(frozen=True, slots=True)
class Game:
    """What the pointing game gave, image by image."""

    points: Sequence[Pointed]
    patients: Sequence[str]  # of the points
    left_out: dict[str, str]  # image -> why


def answer(case: Case, by: Explainer) -> Answer:
    """
    Raises:
        InputRefused: it cannot be read, or a gate refuses it.
    """
    stored = case.item.open()
    radiograph, findings = by.find(stored)
    readers, note = _readers(case, radiograph)
    return Answer(
        stored=stored,
        radiograph=radiograph,
        findings=findings,
        heat=by.heat(stored),
        readers=readers,
        note=note,
    )


def draw_all(
    cases: Sequence[Case], by: Explainer, out: Path, *, spread: bool = False
) -> list[dict[str, Any]]:
    """A PNG an image and its entry of explain.json; what is refused is an entry, too.

    Args:
        spread: also how like the map that of randomised weights is, if `by` can tell.
    """
    entries: list[dict[str, Any]] = []
    for number, case in enumerate(counted(cases, "explaining", len(cases))):
        entry: dict[str, Any] = {"image": case.item.name}
        entries.append(entry)
        try:
            one = answer(case, by)
        except InputRefused as error:
            entry["refused"] = str(error)
            continue
        heat, file = one.heat, _file(number, case)
        _draw(one, by, out / file)
        entry |= {"picture": file, "score": heat.score_name, "value": round(heat.score, 4)}
        entry |= {"flat": heat.flat, "hottest_px": [round(v, 1) for v in heat.hottest()]}
        entry |= {"found_by": by.found_by, "found": list(one.findings.marked)}
        if one.note:
            entry["annotations_not_drawn"] = one.note
        if spread and by.spread is not None:
            entry["rank_correlation"] = by.spread(one.stored)
    return entries


def point_at_all(cases: Sequence[Case], by: Explainer, out: Path) -> Game:
    """Does the hottest point of each image lie in a box of readers? The first are drawn, too.

    Raises:
        DataError: no image could be pointed at.
    """
    points: list[Pointed] = []
    patients: list[str] = []
    left_out: dict[str, str] = {}
    for case in counted(cases, "explaining", len(cases)):
        try:
            one = answer(case, by)
        except InputRefused as error:
            left_out[case.item.name] = str(error)
            continue
        if one.readers is None:
            left_out[case.item.name] = one.note
            continue
        size = one.radiograph.width, one.radiograph.height
        points.append(pointed(one.heat.hottest(), one.readers.boxes_px, *size))
        patients.append(case.patient)
        if len(points) <= DRAWN:
            _draw(one, by, out / _file(len(points), case))
    if not points:
        why = f": {next(iter(left_out.values()))}" if left_out else "; they have no true box"
        raise DataError(f"no image of these inputs can be pointed at{why}")
    return Game(points, patients, left_out)


def _readers(case: Case, radiograph: Radiograph) -> tuple[Annotations | None, str]:
    """What readers drew, or why it cannot be drawn."""
    if case.readers is None:
        return None, ""
    try:
        return case.readers(radiograph.width, radiograph.height), ""
    except DataError as error:
        return None, str(error)


def _file(number: int, case: Case) -> str:
    return f"{number:04d}-{Path(case.item.name).stem[:60]}.png"


def _draw(one: Answer, by: Explainer, file: Path) -> None:
    content = picture(
        one.heat,
        one.radiograph,
        one.findings,
        of=by.of,
        found_by=by.found_by,
        readers=one.readers,
    )
    write_bytes(file, content)
