"""Masks as a binary segmentation, one segment a mask, at the size of the stored matrix.

A mask without a pixel is written too: nothing found is an answer. Pixel spacing is written only
where the source says it for the patient's plane (PixelSpacing): an invented spacing would turn
pixels into square millimetres. (OHIF 3.13 shows no segmentation without a spacing.)
"""

from __future__ import annotations

import numpy as np
from highdicom import AlgorithmIdentificationSequence
from highdicom.color import CIELabColor
from highdicom.content import PlaneOrientationSequence
from highdicom.seg import SegmentAlgorithmTypeValues, Segmentation, SegmentDescription
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from hilum.core.errors import NotWritten
from hilum.core.labels import VOCABULARY
from hilum.report.writers.dicom import codes as our
from hilum.report.writers.dicom.analysis import NOTICE, Analysis

STRUCTURES = frozenset(("lungs",))  # what every chest has; all other masks are findings
# A projection has no plane in the patient, and no frame of reference is named. Viewers put images
# without an orientation on this plane, and a segmentation beside them only where it says the same.
GRID = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def segmentation(analysis: Analysis) -> Dataset:
    """All masks of the image.

    Raises:
        NotWritten: the pipeline made no masks.
    """
    masks, source = analysis.findings.masks, analysis.source
    if not masks:
        raise NotWritten("The result has no masks; needed: a pipeline that outlines.")
    ds = Segmentation(
        source_images=[source],
        pixel_array=np.stack(list(masks.values()), axis=-1)[None],
        segmentation_type="BINARY",
        segment_descriptions=[
            _segment(analysis, number, name) for number, name in enumerate(masks, 1)
        ],
        content_label="AI_RESULT",
        content_description=NOTICE,
        omit_empty_frames=False,
        **analysis.series("seg"),
    )
    ds.PatientOrientation = source.PatientOrientation
    for item in (*ds.DimensionOrganizationSequence, *ds.DimensionIndexSequence):
        item.DimensionOrganizationUID = analysis.uid("seg", "dimensions")  # random otherwise
    shared = ds.SharedFunctionalGroupsSequence[0]
    if "PixelSpacing" in source:
        measures = Dataset()
        measures.PixelSpacing = source.PixelSpacing
        shared.PixelMeasuresSequence = [measures]
    shared.PlaneOrientationSequence = PlaneOrientationSequence("PATIENT", GRID)
    return analysis.finish(ds)


def _segment(analysis: Analysis, number: int, name: str) -> SegmentDescription:
    known = VOCABULARY.get(name)
    algorithm, version = our.algorithm_name(analysis.pipeline)
    return SegmentDescription(
        segment_number=number,
        segment_label=(known.text if known else name)[:64],
        segmented_property_category=our.BODY_STRUCTURE if name in STRUCTURES else our.ABNORMAL,
        segmented_property_type=our.concept(name),
        algorithm_type=SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=AlgorithmIdentificationSequence(
            name=algorithm[:64],
            family=codes.cid7162.ArtificialIntelligence,
            version=version or analysis.pipeline_hash,
        ),
        tracking_id=f"mask {name}",
        tracking_uid=analysis.uid("mask", name),
        display_color=CIELabColor.from_rgb(*(known.colour_rgb if known else (255, 255, 255))),
    )
