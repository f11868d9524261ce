"""The named augmentation policies: random draws -> one matrix and one intensity change.

Sampling follows definitions.md ("Sampling of the study's augmentations", A8).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from hilum.augment import geometry
from hilum.core.errors import ConfigError
from hilum.core.geometry import Float64, compose

Float32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Sample:
    """A square image with whatever annotation it has. Masks: 0, 1, or 255 not annotated."""

    image: Float32  # (s, s) in [0, 1]
    boxes_px: Float32  # (n, 4)
    labels: tuple[str, ...]  # (n,)
    masks: dict[str, NDArray[np.uint8]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Policy:
    """Scale is 2**N(0, scale), gamma 2**N(0, gamma); angle and shear N(0, .) degrees."""

    scale: float = 0.0
    angle_deg: float = 0.0
    shear_deg: float = 0.0
    shift: float = 0.0  # uniform, fraction of the side (the study: 32 / 512)
    perspective: float = 0.0  # corners move up to this fraction of the side
    gamma: float = 0.0
    contrast: float = 0.0  # uniform gain 1 +- contrast about the mean
    flip: float = 0.0  # probabilities from here on
    salt_pepper: float = 0.0
    blur: float = 0.0
    noise: float = 0.0
    low_resolution: float = 0.0  # as if the film had been stored at 96..192 px
    rule: Literal["corners", "eight"] = "corners"

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """One augmented copy; all randomness comes from `rng`."""
        size = sample.image.shape[0]
        matrix = self._matrix(size, rng)
        boxes, kept = geometry.warp_boxes(sample.boxes_px, matrix, size, self.rule)
        image = self._intensity(geometry.warp_image(sample.image, matrix), rng)
        return Sample(
            image,
            boxes,
            tuple(sample.labels[i] for i in kept),
            {name: geometry.warp_mask(m, matrix) for name, m in sample.masks.items()},
        )

    def _matrix(self, size: int, rng: np.random.Generator) -> Float64:
        matrix = geometry.about_centre(
            size,
            scale=float(2 ** rng.normal(0, self.scale)),
            angle_deg=float(rng.normal(0, self.angle_deg)),
            shear_deg=float(rng.normal(0, self.shear_deg)),
            flip=bool(rng.random() < self.flip),
        )
        dx, dy = rng.uniform(-self.shift, self.shift, 2) * size
        matrix = geometry.shifted(matrix, dx, dy)
        if self.perspective:
            corners = np.array([[0, 0], [size, 0], [size, size], [0, size]], np.float32)
            moved = corners + rng.uniform(-1, 1, (4, 2)) * self.perspective * size
            tilt = cv2.getPerspectiveTransform(corners, moved.astype(np.float32))
            matrix = compose(matrix, tilt)
        return matrix

    def _intensity(self, image: Float32, rng: np.random.Generator) -> Float32:
        size = image.shape[0]
        if rng.random() < self.low_resolution:
            small = int(rng.integers(96, 193)) * size // 256
            image = cv2.resize(image, (small, small), interpolation=cv2.INTER_AREA)
            image = cv2.resize(image, (size, size), interpolation=cv2.INTER_LINEAR)
        if rng.random() < self.blur:
            image = cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.1, 2)) * size / 512)
        if rng.random() < self.noise:
            image = image + rng.normal(0, rng.uniform(0, 0.04), image.shape).astype(np.float32)
        if rng.random() < self.salt_pepper:
            hit = rng.random(image.shape)
            image = np.where(hit < 0.005, 0, np.where(hit > 0.995, 1, image))
        if self.contrast:
            gain = rng.uniform(1 - self.contrast, 1 + self.contrast)
            image = (image - image.mean()) * gain + image.mean()
        image = np.clip(image, 0, 1)
        if self.gamma:
            image = image ** (2 ** rng.normal(0, self.gamma))
        return image.astype(np.float32)


_LIGHT = Policy(scale=0.1, angle_deg=5, shear_deg=2.5, shift=32 / 512, perspective=0.02, gamma=0.2)
_HEAVY = replace(
    _LIGHT,
    scale=0.15,
    angle_deg=6,
    shear_deg=4,
    gamma=0.25,
    flip=0.5,
    salt_pepper=0.1,
    blur=0.5,
    noise=0.5,
)

POLICIES: dict[str, Policy] = {
    "none": Policy(),
    "light": _LIGHT,
    "heavy": _HEAVY,
    # Ours: heavy, moved boxes by the 8-point rule, and films of every stored resolution.
    "default": replace(
        _HEAVY,
        contrast=0.3,
        salt_pepper=0.05,
        blur=0.25,
        noise=0.25,
        low_resolution=0.3,
        rule="eight",
    ),
}


def policy(name: str) -> Policy:
    """A policy by name.

    Raises:
        ConfigError: naming the known ones.
    """
    if name not in POLICIES:
        raise ConfigError(f"unknown augmentation {name!r}; known: {', '.join(POLICIES)}")
    return POLICIES[name]
