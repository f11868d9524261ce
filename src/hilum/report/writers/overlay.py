"""Findings burned into a picture with the notice, for where no page can be shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from hilum.core.options import Options
from hilum.report.drawing import encoded

if TYPE_CHECKING:
    from hilum.dicom.analysed import Analysed


class OverlayWriter(Options):
    """PNG, at most 1600 px long."""

    suffix: ClassVar[str] = ".png"

    def __call__(self, image: Analysed) -> Mapping[str, bytes]:
        from hilum.report.overlay import draw

        if image.result.findings is None:
            return {}
        points = image.pipeline.operating_points
        return {"overlay": encoded(draw(image.radiograph, image.result.findings, points))}
