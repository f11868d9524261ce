"""The header of the source image -> what its results inherit, all of it valid.

A result stands in the patient and the study of its source and refers to it by its identifiers.
Where these are missing or invalid there is no such object: the archive could not hold the source
under them either, and made-up ones would open a study that nobody has. Other values that break
their representation are left out and named. Knows nothing of results.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from pydicom import config
from pydicom._uid_dict import UID_dictionary
from pydicom.datadict import dictionary_VR
from pydicom.dataset import Dataset
from pydicom.valuerep import DS, validate_value

from hilum.core.errors import NotWritten
from hilum.core.radiograph import Radiograph
from hilum.dicom.header import Header, quiet
from hilum.dicom.stored import StoredImage
from hilum.report.writers.dicom.display import add_display

# Attributes of patient and study that a result must have, and may leave empty (type 2).
REQUIRED = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime"),
    *("ReferringPhysicianName", "StudyID", "AccessionNumber"),
)
OPTIONAL = (
    *("IssuerOfPatientID", "PatientAge", "StudyDescription", "PatientIdentityRemoved"),
    *("DeidentificationMethod", "LongitudinalTemporalInformationModified"),
)
IMAGE = ("Modality", "Laterality", "BurnedInAnnotation")
IDENTITY = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
CODES = {
    "PatientSex": ("M", "F", "O"),
    "Laterality": ("R", "L"),
    "BurnedInAnnotation": ("YES", "NO"),
    "LossyImageCompression": ("00", "01"),
    "PatientIdentityRemoved": ("YES", "NO"),
    "LongitudinalTemporalInformationModified": ("UNMODIFIED", "MODIFIED", "REMOVED"),
}
LOSSY = re.compile(r"JPEG Baseline|JPEG Extended|Lossy|Near-Lossless|Lossless Or")
_UID = re.compile(r"[0-2](\.(0|[1-9][0-9]*))+")
_REMEDY = "needed: one that an archive can hold. `hilum deidentify` writes copies with valid ones."


@dataclass(frozen=True, slots=True)
class Source:
    """What results inherit. highdicom sees `image` alone: it quotes names in warnings."""

    image: Dataset  # identifiers and the image's description; patient and study are empty
    patient: Dataset  # attributes of patient and study, text in UTF-8
    left_out: tuple[str, ...]  # keywords whose values break their representation


def source_of(stored: StoredImage | None, radiograph: Radiograph) -> Source:
    """Read and check the header.

    Raises:
        NotWritten: no DICOM image, or identifiers that are missing or invalid.
    """
    if stored is None or stored.kind != "dicom":
        came = "made in memory" if stored is None else f"a {stored.kind.upper()} image"
        raise NotWritten(
            f"The source is {came}; needed: a DICOM image, whose study the object would join."
        )
    image, patient = Dataset(), Dataset()
    with quiet():
        _identity(image, stored)
        left_out = _copy(patient, stored.header, (*REQUIRED, *OPTIONAL))
        left_out += _copy(image, stored.header, IMAGE)
        _picture(image, stored.header, radiograph)
        add_display(image, stored.header, radiograph.decoding.bits_stored)
    for keyword in REQUIRED:
        setattr(image, keyword, "")
        if keyword not in patient:
            setattr(patient, keyword, "")
    if "DeidentificationMethod" not in patient and "PatientIdentityRemoved" in patient:
        del patient.PatientIdentityRemoved  # valid together only (1C)
    return Source(image, patient, tuple(left_out))


def _copy(ds: Dataset, header: Header, keywords: Iterable[str]) -> list[str]:
    """Set what is valid; the keywords of what is not."""
    left_out = []
    for keyword in keywords:
        value = _value(header, keyword)
        if value is not None:
            setattr(ds, keyword, value)
        elif header.value_bytes(keyword).strip(b" \0"):
            left_out.append(keyword)
    return left_out


def _identity(ds: Dataset, stored: StoredImage) -> None:
    header = stored.header
    for keyword in IDENTITY:
        value = header.text(keyword) or ""
        if not _UID.fullmatch(value) or len(value) > 64:
            came = "no valid" if value else "no"
            raise NotWritten(f"The source has {came} {keyword}; {_REMEDY}")
        setattr(ds, keyword, value)
    ds.SOPClassUID = header.text("SOPClassUID") or ""
    if UID_dictionary.get(ds.SOPClassUID, ("", ""))[1] != "SOP Class":
        raise NotWritten(f"The source is of no standard SOP class; {_REMEDY}")
    patient = header.text("PatientID")
    if patient is not None and _value(header, "PatientID") is None:
        # Cut or mended it would be another patient.
        raise NotWritten(f"The source has no valid PatientID; {_REMEDY}")


def _value(header: Header, keyword: str) -> str | None:
    """The text of an attribute, or None where it is absent, empty or invalid."""
    value = header.text(keyword)
    if value is None or value not in CODES.get(keyword, (value,)):
        return None
    vr = dictionary_VR(keyword)
    try:
        validate_value(vr, value, config.RAISE)
    except ValueError:
        return None
    unclean = vr != "PN" and "\\" in value  # one value, never two
    return None if unclean or not value.isprintable() else value


def _picture(ds: Dataset, header: Header, radiograph: Radiograph) -> None:
    ds.Rows, ds.Columns = radiograph.height, radiograph.width
    ds.SamplesPerPixel = header.integer("SamplesPerPixel", 1)
    ds.PhotometricInterpretation = radiograph.decoding.photometric
    inverted = (
        ds.PhotometricInterpretation == "MONOCHROME1"
        or header.code("PresentationLUTShape") == "INVERSE"
    )
    ds.PresentationLUTShape = "INVERSE" if inverted else "IDENTITY"
    ds.PatientOrientation = list(radiograph.patient_orientation or ())
    if radiograph.spacing_mm and radiograph.spacing_source == "PixelSpacing":
        ds.PixelSpacing = [DS(mm, auto_format=True) for mm in radiograph.spacing_mm]
    syntax = UID_dictionary.get(radiograph.decoding.transfer_syntax or "", ("",))[0]
    if _value(header, "LossyImageCompression") == "01" or LOSSY.search(syntax):
        _lossy(ds, header)


def _lossy(ds: Dataset, header: Header) -> None:
    """Once compressed with losses is so for ever, in what is derived too (C.7.6.1.1.5)."""
    ds.LossyImageCompression = "01"
    ratios = header.numbers("LossyImageCompressionRatio") or ()
    methods = header.codes("LossyImageCompressionMethod")
    if ratios and min(ratios) > 0:
        ds.LossyImageCompressionRatio = [DS(ratio, auto_format=True) for ratio in ratios]
    if methods and all(methods):
        ds.LossyImageCompressionMethod = list(methods)
