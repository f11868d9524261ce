"""The radiograph as a picture of moderate size without a mark: what the page shows and draws on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from hilum.core.options import Options
from hilum.report.drawing import contrast

if TYPE_CHECKING:
    from hilum.core.radiograph import Radiograph
    from hilum.dicom.analysed import Analysed


class PictureWriter(Options):
    """JPEG of 8 bit. Small radiographs keep their size: the page enlarges them."""

    suffix: ClassVar[str] = ".jpg"
    side: int = Field(default=1024, ge=64, le=8192)  # longest, px
    quality: int = Field(default=80, ge=1, le=100)

    def __call__(self, image: Analysed) -> Mapping[str, bytes]:
        grey = picture(image.radiograph, self.side)
        _, content = cv2.imencode(".jpg", grey, [cv2.IMWRITE_JPEG_QUALITY, self.quality])
        return {"picture": content.tobytes()}


def picture(radiograph: Radiograph, side: int) -> NDArray[np.uint8]:
    """(h, w) uint8, at most `side` long, contrast stretched between percentiles."""
    low, high = contrast(radiograph)
    gain = 255 / max(high - low, 1e-6)
    # One pass over the pixels: times a gain, plus an offset, rounded and saturated to 8 bit.
    pixels = radiograph.pixels
    grey = cv2.addWeighted(pixels, gain, pixels, 0.0, -low * gain, dtype=cv2.CV_8U)
    return shrunk(np.asarray(grey, np.uint8), side)


def shrunk(grey: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """(h, w) at most `side` long; smaller ones as they are."""
    scale = side / max(grey.shape)
    if scale < 1:
        size = max(1, round(grey.shape[1] * scale)), max(1, round(grey.shape[0] * scale))
        grey = np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), np.uint8)
    return grey
