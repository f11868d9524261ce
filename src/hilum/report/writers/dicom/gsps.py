"""Grayscale softcopy presentation state: boxes and words that a viewer lays over the source.

The grey scale is the one the analysis saw, inversion too: a presentation state overrides
MONOCHROME1 (PS3.4 N.2).
"""

from __future__ import annotations

from highdicom import PresentationLUTTransformation
from highdicom.pr import (
    GraphicAnnotation,
    GraphicLayer,
    GraphicObject,
    GrayscaleSoftcopyPresentationState,
    TextObject,
)
from pydicom.dataset import Dataset

from hilum.core.errors import NotWritten
from hilum.core.labels import VOCABULARY
from hilum.report.overlay import NONE_FOUND
from hilum.report.writers.dicom.analysis import NOTICE, Analysis

FOOT = (0.02, 0.94, 0.98, 0.99)  # of the displayed area: left, top, right, bottom


def presentation_state(analysis: Analysis) -> Dataset:
    """Boxes with labels and scores, and the notice below.

    Raises:
        NotWritten: the source is stored in colour.
    """
    source = analysis.source
    if source.SamplesPerPixel != 1:
        raise NotWritten("The source is stored in colour; needed: one sample a pixel. Ask for sc.")
    layer = GraphicLayer("AI_RESULT", order=1, description=NOTICE)
    ds = GrayscaleSoftcopyPresentationState(
        referenced_images=[source],
        content_label="AI_RESULT",
        content_description=NOTICE,
        graphic_layers=[layer],
        graphic_annotations=[
            GraphicAnnotation(
                referenced_images=[source],
                graphic_layer=layer,
                graphic_objects=_boxes(analysis) or None,
                text_objects=_texts(analysis),
            )
        ],
        presentation_lut_transformation=PresentationLUTTransformation(
            presentation_lut_shape=source.PresentationLUTShape
        ),
        **analysis.series("gsps"),
    )
    if "ModalityLUTSequence" in source:
        ds.ModalityLUTSequence = source.ModalityLUTSequence
    area = ds.DisplayedAreaSelectionSequence[0]
    area.PresentationPixelAspectRatio = _aspect(analysis.radiograph.spacing_mm)
    ds.Laterality = source.get("Laterality", "")
    return analysis.finish(ds)


def _aspect(spacing_mm: tuple[float, float] | None) -> list[int]:
    """Height and width of a pixel, as whole numbers."""
    row, column = spacing_mm or (1.0, 1.0)
    return [1, 1] if row == column else [round(1000 * row / column), 1000]


def _boxes(analysis: Analysis) -> list[GraphicObject]:
    out = []
    for index in range(len(analysis.findings.labels)):
        name, uid = analysis.tracking(index)
        out.append(
            GraphicObject(
                "POLYLINE", analysis.corners(index), "PIXEL", tracking_id=name, tracking_uid=uid
            )
        )
    return out


def _texts(analysis: Analysis) -> list[TextObject]:
    findings = analysis.findings
    out = []
    for index, (label, score) in enumerate(zip(findings.labels, findings.scores, strict=True)):
        name, uid = analysis.tracking(index)
        text = VOCABULARY[label].text if label in VOCABULARY else label
        x1, y1 = analysis.corners(index)[0]
        out.append(
            TextObject(
                f"{text} {score:.2f}",
                "PIXEL",
                anchor_point=(float(x1), float(y1)),
                anchor_point_visible=False,
                tracking_id=name,
                tracking_uid=uid,
            )
        )
    foot = NOTICE if findings.marked else f"{NOTICE}. {NONE_FOUND}."
    return [*out, TextObject(foot, "DISPLAY", bounding_box=FOOT)]
