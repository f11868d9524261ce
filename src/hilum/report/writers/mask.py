"""Masks at source size, one file each: PNG of 1 bit, which every reader opens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import cv2
import numpy as np

from hilum.core.options import Options

if TYPE_CHECKING:
    from hilum.core.radiograph import Radiograph
    from hilum.core.results import ImageResult, PipelineInfo


class MaskWriter(Options):
    """`core.results.masks_of` reads them back."""

    suffix: ClassVar[str] = ".png"

    def __call__(
        self, stored: Any, radiograph: Radiograph, result: ImageResult, pipeline: PipelineInfo
    ) -> Mapping[str, bytes]:
        masks = result.findings.masks if result.findings else {}
        # Level 1: these masks are mostly empty rows; higher levels save a tenth at twice the time.
        options = [cv2.IMWRITE_PNG_BILEVEL, 1, cv2.IMWRITE_PNG_COMPRESSION, 1]
        out = {}
        for name, mask in masks.items():
            _, content = cv2.imencode(".png", mask.view(np.uint8), options)
            out[name] = content.tobytes()
        return out
