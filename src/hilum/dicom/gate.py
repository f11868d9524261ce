"""Is it a frontal chest radiograph, by its own header? Called apart from reading, so that
anything can be read and inspected. Knows nothing of pixels: predict/ has a gate that looks.
"""

from __future__ import annotations

import re
from typing import Protocol

from hilum.core.errors import NotChestRadiographRefused
from hilum.dicom.plane import CHEST, FRONTAL, LATERAL, is_sagittal

# Radiography, and what converted or captured radiographs are labelled with.
RADIOGRAPHY = frozenset(("CR", "DX", "DR", "RG", "RF", "OT", "SC"))

# Classes whose objects cannot be a chest radiograph, whatever their modality says.
OTHER_CLASSES = {
    "1.2.840.10008.5.1.4.1.1.1.2": "a mammogram",
    "1.2.840.10008.5.1.4.1.1.1.2.1": "a mammogram",
    "1.2.840.10008.5.1.4.1.1.1.3": "a dental radiograph",
    "1.2.840.10008.5.1.4.1.1.1.3.1": "a dental radiograph",
    "1.2.840.10008.5.1.4.1.1.2": "a CT slice",
    "1.2.840.10008.5.1.4.1.1.2.1": "a CT slice",
    "1.2.840.10008.5.1.4.1.1.4": "an MR slice",
    "1.2.840.10008.5.1.4.1.1.4.1": "an MR slice",
    "1.2.840.10008.5.1.4.1.1.6.1": "an ultrasound image",
    "1.2.840.10008.5.1.4.1.1.20": "a nuclear medicine image",
    "1.2.840.10008.5.1.4.1.1.128": "a PET slice",
}

# Limbs and teeth only, no chest image shows. SKULL, ABDOMEN, PORT CHEST, THORAX ... stay: real
# chest sets carry wrong values (57 images of SIIM-COVID say SKULL), and the gate on pixels looks
# at them anyway.
# fmt: off
LIMBS = frozenset((
    "EXTREMITY", "HAND", "WRIST", "FOREARM", "ELBOW", "ARM", "HUMERUS", "FINGER", "THUMB",
    "UPPERLIMB", "FOOT", "FEET", "ANKLE", "LEG", "LOWERLEG", "KNEE", "PATELLA", "FEMUR", "THIGH",
    "TOE", "CALCANEUS", "HEEL", "LOWERLIMB", "JAW", "MANDIBLE", "TEETH", "TOOTH", "DENTAL",
    "BREAST",
))
# fmt: on
# Descriptions are typed by people: a C-arm, a line in an arm, a breast cancer long ago.
DESCRIBED = LIMBS - {"ARM", "BREAST"}


class Described(Protocol):
    """A StoredImage, whose pixels are not decoded yet, or a Radiograph built in Python."""

    @property
    def source(self) -> str: ...
    @property
    def modality(self) -> str | None: ...
    @property
    def view(self) -> str | None: ...
    @property
    def body_part(self) -> str | None: ...
    @property
    def descriptions(self) -> tuple[str, ...]: ...
    @property
    def patient_orientation(self) -> tuple[str, str] | None: ...
    @property
    def sop_class(self) -> str | None: ...
    @property
    def own_result(self) -> bool: ...


def check_chest_header(image: Described) -> None:
    """Refuse what its own header says is no frontal chest radiograph; needs no pixels.

    Images without a header (PNG, arrays) pass. Values the header lacks pass.

    Raises:
        NotChestRadiographRefused: another modality, object class, view or body part, or one of
            our own results.
    """
    reason = chest_header_reason(image)
    if reason:
        raise NotChestRadiographRefused(
            image.source,
            f"by its own header it is {reason}.",
            "Only frontal chest radiographs are analysed.",
        )


def chest_header_reason(image: Described) -> str | None:
    """What it is instead, in words; None when nothing speaks against a chest image."""
    if image.own_result:
        return "a result of hilum"
    if image.sop_class in OTHER_CLASSES:
        return OTHER_CLASSES[image.sop_class]
    if image.modality and image.modality not in RADIOGRAPHY:
        return f"of modality {image.modality}"
    if image.view in LATERAL:
        return f"a lateral view ({image.view})"
    if is_sagittal(image.patient_orientation) and image.view not in FRONTAL:
        return f"a lateral view (PatientOrientation {'/'.join(image.patient_orientation or ())})"
    part = (image.body_part or "").replace(" ", "").replace("_", "")
    if part in LIMBS:
        return f"of another part of the body ({image.body_part})"
    word = _described_part(image)
    if word:
        return f"described as of another part of the body ({word})"
    return None


def _described_part(image: Described) -> str | None:
    """The part that the descriptions name, one word: the rest of them may hold names.

    Nothing where the body part or any description says chest: "chest and hand" is one study.
    """
    text = " ".join(image.descriptions)
    if CHEST.search(f"{image.body_part or ''} {text}"):
        return None
    words = re.findall(r"[^\W\d_]+", text.upper())
    return next((w for w in words if w in DESCRIBED or w.removesuffix("S") in DESCRIBED), None)
