"""The finding vocabulary and its codes. Knows no model and no data set.

Codes: SNOMED CT where DICOM PS3.16 uses it, DICOM (DCM) for chest CAD concepts (CID 6101),
RadLex as an alternative for reports.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Code:
    """A coded concept: `value` in coding scheme `scheme` (SCT, DCM, RADLEX)."""

    value: str
    scheme: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Label:
    """A finding or structure by the name used in results, with its codes and drawing colour."""

    name: str
    text: str
    code: Code
    colour_rgb: tuple[int, int, int]


AMBER = (255, 176, 0)


def _sct(value: str, meaning: str) -> Code:
    return Code(value, "SCT", meaning)


# Classes that a model needs beside its findings. Their scores stay in findings.json and are shown
# nowhere: beside an image they would read as a verdict.
NOT_SHOWN = frozenset(("normal", "not-normal"))
# Masks that everybody has: no findings.
ANATOMY = frozenset(("lungs", "lungs_full"))

# Targets of training that no bundle shows: another convention of a mask that is shown.
AUXILIARY = frozenset(("lungs_full",))

# Names with codes and colours of their own; of others a result says the name (`is_name`).
VOCABULARY: dict[str, Label] = {
    name: Label(name=name, text=text, code=code, colour_rgb=colour)
    for name, text, code, colour in (
        ("opacity", "Lung opacity", _sct("128305008", "Abnormally opaque structure"), AMBER),
        (
            "ground-glass",
            "Ground-glass opacity",
            Code("112120", "DCM", "Ground glass opacity"),
            (255, 210, 90),
        ),
        (
            "consolidation",
            "Consolidation",
            _sct("95436008", "Lung consolidation"),
            (255, 120, 60),
        ),
        ("pneumonia", "Pneumonia", _sct("233604007", "Pneumonia"), AMBER),
        ("covid-19", "COVID-19", _sct("840539006", "COVID-19"), AMBER),
        ("pneumothorax", "Pneumothorax", _sct("36118008", "Pneumothorax"), (90, 180, 255)),
        ("effusion", "Pleural effusion", _sct("60046008", "Pleural effusion"), (170, 140, 255)),
        ("lungs", "Lungs", _sct("39607008", "Lung"), (70, 210, 200)),
    )
}


def is_name(name: str) -> bool:
    """Whether a finding or a mask may be called so: file names and codes are made of it."""
    return re.fullmatch(r"\w[\w .+-]{0,62}\w|\w", name) is not None


def label(name: str) -> Label:
    """The vocabulary entry of `name`.

    Raises:
        KeyError: naming the known labels.
    """
    try:
        return VOCABULARY[name]
    except KeyError:
        raise KeyError(f"unknown label {name!r}; known: {', '.join(VOCABULARY)}") from None
