"""Scores: what stands beside an image. Every step adds names; no name may come twice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import numpy as np
from pydantic import Field, model_validator

from hilum.core.manifest import Manifest
from hilum.core.prediction import Boxes
from hilum.fuse.scores import none_score, shares
from hilum.inference.stages.base import Answers, Facts, Members, Needs, ScoreName, Stage


class ScoreStage(Stage):
    """Called with the final boxes and what is known of the image; gives scores by name."""

    @property
    def of_boxes(self) -> bool:
        """Does it need a flow of boxes?"""
        return False

    def names(self, facts: Mapping[str, Facts]) -> tuple[str, ...]:
        """The scores that it adds, known when the text is loaded."""
        raise NotImplementedError

    def unfit(self, facts: Mapping[str, Facts]) -> str:
        """Why the models do not give what it needs; empty if they do."""
        return ""

    def __call__(self, boxes: Boxes, image: Answers) -> dict[str, float]:
        raise NotImplementedError


class Scores(ScoreStage):
    """The image scores of one model; `only` some, or under other names (`rename: {old: new}`).

    `exclusive`: those of the model's exclusive classes are divided by their sum. Each was
    calibrated by itself, so that together they need not be 1.
    """

    of: str
    only: tuple[str, ...] | None = None
    rename: dict[str, str] = Field(default_factory=dict)
    exclusive: bool = False

    def needs(self) -> Needs:
        named = tuple(f"{self.of}.{name}" for name in (*(self.only or ()), *self.rename))
        return Needs(answers=(self.of,), scores=tuple((name, None) for name in named))

    def names(self, facts: Mapping[str, Facts]) -> tuple[str, ...]:
        return tuple(
            self.rename.get(name, name)
            for name in facts[self.of].manifest.image_scores
            if self.only is None or name in self.only
        )

    def unfit(self, facts: Mapping[str, Facts]) -> str:
        manifest = facts[self.of].manifest
        if not self.exclusive or len(_of_classes(manifest)) == len(manifest.global_classes) > 1:
            return ""
        classes = ", ".join(manifest.global_classes) or "none"
        return (
            f"exclusive: needed: a score of each of a model's exclusive classes; {self.of!r} has "
            f"the classes {classes} and the scores {', '.join(manifest.image_scores) or 'none'}"
        )

    def __call__(self, boxes: Boxes, image: Answers) -> dict[str, float]:
        if self.of not in image.predictions:
            return {}
        scores = dict(image.predictions[self.of].image_scores)
        if self.exclusive:
            scores |= shares(scores, _of_classes(image.facts[self.of].manifest))
        return {
            self.rename.get(name, name): value
            for name, value in scores.items()
            if self.only is None or name in self.only
        }


def _of_classes(manifest: Manifest) -> list[str]:
    """The scores that are each one exclusive class."""
    classes = manifest.global_classes if manifest.outputs.global_logits else ()
    return [name for name, of in manifest.image_scores.items() if of in classes]


class MeanScores(ScoreStage):
    """Weighted means of scores by name over the models that give them; who was not asked has no
    voice."""

    of: Members

    @model_validator(mode="after")
    def _several(self) -> Self:
        if len(self.of) < 2:
            raise ValueError("one model has no mean; use scores")
        return self

    def needs(self) -> Needs:
        return Needs(answers=tuple(self.of))

    def names(self, facts: Mapping[str, Facts]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(n for m in self.of for n in facts[m].manifest.image_scores))

    def __call__(self, boxes: Boxes, image: Answers) -> dict[str, float]:
        voices = [model for model in self.of if model in image.predictions]
        return weighted_means(
            [image.predictions[model].image_scores for model in voices],
            [self.of[m] for m in voices],
        )


class NoFinding(ScoreStage):
    """1 - the best box's score, or 1 - another score (SIIM-COVID's `none`)."""

    name: str = "none"
    of: ScoreName | None = None

    @property
    def of_boxes(self) -> bool:
        return self.of is None

    def needs(self) -> Needs:
        return Needs(scores=((self.of, None),) if self.of else ())

    def names(self, facts: Mapping[str, Facts]) -> tuple[str, ...]:
        return (self.name,)

    def __call__(self, boxes: Boxes, image: Answers) -> dict[str, float]:
        return {self.name: none_score([image.score(self.of)] if self.of else boxes.scores)}


class BestBox(ScoreStage):
    """The best box's score as the image's (B10)."""

    name: str

    @property
    def of_boxes(self) -> bool:
        return True

    def names(self, facts: Mapping[str, Facts]) -> tuple[str, ...]:
        return (self.name,)

    def __call__(self, boxes: Boxes, image: Answers) -> dict[str, float]:
        return {self.name: float(np.max(boxes.scores, initial=0.0))}


def weighted_means(answers: list[Mapping[str, float]], weights: list[float]) -> dict[str, float]:
    """Weighted mean of each score over those who give it."""
    out = {}
    for name in dict.fromkeys(name for scores in answers for name in scores):
        pairs = [(one[name], w) for one, w in zip(answers, weights, strict=True) if name in one]
        out[name] = sum(value * w for value, w in pairs) / sum(w for _, w in pairs)
    return out
