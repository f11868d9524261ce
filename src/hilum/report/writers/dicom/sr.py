"""Structured report: TID 1500 with one TID 1410 group a finding.

What is said of the whole image stands in its container of qualitative evaluations, and not in
groups of TID 1501: a group without a region makes OHIF 3.13 fail on the whole report.

Boxes are SCOORD in pixels of the stored matrix. A projection has no frame of reference, so there
is no SCOORD3D, in Comprehensive 3D SR neither. The report is preliminary and unverified.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from highdicom.sr import (
    CodeContentItem,
    Comprehensive3DSR,
    ComprehensiveSR,
    ContainerContentItem,
    ContentItem,
    ContentSequence,
    CoordinatesForMeasurement,
    DeviceObserverIdentifyingAttributes,
    ImageContentItem,
    ImageRegion,
    LanguageOfContentItemAndDescendants,
    Measurement,
    ObservationContext,
    ObserverContext,
    PlanarROIMeasurementsAndQualitativeEvaluations,
    RelationshipTypeValues,
    SourceImageForRegion,
    TextContentItem,
    TrackingIdentifier,
)
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from hilum.dicom.stored import OWN_MARK
from hilum.report.overlay import NONE_FOUND
from hilum.report.writers.dicom import codes as our
from hilum.report.writers.dicom.analysis import (
    ADVICE,
    NOTICE,
    VERSION,
    Analysis,
    derived_uid,
)

CONTAINS = RelationshipTypeValues.CONTAINS
CONCEPT_MOD = RelationshipTypeValues.HAS_CONCEPT_MOD


def comprehensive_3d(analysis: Analysis) -> Dataset:
    """Comprehensive 3D SR, the class of IHE AI Results."""
    return _write(analysis, Comprehensive3DSR, "sr")


def comprehensive(analysis: Analysis) -> Dataset:
    """Comprehensive SR, for archives that do not know the 3D class."""
    return _write(analysis, ComprehensiveSR, "sr-comprehensive")


def _write(analysis: Analysis, document: type[Any], kind: str) -> Dataset:
    findings = [
        item for index in range(len(analysis.findings.labels)) for item in _finding(analysis, index)
    ]
    parts: list[Any] = [
        *LanguageOfContentItemAndDescendants(our.ENGLISH),
        *_observer(analysis),
        CodeContentItem(codes.DCM.ProcedureReported, our.CHEST_XRAY, CONCEPT_MOD),
        _library(analysis.source),
        *([_container(codes.DCM.ImagingMeasurements, findings)] if findings else []),
        _image_level(analysis),
        *(TextContentItem(our.COMMENT, text, CONTAINS) for text in _remarks(analysis)),
    ]
    root = ContainerContentItem(codes.DCM.ImagingMeasurementReport, template_id="1500")
    root.ContentSequence = ContentSequence(parts)
    ds = document(
        evidence=[analysis.source],
        content=ContentSequence([root], is_root=True),
        is_complete=True,
        is_final=False,
        is_verified=False,
        coding_schemes=our.SCHEMES,
        **analysis.series(kind),
    )
    return analysis.finish(ds)


def _observer(analysis: Analysis) -> ObservationContext:
    """TID 1001: a device, the pipeline."""
    device = DeviceObserverIdentifyingAttributes(
        uid=derived_uid("device", analysis.pipeline_hash),
        name=OWN_MARK,
        manufacturer_name=OWN_MARK,
        model_name=f"{OWN_MARK} {VERSION}",
        serial_number=analysis.pipeline_hash[:16],
    )
    return ObservationContext(
        observer_device_context=ObserverContext(
            observer_type=codes.DCM.Device, observer_identifying_attributes=device
        )
    )


def _finding(analysis: Analysis, index: int) -> Any:
    """TID 1410: the box, what it is, how surely, and who says so."""
    name, uid = analysis.tracking(index)
    source, corners = analysis.source, analysis.corners(index)
    image = SourceImageForRegion(source.SOPClassUID, source.SOPInstanceUID)
    certainty = _certainty(float(analysis.findings.scores[index]))
    group = PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(uid=uid, identifier=name),
        referenced_region=ImageRegion("POLYLINE", corners, source_image=image),
        finding_type=our.concept(analysis.findings.labels[index]),
        geometric_purpose=our.BOUNDED_BY,
        algorithm_id=our.algorithm(analysis),
        measurements=[certainty],
    )
    # Viewers find the region of a measurement only in the measurement itself (TID 320).
    certainty[0].ContentSequence = ContentSequence(
        [CoordinatesForMeasurement("POLYLINE", corners, source_image=image)]
    )
    return group


def _certainty(score: float) -> Measurement:
    return Measurement(our.CERTAINTY, round(100 * score, 4), our.PERCENT)


def _image_level(analysis: Analysis) -> ContentItem:
    """What is said of the whole image: a summary, and each score as a certainty."""
    findings = analysis.findings
    summary = our.SOME_ABOVE if findings.marked else our.NONE_ABOVE
    items: list[Any] = [*our.algorithm(analysis), CodeContentItem(our.SUMMARY, summary, CONTAINS)]
    for name, score in findings.image_scores.items():
        # The number comes first: a code for the finding would read as if it were there.
        number = _certainty(float(score))[0]
        number.ContentSequence = ContentSequence(
            [CodeContentItem(codes.DCM.Finding, our.concept(name), CONCEPT_MOD)]
        )
        items.append(number)
    return _container(our.EVALUATIONS, items)


def _remarks(analysis: Analysis) -> list[str]:
    count = len(analysis.findings.marked)
    some = f"{count} target finding{'s' * (count > 1)} above the threshold"
    lines = [f"{NOTICE}. {ADVICE}", f"{some if count else NONE_FOUND}."]
    if analysis.left_out:
        lines.append(f"Invalid in the source and left out here: {', '.join(analysis.left_out)}.")
    return lines


def _library(source: Dataset) -> ContentItem:
    """TID 1600 with the source image; its descriptors are those that the header really has."""
    image = ImageContentItem(
        our.code("260753009", "SCT", "Source"),
        source.SOPClassUID,
        source.SOPInstanceUID,
        relationship_type=CONTAINS,
    )
    group = _container(codes.DCM.ImageLibraryGroup, [image])
    return _container(codes.DCM.ImageLibrary, [group], "1600")


def _container(name: Any, items: Iterable[Any], template: str | None = None) -> ContentItem:
    out = ContainerContentItem(name, template_id=template, relationship_type=CONTAINS)
    out.ContentSequence = ContentSequence(list(items))
    return out
