"""Masks: probability maps -> masks. A flow begins with a map, is cut once, and may be cleaned.

Sizes are pixels of an image whose longer side is `at`; they are scaled to the image at hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from hilum.core.prediction import ProbabilityMap, logits_of
from hilum.fuse.masks import mean_map, remove_small, triplet_mask
from hilum.inference.stages.base import Answers, Members, Needs, Stage

Bool = NDArray[np.bool_]
What = Literal["nothing", "map", "mask"]


class MaskStage(Stage):
    """Called with what the step before gave (None at the start; later None = nobody was asked)."""

    takes: ClassVar[What] = "mask"
    gives: ClassVar[What] = "mask"

    def __call__(self, value: Any, image: Answers) -> Any:
        raise NotImplementedError


class MeanMaps(MaskStage):
    """Weighted mean of the probability maps of several models; who was not asked has no voice.

    `mask` is its name in the models, the flow's own name if None.
    """

    takes: ClassVar[What] = "nothing"
    gives: ClassVar[What] = "map"
    of: Members
    mask: str | None = None

    def needs_of(self, flow: str) -> Needs:
        return Needs(maps=tuple((model, self.mask or flow) for model in self.of))

    def of_flow(self, flow: str, image: Answers) -> ProbabilityMap | None:
        voices = [model for model in self.of if model in image.predictions]
        maps = [image.predictions[model].maps[self.mask or flow] for model in voices]
        return mean_of_maps(maps, [self.of[model] for model in voices]) if maps else None


class Single(MeanMaps):
    """The probability map of one model."""

    @model_validator(mode="after")
    def _one_model(self) -> Self:
        if len(self.of) != 1:
            raise ValueError(f"`of` names {len(self.of)} models; needed: one, or use mean-maps")
        return self


class Threshold(MaskStage):
    """Pixels of at least a probability; without numbers as the map's own model is cut."""

    takes: ClassVar[What] = "map"
    at: float | None = Field(default=None, gt=0, lt=1)
    least_part: float | None = Field(default=None, ge=0, le=1)  # of the largest connected part

    def __call__(self, value: ProbabilityMap, image: Answers) -> Bool:
        return value.cut(self.at, self.least_part)


class Triplet(MaskStage):
    """A sure core decides whether there is anything, a lower threshold how far it reaches (E9)."""

    takes: ClassVar[What] = "map"
    top: float = Field(default=0.75, gt=0, lt=1)
    min_pixels: float = Field(default=2000, ge=0)
    bottom: float = Field(default=0.3, gt=0, lt=1)
    at: int = Field(default=1024, ge=1)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.bottom > self.top:
            raise ValueError(f"bottom {self.bottom} is above top {self.top}")
        return self

    def __call__(self, value: ProbabilityMap, image: Answers) -> Bool:
        least = self.min_pixels * pixels_of(image, self.at)
        return triplet_mask(value.at_source(), self.top, least, self.bottom)


class RemoveSmall(MaskStage):
    """Connected parts of fewer pixels go (E6)."""

    pixels: float = Field(default=3500, ge=0)
    at: int = Field(default=1024, ge=1)

    def __call__(self, value: Bool, image: Answers) -> Bool:
        return remove_small(value, self.pixels * pixels_of(image, self.at))


class InsideMask(MaskStage):
    """What lies outside another finished mask, such as the lungs, goes."""

    mask: str = "lungs"

    def needs(self) -> Needs:
        return Needs(masks=(self.mask,))

    def __call__(self, value: Bool, image: Answers) -> Bool:
        return value & image.masks[self.mask]


def mean_of_maps(maps: Sequence[ProbabilityMap], weights: Sequence[float]) -> ProbabilityMap:
    """Weighted mean of probabilities on the grid of the first, whose threshold it takes."""
    first = maps[0]
    if len(maps) == 1:
        return first
    mean = mean_map([one.probabilities_on(first) for one in maps], weights)
    return replace(first, logits=logits_of(mean))


def pixels_of(image: Answers, at: int) -> float:
    """Pixels of this image for one of the same image with a longer side of `at`."""
    return float((max(image.size) / at) ** 2)
