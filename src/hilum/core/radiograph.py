"""The value that reading produces and everything else consumes."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hilum.core.errors import ConfigError, GeometryError

Float32 = NDArray[np.float32]
Bool = NDArray[np.bool_]
Window = tuple[float, float]  # centre and width in modality units, instead of a file's own VOI


def check_window(window: Window) -> None:
    """
    Raises:
        ConfigError: a window that cannot be.
    """
    centre, width = window
    if not (abs(centre) < float("inf") and 1 <= width < float("inf")):
        raise ConfigError(f"the window is {centre}, {width}; needed: a number, and a width >= 1")


@dataclass(frozen=True, slots=True)
class Identifiers:
    """DICOM identifiers; None where the file has none (PNG, anonymised)."""

    patient_id: str | None = None
    study_instance_uid: str | None = None
    series_instance_uid: str | None = None
    sop_instance_uid: str | None = None


@dataclass(frozen=True, slots=True)
class Decoding:
    """How the pixels were decoded, for the record."""

    format: str  # "dicom", "png", "jpeg", "webp", "array"
    transfer_syntax: str | None = None
    decoder: str = "none"
    photometric: str = "MONOCHROME2"
    bits_stored: int = 8
    voi: str = "none"  # "window 2048/4096 linear", "lut", "none"
    clipped_black: float = 0.0  # share of pixels that the window or LUT leaves at 0
    clipped_white: float = 0.0  # ... at 1
    warnings: tuple[str, ...] = ()  # what the file contradicts itself in, and what was done


@dataclass(frozen=True, slots=True, eq=False)
class Radiograph:
    """One radiograph. Pixels keep the orientation and size of the stored matrix.

    Air is dark (0) and dense matter bright (1), whatever the photometric interpretation was.
    """

    pixels: Float32  # (H, W) in [0, 1], read-only
    source: str = "array"  # where it came from: a path, "zip!member", "bytes"
    ids: Identifiers = field(default_factory=Identifiers)
    decoding: Decoding = field(default_factory=lambda: Decoding("array"))
    spacing_mm: tuple[float, float] | None = None  # row, column
    spacing_source: str | None = None  # PixelSpacing, ImagerPixelSpacing, ...
    view: str | None = None  # ViewPosition as stored: PA, AP, LL, ...
    modality: str | None = None
    sex: str | None = None
    age_years: float | None = None
    patient_orientation: tuple[str, str] | None = None  # as stored, e.g. ("L", "F")
    flipped_horizontally: bool = False  # FieldOfViewHorizontalFlip = YES
    body_part: str | None = None  # BodyPartExamined as stored; often wrong in chest data
    descriptions: tuple[str, ...] = ()  # of study, series and protocol, as typed
    sop_class: str | None = None  # SOPClassUID
    own_result: bool = False  # made by hilum: never analysed again
    valid: Bool | None = None  # (H, W) False at padding, shutters, burned-in borders; None = all

    def __post_init__(self) -> None:
        pixels = self.pixels
        if pixels.ndim != 2 or 0 in pixels.shape:
            raise GeometryError(f"radiograph pixels are {pixels.shape}; needed: (H, W), not empty")
        if pixels.dtype != np.float32:
            raise GeometryError(
                f"radiograph pixels are {pixels.dtype}; needed: float32 in [0, 1]. "
                "Scale integers by their full range first."
            )
        low, high = float(pixels.min()), float(pixels.max())
        if not (low >= 0.0 and high <= 1.0):  # also false for NaN
            raise GeometryError(f"radiograph pixels span {low}..{high}; needed: 0..1, no NaN")
        if self.valid is not None and self.valid.shape != pixels.shape:
            raise GeometryError(f"valid mask is {self.valid.shape}, pixels are {pixels.shape}")
        own = pixels.view()  # the caller's array stays as it is
        own.setflags(write=False)
        object.__setattr__(self, "pixels", own)

    @property
    def height(self) -> int:
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        return int(self.pixels.shape[1])
