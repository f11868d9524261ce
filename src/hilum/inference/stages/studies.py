"""Study: scores of a study from those of its images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

from hilum.fuse.scores import study_score
from hilum.inference.stages.base import Stage

How = Literal["max", "mean", "noisy-or"]


class StudyStage(Stage):
    """Called with the scores of a study's analysed images; each name over those who have it."""

    how: ClassVar[How]

    def __call__(self, images: Sequence[Mapping[str, float]]) -> dict[str, float]:
        names = dict.fromkeys(name for image in images for name in image)
        return {
            name: self.one(name, [image[name] for image in images if name in image])
            for name in names
        }

    def one(self, name: str, values: Sequence[float]) -> float:
        return float(study_score(values, self.how))


class Maximum(StudyStage):
    """The most suspicious image counts; of scores named in `least` the least, so that a study is
    as normal as its least normal image."""

    how: ClassVar[How] = "max"
    least: tuple[str, ...] = ("normal",)

    def one(self, name: str, values: Sequence[float]) -> float:
        return min(values) if name in self.least else super().one(name, values)


class Mean(StudyStage):
    """The mean of the images: scores that sum to 1 in each (`scores`, `exclusive`) still do."""

    how: ClassVar[How] = "mean"


class NoisyOr(StudyStage):
    """1 - product of (1 - score): any image suffices, each is independent evidence."""

    how: ClassVar[How] = "noisy-or"
