"""Made-up frontal chest radiographs with exact truth, for tests and load.

Never for figures about accuracy: a phantom has the looks of an image, not its diseases. Knows no
model and no catalog. The same seed gives the same chest at every size.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from hilum.core.errors import ConfigError
from hilum.core.files import write_bytes
from hilum.data.phantom import anatomy as shapes
from hilum.data.phantom import exposure
from hilum.data.phantom.anatomy import Anatomy, Frame
from hilum.data.phantom.exposure import Disease, Opacity

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Bool = NDArray[np.bool_]

MIN_SIDE, MAX_OPACITIES = 32, 6
UNIT_MM = 350.0  # what one unit of chest coordinates is on the patient


@dataclass(frozen=True, slots=True, eq=False)
class Phantom:
    """A radiograph and its truth, all in the same pixels.

    `boxes_px` are the tight boxes of the opacities, each of one connected patch; boxes do not
    overlap. Masks have the names of the finding vocabulary.
    """

    seed: int
    pixels: Float32  # (height, width) in [0, 1], air dark
    boxes_px: Float32  # (n, 4) x1, y1, x2, y2, pixel edges
    masks: Mapping[str, Bool]  # "lungs", "opacity", "pneumothorax": (height, width)
    spacing_mm: tuple[float, float]  # row, column

    @property
    def height(self) -> int:
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        return int(self.pixels.shape[1])


def phantom(
    seed: int = 0,
    width: int = 1024,
    height: int = 1024,
    opacities: int = 2,
    pneumothorax: bool = False,
) -> Phantom:
    """A chest-like radiograph.

    Args:
        seed: decides the person, the disease and the noise.
        width, height: px; the chest keeps its proportions on wide and tall images.
        opacities: how many soft patches the lungs hold, 0 to 6.
        pneumothorax: air between one lung and the chest wall.

    Raises:
        ConfigError: a size or number out of range.

    >>> image = phantom(seed=7, width=320, height=256, opacities=1)
    >>> image.pixels.shape, image.boxes_px.shape
    ((256, 320), (1, 4))
    """
    if min(width, height) < MIN_SIDE or max(width, height) > 65_535:
        raise ConfigError(f"phantom of {width}×{height} px: needed: {MIN_SIDE} to 65535 a side")
    if not 0 <= opacities <= MAX_OPACITIES:
        raise ConfigError(f"phantom with {opacities} opacities: needed: 0 to {MAX_OPACITIES}")
    if seed < 0:
        raise ConfigError(f"seed {seed}: needed: 0 or more")
    # One stream each, so that size and disease do not change the person.
    body, ill, grain = (np.random.default_rng([seed, part]) for part in range(3))
    person = shapes.draw(body)
    frame = Frame(width, height, shift=(float(body.normal(0, 0.008)), 0.03))
    disease = _disease(person, opacities, pneumothorax, ill)
    lungs = frame.fill(*person.lungs) > 0
    air = disease.pleural_air(person, frame)
    patches = [_patch(opacity, lungs & ~air, frame) for opacity in disease.opacities]
    return Phantom(
        seed=seed,
        pixels=exposure.expose(person, disease, frame, grain),
        boxes_px=np.array([_bounds(p) for p in patches], np.float32).reshape(-1, 4),
        masks={
            "lungs": lungs,
            "opacity": np.any([np.zeros_like(lungs), *patches], axis=0),
            "pneumothorax": air,
        },
        spacing_mm=(UNIT_MM / frame.unit, UNIT_MM / frame.unit),
    )


def write_png(image: Phantom, path: str | Path, bits: int = 16) -> None:
    """The pixels as an 8- or 16-bit grey PNG, atomically."""
    if bits not in (8, 16):
        raise ConfigError(f"PNG of {bits} bits: needed: 8 or 16")
    scaled = np.round(image.pixels * (2**bits - 1)).astype(np.uint8 if bits == 8 else np.uint16)
    _write_png(scaled, path)


def write_mask(mask: Bool, path: str | Path) -> None:
    """A mask as a PNG of 0 and 255, atomically."""
    _write_png(mask.astype(np.uint8) * 255, path)


def write_dicom(image: Phantom, path: str | Path, **options: Any) -> None:
    """The phantom as a DICOM file; options as those of `encode.dicom_bytes`, atomically."""
    from hilum.data.phantom.encode import dicom_bytes

    options.setdefault("spacing_mm", image.spacing_mm)
    write_bytes(path, dicom_bytes(image.pixels, seed=image.seed, **options))


def _write_png(image: NDArray[np.generic], path: str | Path) -> None:
    done, coded = cv2.imencode(".png", image)
    if not done:
        raise ConfigError(f"cannot encode {image.shape} {image.dtype} as PNG")
    write_bytes(path, coded.tobytes())


def _disease(
    person: Anatomy, opacities: int, pneumothorax: bool, rng: np.random.Generator
) -> Disease:
    first = int(rng.integers(2))
    degree = rng.uniform(0.16, 0.30)
    ill_lung = first if pneumothorax else None
    left_over = exposure.collapse(person.lungs[first], degree) if pneumothorax else None
    homes = list(person.lungs)
    if left_over is not None:
        homes[first] = left_over
    patches: list[Opacity] = []
    for number in range(opacities):
        patches.append(_place(homes[(first + number) % 2], patches, rng))
    return Disease(tuple(patches), ill_lung, left_over)


def _place(home: Float64, others: list[Opacity], rng: np.random.Generator) -> Opacity:
    """An opacity inside a lung, clear of the others; smaller and smaller until it fits."""
    outline = home.astype(np.float32)
    low, high = home.min(axis=0), home.max(axis=0)
    shrink = 1.0
    while True:
        radii = rng.uniform([0.055, 0.070], [0.095, 0.130]) * shrink
        u, v = rng.uniform(low, high)
        reach = cv2.pointPolygonTest(outline, (float(u), float(v)), True)
        clear = all(
            max(abs(u - o.centre[0]), abs(v - o.centre[1])) > 1.35 * (max(o.radii) + radii.max())
            for o in others
        )
        if clear and reach > 0.62 * radii.min():
            break
        shrink = max(0.2, shrink * 0.985)
    return Opacity(
        centre=(float(u), float(v)),
        radii=(float(radii[0]), float(radii[1])),
        angle=float(rng.normal(0, 0.35)),
        waves=rng.normal(0, 0.045, (4, 2)),
        density=float(rng.uniform(0.26, 0.40)),
    )


def _patch(opacity: Opacity, lung: Bool, frame: Frame) -> Bool:
    """The part of an opacity inside the lung that hangs together around its centre."""
    u, v = frame.grid()
    inside = ((opacity.distance(u, v) < 1) & lung).astype(np.uint8)
    count, pieces, stats, _ = cv2.connectedComponentsWithStats(inside, connectivity=4)
    if count < 2:  # an image so small that the patch has no pixel centre
        x, y = np.floor(frame.to_px(np.array([opacity.centre]))[0]).astype(int)
        out = np.zeros(lung.shape, np.bool_)
        out[y, x] = True
        return out
    largest = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    piece: Bool = pieces == largest
    return piece


def _bounds(mask: Bool) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
