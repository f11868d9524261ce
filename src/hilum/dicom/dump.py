"""Every element of a header as text, identifiers hidden. Knows which values are harmless: it
shows what is on a list and hides the rest, so an unknown or private element never leaks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

from pydicom.datadict import dictionary_description, dictionary_has_tag, keyword_for_tag
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence
from pydicom.uid import UID

from hilum.dicom.header import quiet
from hilum.dicom.stored import StoredImage

HIDDEN = "(hidden)"
_LONGEST = 120
_HARMLESS = re.compile(r"[A-Z0-9_ ]{0,16}|[0-9.]{1,64}|ISO.IR \d+")
_NUMBER = re.compile(r" *[-+0-9.eE]{0,24} *")

# Numbers are shown from the groups that describe acquisition and pixels, and code strings and
# UIDs of object classes where the standard enumerates them.
_OPEN_GROUPS = frozenset((0x0018, 0x0028, 0x2050))
_OPEN_VRS = frozenset(("US", "SS", "UL", "SL", "FL", "FD", "DS", "IS"))
_OPEN_KEYWORDS = frozenset(
    (
        "SpecificCharacterSet",
        "ImageType",
        "SOPClassUID",
        "Modality",
        "ConversionType",
        "PresentationIntentType",
        "BodyPartExamined",
        "ViewPosition",
        "PatientSex",
        "PatientAge",
        "PatientOrientation",
        "Laterality",
        "ImageLaterality",
        "FieldOfViewHorizontalFlip",
        "FieldOfViewRotation",
        "PhotometricInterpretation",
        "PresentationLUTShape",
        "VOILUTFunction",
        "LossyImageCompression",
        "LossyImageCompressionMethod",
        "BurnedInAnnotation",
        "RescaleType",
        "ShutterShape",
        "PixelSpacingCalibrationType",
        "DetectorType",
    )
)


def syntax_name(uid: str | None) -> str:
    """A transfer syntax in words; an unknown UID as it is."""
    return UID(uid).name if uid else "no transfer syntax"


def elements(stored: StoredImage, show_identifiers: bool = False) -> list[dict[str, Any]]:
    """The elements before the pixels, nested ones with their depth in the tag.

    Empty for images that are no DICOM.
    """
    with quiet():
        # Looking converts elements; the header's own stay raw.
        return list(_walk(deepcopy(stored.header.dataset), show_identifiers, ""))


def _walk(dataset: Dataset, show: bool, indent: str) -> Iterator[dict[str, Any]]:
    for tag in sorted(dataset.keys()):
        try:
            element = dataset[tag]
        except (MemoryError, RecursionError):
            raise
        except Exception as error:  # noqa: BLE001  converters of hostile bytes raise anything
            value = f"(unreadable: {type(error).__name__})"
            yield {"tag": indent + str(tag), "vr": "??", "name": _name(tag), "value": value}
            continue
        is_sequence = isinstance(element.value, Sequence)
        yield {
            "tag": indent + str(tag),
            "vr": str(element.VR),
            "name": _name(tag),
            "value": f"{len(element.value)} items" if is_sequence else _value(element, show),
        }
        if is_sequence:
            for item in element.value:
                yield from _walk(item, show, indent + ">")


def _name(tag: Any) -> str:
    return str(dictionary_description(tag)) if dictionary_has_tag(tag) else "Unknown or private"


def _value(element: Any, show: bool) -> str:
    if element.value in (None, "", b""):
        return ""
    if not show and not _is_open(element):
        return HIDDEN
    if isinstance(element.value, bytes):
        return f"{len(element.value)} bytes"
    text = str(element.value)
    return text if len(text) <= _LONGEST else text[:_LONGEST] + " …"


def _is_open(element: Any) -> bool:
    values = element.value if isinstance(element.value, MultiValue) else [element.value]
    if keyword_for_tag(element.tag) in _OPEN_KEYWORDS:
        return all(_HARMLESS.fullmatch(str(value)) for value in values)
    return (
        element.tag.group in _OPEN_GROUPS
        and element.VR in _OPEN_VRS
        and dictionary_has_tag(element.tag)
        and all(_NUMBER.fullmatch(str(value)) for value in values)
    )
