"""How the image lies on the patient, by the header: view, orientation, size and shape of pixels.

Knows the elements and the words for what they contradict; turns and scales no pixel.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from hilum.dicom.header import Header

SPACINGS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")
FIELD_MM = (80.0, 600.0)  # longer side: a newborn's chest, and more than the largest detectors
WHOLE_PX = 512  # rows of an image that is no detail or test
POSSIBLE_MM = (0.01, 10.0)  # side of a radiograph's pixel; beyond, the number is in another unit
SQUARE = 1.02  # sides of a pixel may differ by so much before the image is squeezed
FRONTAL = frozenset(("PA", "AP"))
LATERAL = frozenset(("LL", "RL", "LAT", "LATERAL", "LLAT", "RLAT"))
FRONTAL_WORDS = FRONTAL | {"FRONTAL", "AND", "DECUBITUS", "DECUB", "DEC", "LLD", "RLD"}
CHEST = re.compile(r"CHEST|TH?ORA[XCK]|LUNG|CXR|PULM|RIB", re.IGNORECASE)
_MEANINGS = {
    "POSTEROANTERIOR": "PA",
    "ANTEROPOSTERIOR": "AP",
    "LEFTLATERAL": "LL",
    "RIGHTLATERAL": "RL",
    "LATERAL": "LATERAL",
    "LATERALPROJECTION": "LATERAL",
}


def view(header: Header) -> str | None:
    """ViewPosition; where a DX image leaves that out, what its ViewCodeSequence means."""
    return header.code("ViewPosition") or coded_view(header)


def coded_view(header: Header) -> str | None:
    """What ViewCodeSequence means, as a ViewPosition."""
    items = header.items("ViewCodeSequence")
    return view_meant(items[0].text("CodeMeaning") or "") if items else None


def view_meant(words: str) -> str | None:
    """The ViewPosition that the meaning of a view's code says: "postero-anterior" is PA."""
    return _MEANINGS.get(re.sub(r"[^A-Z]", "", words.upper()))


def body_part(header: Header) -> str | None:
    """BodyPartExamined; else what AnatomicRegionSequence, which DX demands, means."""
    return header.code("BodyPartExamined") or coded_region(header)


def coded_region(header: Header) -> str | None:
    """What AnatomicRegionSequence means."""
    items = header.items("AnatomicRegionSequence")
    meaning = items[0].text("CodeMeaning") if items else None
    return meaning.upper() if meaning else None


def orientation(header: Header) -> tuple[str, str] | None:
    """Where rows and columns run to (C.7.6.1.1.1), as stored; ("L", "F") is the usual frontal."""
    codes = header.codes("PatientOrientation")
    return (codes[0], codes[1]) if len(codes) == 2 and all(codes) else None


def is_sagittal(runs: tuple[str, str] | None) -> bool:
    """Whether rows or columns run from back to front, as in a lateral view."""
    return runs is not None and any(run[0] in "AP" for run in runs)


def orientation_warnings(runs: tuple[str, str] | None) -> tuple[str, ...]:
    """What is odd about a frontal image that lies so; nothing is turned."""
    if runs is None:
        return ()
    text = f"PatientOrientation says that rows run to {runs[0]}, columns to {runs[1]}"
    if is_sagittal(runs):
        return (f"{text}, as in a lateral view",)
    row, column = runs[0][0], runs[1][0]
    if row in "HF" or column in "LR" or column == "H":
        return (f"{text}: the image is turned; it is read as it is stored",)
    if row == "R":
        return (f"{text}: the image is mirrored; it is read as it is stored",)
    return ()


def description_warnings(header: Header, seen: str | None) -> tuple[str, ...]:
    """A series that is described as lateral and as nothing else, of an image that passes."""
    words = set(re.findall(r"[A-Z]+", (header.text("SeriesDescription") or "").upper()))
    if seen in LATERAL or not words & LATERAL or words & FRONTAL_WORDS:
        return ()
    view = f"ViewPosition is {seen}" if seen else "no view is stored"
    return (f"its series is described as lateral, {view}; it is read as a frontal one",)


class Spacing(NamedTuple):
    """Between pixels, as a header gives it."""

    mm: tuple[float, float] | None  # row, column
    keyword: str | None  # of the element it stands in
    warnings: tuple[str, ...]  # what had to be passed over


def spacing(header: Header) -> Spacing:
    """The first usable of three, in the order of how well they fit the patient's plane."""
    warnings: tuple[str, ...] = ()
    for keyword in SPACINGS:
        numbers = header.numbers(keyword)
        if numbers == ():
            continue
        if numbers is None or len(numbers) != 2 or min(numbers) <= 0:
            warnings += (f"{keyword} is no two distances: not used",)
            continue
        if POSSIBLE_MM[0] <= min(numbers) and max(numbers) <= POSSIBLE_MM[1]:
            own = (numbers[0], numbers[1])
            return Spacing(own, keyword, warnings + _beyond_detector(header, keyword, own))
        shown = " x ".join(f"{number:g}" for number in numbers)
        warnings += (f"{keyword} is {shown} mm, which no radiograph has: not used",)
    return Spacing(None, None, warnings)


def _beyond_detector(header: Header, keyword: str, mm: tuple[float, float]) -> tuple[str, ...]:
    """A patient is nearer to the tube than the detector: what is seen is smaller, not larger."""
    there = header.numbers("ImagerPixelSpacing") or ()
    if keyword != "PixelSpacing" or len(there) != 2 or min(there) <= 0:
        return ()
    if all(own <= SQUARE * other for own, other in zip(mm, there, strict=True)):
        return ()
    text = f"PixelSpacing ({mm[0]:g} mm) is larger than ImagerPixelSpacing ({there[0]:g} mm)"
    return (f"{text}: sizes in mm may be wrong",)


def field_warnings(header: Header, spacing_mm: tuple[float, float] | None) -> tuple[str, ...]:
    """Whether the spacing makes the image larger than detectors are, or than a hand."""
    if spacing_mm is None:
        return ()
    sides = [
        spacing * header.integer(keyword, 0)
        for spacing, keyword in zip(spacing_mm, ("Rows", "Columns"), strict=True)
    ]
    small = header.integer("Rows", 0) >= WHOLE_PX and max(sides) < FIELD_MM[0]
    if not small and max(sides) <= FIELD_MM[1]:
        return ()
    high, wide = sides
    return (f"by its spacing the image is {high:.0f} x {wide:.0f} mm: sizes in mm may be wrong",)


def shape_warnings(header: Header, spacing_mm: tuple[float, float] | None) -> tuple[str, ...]:
    """Whether pixels are no squares, so that the image is squeezed, or two elements differ."""
    numbers = header.numbers("PixelAspectRatio") or ()
    ratio = (numbers[0], numbers[1]) if len(numbers) == 2 and min(numbers) > 0 else None
    high, wide = spacing_mm or ratio or (1.0, 1.0)
    warnings: tuple[str, ...] = ()
    if ratio is not None and not _same(ratio[0] * wide, ratio[1] * high):
        warnings += (
            f"PixelAspectRatio is {ratio[0]:g} to {ratio[1]:g}, its spacing {high:g} x {wide:g}: "
            "the spacing is used",
        )
    if not _same(high, wide):
        warnings += (
            f"its pixels are {high:g} high and {wide:g} wide: the image is squeezed, and is read "
            "as it is stored",
        )
    return warnings


def _same(high: float, wide: float) -> bool:
    return max(high, wide) <= SQUARE * min(high, wide)


def code_warnings(header: Header) -> tuple[str, ...]:
    """Views and regions that are written as a word and as a code, and are not one."""
    warnings: tuple[str, ...] = ()
    seen, coded = header.code("ViewPosition"), coded_view(header)
    if seen and coded and (seen in LATERAL) != (coded in LATERAL):
        warnings += (f"ViewPosition is {seen}, its coded view {coded}",)
    part, region = header.code("BodyPartExamined"), coded_region(header)
    if part and region and bool(CHEST.search(part)) != bool(CHEST.search(region)):
        warnings += (f"BodyPartExamined is {part}, its coded region {region}",)
    return warnings
