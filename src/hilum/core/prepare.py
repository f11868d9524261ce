"""Radiograph -> the tensor that a bundle sees. The one preprocessing path.

Training, prediction and service all call `prepare`; nothing else scales pixels for a network.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from hilum.core.errors import ConfigError
from hilum.core.geometry import Letterbox
from hilum.core.percentiles import percentiles
from hilum.core.radiograph import Radiograph, Window, check_window

Float32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """Everything that decides the tensor, as stored in a bundle's manifest."""

    size: int  # side of the square input, px
    mean: float = 0.5
    std: float = 0.5
    stretch: tuple[float, float] = (0.5, 99.5)  # percentiles of valid pixels sent to 0 and 1
    window: Window | None = None  # how radiographs are read (B1); None: as each file says

    def __post_init__(self) -> None:
        low, high = self.stretch
        if self.size < 32 or self.size % 32 or self.std <= 0 or not 0 <= low < high <= 100:
            raise ConfigError(
                f"preprocessing {self}: size must be a positive multiple of 32, std > 0, "
                "stretch two percentiles in order"
            )
        if self.window is not None:
            check_window(self.window)

    def to_json(self) -> dict[str, Any]:
        own = {
            "size": self.size,
            "mean": self.mean,
            "std": self.std,
            "stretch": list(self.stretch),
        }
        return own if self.window is None else own | {"window": list(self.window)}


def square(radiograph: Radiograph, spec: Preprocessing) -> tuple[Float32, Letterbox]:
    """(size, size) float32 in [0, 1], contrast stretched, padded with 0, and its map.

    The stretch makes a raw CR without a window look like a windowed one. Percentiles are taken
    inside `valid` only, so that borders, shutters and padding do not decide the contrast.
    """
    box = Letterbox(radiograph.width, radiograph.height, spec.size)
    small = box.apply(radiograph.pixels)
    x, y, w, h = box.inner
    inner = small[y : y + h, x : x + w]
    if radiograph.valid is not None:
        valid = cv2.resize(
            radiograph.valid.astype(np.uint8), (w, h), interpolation=cv2.INTER_NEAREST
        ).astype(bool)
        inner[~valid] = 0
        sample = inner[valid]
    else:
        sample = inner
    if sample.size:
        low, high = percentiles(np.ascontiguousarray(sample).reshape(-1), spec.stretch)
        if high - low > 1e-6:  # a blank image stays blank
            stretched = inner - low  # in double precision
            stretched /= high - low
            inner[:] = np.clip(stretched, 0, 1, out=stretched)
    return small, box


def normalise(image: Float32, spec: Preprocessing) -> Float32:
    """(..., H, W) in [0, 1] to the network's range."""
    out: Float32 = ((image - spec.mean) / spec.std).astype(np.float32, copy=False)
    return out


def prepare(radiograph: Radiograph, spec: Preprocessing) -> tuple[Float32, Letterbox]:
    """(1, size, size) network input and the map back to source pixels."""
    image, box = square(radiograph, spec)
    return normalise(image, spec)[None], box
