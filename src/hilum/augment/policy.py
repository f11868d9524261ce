"""The named augmentation policies of the studies, each a value: steps, and mixtures of samples.

Sampling follows definitions.md ("Sampling of the study's augmentations", "Published recipes").
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from hilum.augment.draws import Fixed, Normal, Octaves, Uniform
from hilum.augment.intensity import (
    Blur,
    Brightness,
    Clahe,
    Contrast,
    CutOut,
    Erase,
    Gamma,
    LowResolution,
    Multiply,
    Noise,
    SaltPepper,
    Sharpen,
)
from hilum.augment.mixing import Mix, MixUp, Mosaic, Source
from hilum.augment.sample import Sample, Step
from hilum.augment.spatial import Affine, CropResized, Elastic, Grid, Optical
from hilum.core.errors import ConfigError
from hilum.core.options import unknown


@dataclass(frozen=True, slots=True)
class Maybe:
    """A step with a probability."""

    p: float
    step: Step

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        return self.step(sample, rng) if rng.random() < self.p else sample


@dataclass(frozen=True, slots=True)
class OneOf:
    """At most one of several steps, each with its probability; they sum to 1 at most."""

    choices: tuple[tuple[float, Step], ...]

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        left = rng.random()
        for p, step in self.choices:
            if left < p:
                return step(sample, rng)
            left -= p
        return sample


@dataclass(frozen=True, slots=True)
class Policy:
    """Steps change a sample in order; then mixtures join changed samples, the last one outermost.

    Example: Policy((Affine(flip=0.5), Gamma(Octaves(0.2))), (MixUp(p=0.5),))
    """

    steps: tuple[Step, ...] = ()
    mixes: tuple[Mix, ...] = ()

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """One augmented copy of one sample, unmixed; all randomness comes from `rng`."""
        for step in self.steps:
            sample = step(sample, rng)
        return replace(sample, image=np.clip(sample.image, 0, 1).astype(np.float32))

    def augmentations(self) -> tuple[Step, ...]:
        """Its steps one by one, each certain: what enrichment makes its copies by (E3).

        Mixtures are none: they need more than one sample.
        """
        out: list[Step] = []
        for step in self.steps:
            if isinstance(step, OneOf):
                out += [choice for _, choice in step.choices]
            else:
                out.append(step.step if isinstance(step, Maybe) else step)
        return tuple(out)

    def draw(self, source: Source, rng: np.random.Generator) -> Sample:
        """One training sample. `source` gives another raw sample at each call."""

        def one() -> Sample:
            return self(source(), rng)

        draw: Source = one
        for mix in self.mixes:
            draw = partial(mix, draw, rng)
        return draw()


# A8, the RSNA study.
_LIGHT = Affine(Octaves(0.1), Normal(5), Normal(2.5), shift=32 / 512, perspective=0.02)
_HEAVY = Affine(Octaves(0.15), Normal(6), Normal(4), shift=32 / 512, perspective=0.02, flip=0.5)
_HEAVY_GREY: tuple[Step, ...] = (
    Maybe(0.5, Blur()),
    Maybe(0.5, Noise()),
    Maybe(0.1, SaltPepper()),
    Gamma(Octaves(0.25)),
)

# C3, the replication. Scale and shear are fixed there, not drawn.
_REPLICATED_GREY: tuple[Step, ...] = (
    Maybe(0.1, SaltPepper()),
    Maybe(0.5, Blur(Uniform(0, 2))),
    Maybe(0.5, Noise()),
)
_REPLICATED = Affine(Fixed(1.15), shear_deg=Fixed(4), flip=0.2)

POLICIES: dict[str, Policy] = {
    "none": Policy(),
    "light": Policy((_LIGHT, Gamma(Octaves(0.2)))),
    "light-no-perspective": Policy((replace(_LIGHT, perspective=0.0), Gamma(Octaves(0.2)))),
    "heavy": Policy((_HEAVY, *_HEAVY_GREY)),
    "heavy-no-perspective": Policy((replace(_HEAVY, perspective=0.0), *_HEAVY_GREY)),
    "heavy-no-rotation": Policy((replace(_HEAVY, angle_deg=Fixed(0)), *_HEAVY_GREY)),
    "heavy-rotation8": Policy((replace(_HEAVY, rule="eight"), *_HEAVY_GREY)),
    # Ours: heavy, moved boxes by the 8-point rule, and images of every stored resolution.
    "default": Policy(
        (
            replace(_HEAVY, rule="eight"),
            Maybe(0.3, LowResolution()),
            Maybe(0.25, Blur()),
            Maybe(0.25, Noise()),
            Maybe(0.05, SaltPepper()),
            Contrast(Uniform(0.7, 1.3)),
            Gamma(Octaves(0.25)),
        )
    ),
    # B3, the classifier to Mask R-CNN and YOLO.
    "pneumonia": Policy(
        (
            Affine(angle_deg=Uniform(-5, 5), shift=0.05, flip=0.5),
            Brightness(Uniform(-0.1, 0.1)),
            Contrast(Uniform(0.8, 1.2)),
        )
    ),
    "replication/resize_only": Policy(),
    "replication/light": Policy((Affine(Fixed(1.1), Uniform(-5, 5), Fixed(2.5)),)),
    "replication/heavy": Policy((_REPLICATED, *_REPLICATED_GREY)),
    "replication/heavy_with_rotations": Policy(
        (replace(_REPLICATED, angle_deg=Uniform(-6, 6)), *_REPLICATED_GREY)
    ),
    "replication/demonstration": Policy(
        (
            Affine(flip=0.5, upside_down=0.2),
            Multiply(Uniform(0.5, 1.5)),
            Contrast(Uniform(0.5, 2.0)),
        )
    ),
    # D1, D4, D5: the COVID report.
    "covid/classifier": Policy(
        (
            CropResized(0.5, 1.0),
            Affine(angle_deg=Uniform(-20, 20), flip=0.5),
            Maybe(0.3, Blur()),
            Maybe(0.3, Erase(0.01, 0.10)),
        )
    ),
    "covid/detector": Policy(
        (
            Affine(flip=0.3),
            Maybe(0.3, Affine(angle_deg=Uniform(-20, 20), shift=0.0625)),
            OneOf(((0.5, Sharpen()), (0.25, Blur()))),
            Maybe(0.3, Policy((Brightness(Uniform(-0.2, 0.2)), Contrast(Uniform(0.8, 1.2))))),
            Maybe(0.3, CutOut(6)),
        )
    ),
    "covid/yolo": Policy(
        (
            Affine(Uniform(0.5, 1.5), shift=0.1, flip=0.5, upside_down=0.1),
            Multiply(Uniform(0.6, 1.4)),  # of HSV, grey has the value only
        ),
        (Mosaic(), MixUp(0.5)),
    ),
    # E3, the pneumothorax paper, and E9, its challenge's winners.
    "pneumothorax": Policy(
        (
            Maybe(0.5, Clahe()),
            Maybe(0.5, Optical()),
            Maybe(0.5, Affine(Uniform(1.05, 1.10))),
            Maybe(0.5, Affine(Uniform(0.90, 0.95))),
        )
    ),
    "pneumothorax/winners": Policy(
        (
            Affine(Uniform(0.9, 1.1), Uniform(-15, 15), shift=0.05, flip=0.5),
            OneOf(((0.1, Elastic()), (0.1, Grid()), (0.1, Optical(0.1)))),
            OneOf(
                (
                    (0.1, Contrast(Uniform(0.8, 1.2))),
                    (0.1, Brightness(Uniform(-0.2, 0.2))),
                    (0.1, Gamma(Octaves(0.25))),
                )
            ),
        )
    ),
}


def policy(name: str) -> Policy:
    """A policy by name.

    Raises:
        ConfigError: naming the known ones.
    """
    if name not in POLICIES:
        raise ConfigError(unknown("augmentation", name, POLICIES))
    return POLICIES[name]
