"""Steps that change grey values and move nothing. Lengths are fractions of the side, or pixels
at 512 where the studies gave them so."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from hilum.augment.draws import Draw, Uniform
from hilum.augment.sample import Float32, Sample

BLUR_SIGMA = Uniform(0.1, 2)  # px at 512
NOISE_SIGMA = Uniform(0, 0.04)
SHARPEN_AMOUNT = Uniform(0.2, 0.5)
CLAHE_LIMIT = Uniform(1, 4)
CUT_OUT_RADIUS = Uniform(0.04, 0.1)


def _with(sample: Sample, image: Float32) -> Sample:
    return replace(sample, image=image)


@dataclass(frozen=True, slots=True)
class LowResolution:
    """As if the image had been stored at `low` to `high` px (at a side of 256)."""

    low: int = 96
    high: int = 192

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        size = sample.image.shape[0]
        small = int(rng.integers(self.low, self.high + 1)) * size // 256
        image = cv2.resize(sample.image, (small, small), interpolation=cv2.INTER_AREA)
        return _with(sample, cv2.resize(image, (size, size), interpolation=cv2.INTER_LINEAR))


@dataclass(frozen=True, slots=True)
class Blur:
    sigma: Draw = BLUR_SIGMA

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        sigma = self.sigma(rng) * sample.image.shape[0] / 512
        return _with(sample, cv2.GaussianBlur(sample.image, (0, 0), max(sigma, 1e-3)))


@dataclass(frozen=True, slots=True)
class Sharpen:
    """Unsharp masking."""

    amount: Draw = SHARPEN_AMOUNT

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        image = sample.image
        soft = cv2.GaussianBlur(image, (0, 0), 2 * image.shape[0] / 512)
        return _with(sample, image + np.float32(self.amount(rng)) * (image - soft))


@dataclass(frozen=True, slots=True)
class Noise:
    """Gaussian, of a deviation drawn anew each time."""

    sigma: Draw = NOISE_SIGMA

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        noise = rng.normal(0, self.sigma(rng), sample.image.shape).astype(np.float32)
        return _with(sample, sample.image + noise)


@dataclass(frozen=True, slots=True)
class SaltPepper:
    share: float = 0.01

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        hit, half = rng.random(sample.image.shape), self.share / 2
        return _with(sample, np.where(hit < half, 0, np.where(hit > 1 - half, 1, sample.image)))


@dataclass(frozen=True, slots=True)
class Contrast:
    """A gain about the image's mean."""

    gain: Draw

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        gain, mean = self.gain(rng), sample.image.mean()
        return _with(sample, (sample.image - mean) * gain + mean)


@dataclass(frozen=True, slots=True)
class Brightness:
    shift: Draw

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        return _with(sample, sample.image + np.float32(self.shift(rng)))


@dataclass(frozen=True, slots=True)
class Multiply:
    factor: Draw

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        return _with(sample, sample.image * np.float32(self.factor(rng)))


@dataclass(frozen=True, slots=True)
class Gamma:
    exponent: Draw

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        return _with(sample, np.clip(sample.image, 0, 1) ** self.exponent(rng))


@dataclass(frozen=True, slots=True)
class Clahe:
    """Contrast-limited adaptive histogram equalisation over 8 x 8 tiles.

    The change is computed in 256 levels, as the limit is meant (over 65536 levels OpenCV's limit
    leaves nothing to equalise), and added to the finer image.
    """

    limit: Draw = CLAHE_LIMIT

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        coarse = (np.clip(sample.image, 0, 1) * 255).round().astype(np.uint8)
        equal = cv2.createCLAHE(self.limit(rng), (8, 8)).apply(coarse)
        change = (equal.astype(np.float32) - coarse) / 255
        return _with(sample, sample.image + change)


@dataclass(frozen=True, slots=True)
class CutOut:
    """One to `most` black discs; what they hide keeps its box (DeVries & Taylor 2017)."""

    most: int = 6
    radius: Draw = CUT_OUT_RADIUS

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        image, size = sample.image.copy(), sample.image.shape[0]
        for _ in range(int(rng.integers(1, self.most + 1))):
            x, y = rng.integers(0, size, 2)
            cv2.circle(image, (int(x), int(y)), max(1, round(self.radius(rng) * size)), 0.0, -1)
        return _with(sample, image)


@dataclass(frozen=True, slots=True)
class Erase:
    """One grey rectangle of `low` to `high` of the area (Zhong et al. 2017)."""

    low: float = 0.01
    high: float = 0.10
    fill: float = 0.5  # what the network's normalisation makes 0

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        image, size = sample.image.copy(), sample.image.shape[0]
        side = np.sqrt(rng.uniform(self.low, self.high)) * size
        stretch = np.exp(rng.uniform(-0.5, 0.5) * np.log(10 / 3))
        w, h = (max(1, min(size, round(side * f))) for f in (stretch, 1 / stretch))
        x, y = int(rng.integers(0, size - w + 1)), int(rng.integers(0, size - h + 1))
        image[y : y + h, x : x + w] = self.fill
        return _with(sample, image)
