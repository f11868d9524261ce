"""Steps that move pixels: random draws -> one map, through which image, masks and boxes go.

Lengths are fractions of the side, so that a policy means the same at every size.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from hilum.augment.draws import Draw, Fixed
from hilum.augment.geometry import Matrix, about_centre, field, move, shifted
from hilum.augment.sample import Float32, Sample
from hilum.core.geometry import Float64, Rule, compose

NONE, ONE = Fixed(0.0), Fixed(1.0)


@dataclass(frozen=True, slots=True)
class Affine:
    """Mirror, scale, shear, turn, shift and tilt in one resampling."""

    scale: Draw = ONE
    angle_deg: Draw = NONE
    shear_deg: Draw = NONE
    shift: float = 0.0  # uniform, up to this fraction of the side (the study: 32 / 512)
    perspective: float = 0.0  # corners move up to this fraction of the side
    flip: float = 0.0  # probability of left-right
    upside_down: float = 0.0  # probability; no image hangs like this, a few studies did it
    rule: Rule = "corners"

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        return move(sample, Matrix(self._matrix(sample.image.shape[0], rng)), self.rule)

    def _matrix(self, size: int, rng: np.random.Generator) -> Float64:
        matrix = about_centre(
            size,
            scale=self.scale(rng),
            angle_deg=self.angle_deg(rng),
            shear_deg=self.shear_deg(rng),
            flip=bool(self.flip and rng.random() < self.flip),
            upside_down=bool(self.upside_down and rng.random() < self.upside_down),
        )
        if self.shift:
            dx, dy = rng.uniform(-self.shift, self.shift, 2) * size
            matrix = shifted(matrix, dx, dy)
        if self.perspective:
            corners = np.array([[0, 0], [size, 0], [size, size], [0, size]], np.float32)
            there = corners + rng.uniform(-1, 1, (4, 2)) * self.perspective * size
            tilt = cv2.getPerspectiveTransform(corners, there.astype(np.float32))
            matrix = compose(matrix, tilt)
        return matrix


@dataclass(frozen=True, slots=True)
class CropResized:
    """A window of `low` to `high` of the area, of 3:4 to 4:3, stretched over the square."""

    low: float = 0.5
    high: float = 1.0

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        size = sample.image.shape[0]
        side = np.sqrt(rng.uniform(self.low, self.high))
        stretch = np.exp(rng.uniform(-0.5, 0.5) * np.log(4 / 3))
        w, h = min(1.0, side * stretch), min(1.0, side / stretch)
        x, y = rng.uniform(0, 1 - w) * size, rng.uniform(0, 1 - h) * size
        return move(sample, Matrix(np.array([[1 / w, 0, -x / w], [0, 1 / h, -y / h], [0, 0, 1.0]])))


@dataclass(frozen=True, slots=True)
class Optical:
    """Barrel or pincushion: radii grow by up to `bend` at the middle of an edge, off centre."""

    bend: float = 0.05
    off_centre: float = 0.05
    rule: Rule = "corners"

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        size = sample.image.shape[0]
        bend = rng.uniform(-self.bend, self.bend)
        centre = (0.5 + rng.uniform(-self.off_centre, self.off_centre, 2)) * size
        away = _here(size) - centre
        radius2 = (away**2).sum(axis=2, keepdims=True) / (size / 2) ** 2
        return move(sample, field((bend * radius2 * away).astype(np.float32)), self.rule)


@dataclass(frozen=True, slots=True)
class Grid:
    """A grid of cells, each row and column of them wider or narrower by up to `limit`; the
    frame stays."""

    cells: int = 5
    limit: float = 0.3
    rule: Rule = "corners"

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        size = sample.image.shape[0]
        even = np.linspace(0, size, self.cells + 1)
        here = np.arange(size) + 0.5
        shift = np.zeros((size, size, 2), np.float32)
        for axis in (0, 1):
            widths = 1 + rng.uniform(-self.limit, self.limit, self.cells)
            uneven = np.concatenate([[0], np.cumsum(widths)]) * size / widths.sum()
            line = np.interp(here, even, uneven) - here
            shift[..., axis] = line[None, :] if axis == 0 else line[:, None]
        return move(sample, field(shift), self.rule)


@dataclass(frozen=True, slots=True)
class Elastic:
    """Smoothed noise moves pixels by about `amount`, in waves of about `wave` of the side."""

    amount: float = 0.02
    wave: float = 0.08
    rule: Rule = "corners"

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        size = sample.image.shape[0]
        noise = rng.uniform(-1, 1, (size, size, 2)).astype(np.float32)
        smooth: Float32 = cv2.GaussianBlur(noise, (0, 0), self.wave * size)
        smooth = smooth / max(float(np.abs(smooth).max()), 1e-9)
        return move(sample, field(smooth * np.float32(self.amount * size)), self.rule)


def _here(size: int) -> NDArray[np.float64]:
    """(s, s, 2) x, y of every pixel's centre."""
    y, x = np.mgrid[:size, :size] + 0.5
    return np.stack([x, y], axis=2)
