"""Structured report: TID 1500 with one TID 1410 group a finding, one TID 1501 group a score.

Boxes are SCOORD in pixels of the stored matrix. A projection has no frame of reference, so there
is no SCOORD3D, in Comprehensive 3D SR neither. The report is preliminary and unverified.
"""

from __future__ import annotations

from typing import Any

from highdicom.sr import (
    Comprehensive3DSR,
    ComprehensiveSR,
    ContainerContentItem,
    ContentItem,
    ContentSequence,
    CoordinatesForMeasurement,
    DeviceObserverIdentifyingAttributes,
    ImageContentItem,
    ImageRegion,
    Measurement,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    ObservationContext,
    ObserverContext,
    PlanarROIMeasurementsAndQualitativeEvaluations,
    QualitativeEvaluation,
    RelationshipTypeValues,
    SourceImageForMeasurementGroup,
    SourceImageForRegion,
    TextContentItem,
    TrackingIdentifier,
)
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from hilum.dicom.stored import OWN_MARK
from hilum.report.writers.dicom import codes as our
from hilum.report.writers.dicom.analysis import (
    ADVICE,
    NONE_FOUND,
    NOTICE,
    VERSION,
    Analysis,
    derived_uid,
)

CONTAINS = RelationshipTypeValues.CONTAINS


def comprehensive_3d(analysis: Analysis) -> Dataset:
    """Comprehensive 3D SR, the class of IHE AI Results."""
    return _write(analysis, Comprehensive3DSR, "sr")


def comprehensive(analysis: Analysis) -> Dataset:
    """Comprehensive SR, for archives that do not know the 3D class."""
    return _write(analysis, ComprehensiveSR, "sr-comprehensive")


def _write(analysis: Analysis, document: type[Any], kind: str) -> Dataset:
    root = MeasurementReport(
        observation_context=_observer(analysis),
        procedure_reported=our.CHEST_XRAY,
        imaging_measurements=[
            *(_finding(analysis, index) for index in range(len(analysis.findings.labels))),
            *_image_level(analysis),
        ],
        title=codes.DCM.ImagingMeasurementReport,
    )
    content = root[0].ContentSequence
    content.append(_library(analysis.source))
    content.extend(_comment(text) for text in _remarks(analysis))
    ds = document(
        evidence=[analysis.source],
        content=root,
        is_complete=True,
        is_final=False,
        is_verified=False,
        coding_schemes=our.SCHEMES,
        **analysis.series(kind),
    )
    return analysis.finish(ds)


def _observer(analysis: Analysis) -> ObservationContext:
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


def _image_level(analysis: Analysis) -> list[MeasurementsAndQualitativeEvaluations]:
    """What is said of the whole image: a summary, and each score."""
    source, found = analysis.source, analysis.findings
    summary = our.SOME_ABOVE if found.labels else our.NONE_ABOVE
    common: dict[str, Any] = {
        "source_images": [
            SourceImageForMeasurementGroup(source.SOPClassUID, source.SOPInstanceUID)
        ],
        "algorithm_id": our.algorithm(analysis),
    }
    groups = [
        MeasurementsAndQualitativeEvaluations(
            tracking_identifier=TrackingIdentifier(analysis.uid("summary"), "image"),
            qualitative_evaluations=[QualitativeEvaluation(our.SUMMARY, summary)],
            **common,
        )
    ]
    for name, score in found.image_scores.items():
        groups.append(
            MeasurementsAndQualitativeEvaluations(
                tracking_identifier=TrackingIdentifier(
                    analysis.uid("score", name), f"image score {name}"
                ),
                finding_type=our.concept(name),
                measurements=[_certainty(float(score))],
                **common,
            )
        )
    return groups


def _remarks(analysis: Analysis) -> list[str]:
    count = len(analysis.findings.labels)
    some = f"{count} target finding{'s' * (count > 1)} above the threshold"
    lines = [f"{NOTICE}. {ADVICE}", f"{some if count else NONE_FOUND}."]
    if analysis.left_out:
        lines.append(f"Invalid in the source and left out here: {', '.join(analysis.left_out)}.")
    return lines


def _comment(text: str) -> ContentItem:
    return TextContentItem(our.COMMENT, text, CONTAINS)


def _library(source: Dataset) -> ContentItem:
    """TID 1600 with the source image; its descriptors are those that the header really has."""
    image = ImageContentItem(
        our.code("260753009", "SCT", "Source"),
        source.SOPClassUID,
        source.SOPInstanceUID,
        relationship_type=CONTAINS,
    )
    group = ContainerContentItem(codes.DCM.ImageLibraryGroup, relationship_type=CONTAINS)
    group.ContentSequence = ContentSequence([image])
    library = ContainerContentItem(
        codes.DCM.ImageLibrary, template_id="1600", relationship_type=CONTAINS
    )
    library.ContentSequence = ContentSequence([group])
    return library
