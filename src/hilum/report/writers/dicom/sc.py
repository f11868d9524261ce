"""Secondary capture: the drawn result as a colour picture that every viewer shows.

The picture is the overlay of report/overlay, with its notice; it is scaled, so it carries no
pixel spacing: what is measured on it would be wrong.
"""

from __future__ import annotations

from highdicom.sc import SCImage
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from hilum.report.overlay import draw
from hilum.report.writers.dicom.analysis import NOTICE, Analysis

LOSSY = ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod")


def secondary_capture(analysis: Analysis) -> Dataset:
    """Boxes and outlines burned into an RGB picture, the notice on a strip below it."""
    source = analysis.source
    ds = SCImage(
        pixel_array=draw(
            analysis.radiograph, analysis.findings, analysis.pipeline.operating_points
        ),
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        study_instance_uid=source.StudyInstanceUID,
        patient_orientation=("L", "F"),  # replaced below
        **analysis.series("sc"),
    )
    ds.PatientOrientation = source.PatientOrientation
    ds.Laterality = source.get("Laterality", "")
    for keyword in ("BurnedInAnnotation", *LOSSY):
        if keyword in source:
            ds[keyword] = source[keyword]
    ds.DerivationDescription = NOTICE
    ds.SourceImageSequence = [_reference(source)]
    return analysis.finish(ds)


def _reference(source: Dataset) -> Dataset:
    purpose, item = Dataset(), Dataset()
    code = codes.DCM.SourceImageForImageProcessingOperation
    purpose.CodeValue, purpose.CodingSchemeDesignator = code.value, code.scheme_designator
    purpose.CodeMeaning = code.meaning
    item.ReferencedSOPClassUID = source.SOPClassUID
    item.ReferencedSOPInstanceUID = source.SOPInstanceUID
    item.PurposeOfReferenceCodeSequence = [purpose]
    return item
