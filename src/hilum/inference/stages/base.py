"""What a stage says it needs when the text is loaded, and what it finds at run time."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, BeforeValidator, Field

from hilum.core.errors import ConfigError
from hilum.core.manifest import Manifest
from hilum.core.options import Options, unknown
from hilum.core.prediction import Boxes, Prediction

MODEL = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")


def _reference(text: str) -> str:
    model, _, score = text.partition(".")
    if not MODEL.fullmatch(model) or (("." in text) and not score):
        raise ValueError(f"{text!r}; needed: a model, or MODEL.SCORE, such as classifier.opacity")
    return text


def _members(value: Any) -> Any:
    """One name, a list of names, or names with weights -> names with weights."""
    if isinstance(value, str):
        return {value: 1.0}
    if isinstance(value, (list, tuple)) and all(isinstance(one, str) for one in value):
        if len(set(map(str, value))) != len(value):
            raise ValueError(f"a model stands there twice: {', '.join(map(str, value))}")
        return dict.fromkeys(value, 1.0)
    return value


# "model" (the score that its manifest calls positive) or "model.score".
ScoreName = Annotated[str, AfterValidator(_reference)]
Weight = Annotated[float, Field(gt=0)]
Members = Annotated[dict[str, Weight], BeforeValidator(_members), Field(min_length=1)]
# A number, or the name of an operating point of the score's own model.
Threshold = Annotated[float, Field(ge=0, le=1)] | str


@dataclass(frozen=True, slots=True)
class Needs:
    """What a stage takes from outside its own flow, checked against models and masks at load."""

    boxes: tuple[str, ...] = ()  # models that must have boxes
    maps: tuple[tuple[str, str], ...] = ()  # model and the mask it must have
    scores: tuple[tuple[str, Threshold | None], ...] = ()  # score, and a threshold on it
    answers: tuple[str, ...] = ()  # models whose image scores are taken as they are
    masks: tuple[str, ...] = ()  # finished masks

    @property
    def models(self) -> tuple[str, ...]:
        """Every model that must be asked."""
        named = [model for model, _ in self.maps]
        named += [score.partition(".")[0] for score, _ in self.scores]
        return tuple(dict.fromkeys([*self.boxes, *named, *self.answers]))


class Stage(Options):
    """Options that can be called."""

    def needs(self) -> Needs:
        return Needs()


def gives(manifest: Manifest) -> list[str]:
    """What a network answers, in words."""
    boxes = [f"boxes of {', '.join(manifest.labels)}"] if manifest.has_boxes else []
    masks = [f"mask {name}" for name in manifest.masks]
    return [*boxes, *masks, *(f"score {name}" for name in manifest.image_scores)]


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a model before it is asked: its (first) bundle's manifest."""

    name: str
    manifest: Manifest

    def lacks(self, what: str) -> str:
        """That the model has none, and what its bundle gives instead."""
        given = gives(self.manifest) or ["nothing"]
        return (
            f"model {self.name!r} has no {what}: its bundle {self.manifest.name!r} gives "
            f"{', '.join(given)}"
        )

    def score(self, name: str) -> str:
        """The image score that `model` or `model.score` means.

        Raises:
            ConfigError: no such score, or which one is not said.
        """
        wanted, known = name.partition(".")[2], self.manifest.image_scores
        if wanted in known:
            return wanted
        if not known:
            raise ConfigError(self.lacks("image scores"))
        if wanted:
            raise ConfigError(f"model {self.name!r}: {unknown('score', wanted, known)}")
        if self.manifest.positive_score is None:
            raise ConfigError(
                f"model {self.name!r} has several scores; say which: "
                + " or ".join(f"{self.name}.{score}" for score in known)
            )
        return self.manifest.positive_score

    def threshold(self, name: str, at: Threshold) -> float:
        """A number as it is, or the operating point of that name on that score.

        Raises:
            ConfigError: no such point, or one for another score.
        """
        score, points = self.score(name), self.manifest.operating_points
        if not isinstance(at, str):
            return at
        if at not in points:
            raise ConfigError(f"model {self.name!r}: {unknown('operating point', at, points)}")
        if points[at].score != score:
            raise ConfigError(
                f"model {self.name!r}: operating point {at!r} is for {points[at].score!r}, "
                f"not for {score!r}"
            )
        return points[at].threshold


@dataclass(slots=True, eq=False)
class Answers:
    """What is known of one image so far: what models said, finished masks."""

    width: int  # px
    height: int
    facts: Mapping[str, Facts] = field(default_factory=dict)
    predictions: dict[str, Prediction] = field(default_factory=dict)  # models that were asked
    declined: dict[str, str] = field(default_factory=dict)  # models that were not, and why
    masks: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)  # finished

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, px."""
        return self.width, self.height

    def score(self, name: str) -> float:
        """An image score of a model that was asked."""
        model = name.partition(".")[0]
        return self.predictions[model].image_scores[self.facts[model].score(name)]

    def reaches(self, name: str, at: Threshold) -> bool:
        """Is the score at least the threshold?"""
        return self.score(name) >= self.facts[name.partition(".")[0]].threshold(name, at)

    def boxes(self, models: Mapping[str, float]) -> tuple[list[Boxes], list[float]]:
        """Boxes and weights of those models that were asked: who was not has no voice."""
        voices = [(model, weight) for model, weight in models.items() if model in self.predictions]
        weighted = [(self.predictions[model].boxes, weight) for model, weight in voices]
        pairs = [(boxes, weight) for boxes, weight in weighted if boxes is not None]
        return [boxes for boxes, _ in pairs], [weight for _, weight in pairs]


def equal(weights: Sequence[float]) -> bool:
    return len(set(weights)) <= 1
