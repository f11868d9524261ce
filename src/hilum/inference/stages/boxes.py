"""Boxes: fusion of detectors, then filters, sizes and scores.

The first step of a flow takes boxes of models (`of`); the following ones work on what it gave.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from hilum.core.calibration import ScoreMap
from hilum.core.geometry import clip_boxes
from hilum.core.prediction import Boxes
from hilum.fuse.classic import nms, nmw, soft_nms, union, vote_average
from hilum.fuse.outputs import scale_boxes
from hilum.fuse.scores import classifier_times_detector, filter_second_place
from hilum.fuse.suppress import NESTED, nested
from hilum.fuse.weighted import Mode, weighted_boxes
from hilum.inference.stages.base import Answers, Members, Needs, ScoreName, Stage, Threshold, equal


class BoxStage(Stage):
    """Called with the flow's boxes and what is known of the image; gives boxes, best first."""

    of_size: ClassVar[bool] = False  # does it need the size of the image?

    @property
    def begins(self) -> bool:
        """Does it take boxes of models, and so begin a flow?"""
        return False

    def __call__(self, boxes: Boxes, image: Answers) -> Boxes:
        raise NotImplementedError


class Fusion(BoxStage):
    """Several lists -> one. Without `of` it works on the flow's boxes as one list."""

    weighs: ClassVar[bool] = True  # do weights of models change what comes out?
    of: Members | None = None

    @property
    def begins(self) -> bool:
        return self.of is not None

    @model_validator(mode="after")
    def _weights_count(self) -> Self:
        if self.of and not self.weighs and not equal(list(self.of.values())):
            raise ValueError("weights of models do not count here; name them as a list")
        return self

    def needs(self) -> Needs:
        return Needs(boxes=tuple(self.of or ()))

    def __call__(self, boxes: Boxes, image: Answers) -> Boxes:
        lists, weights = ([boxes], [1.0]) if self.of is None else image.boxes(self.of)
        return self.fuse(lists, weights) if lists else Boxes.none()

    def fuse(self, lists: Sequence[Boxes], weights: Sequence[float]) -> Boxes:
        """Boxes of several models over one image, of which none has no boxes by its nature."""
        raise NotImplementedError


class Single(Fusion):
    """The boxes of one model: nothing to fuse."""

    weighs: ClassVar[bool] = False

    @model_validator(mode="after")
    def _one_model(self) -> Self:
        if len(self.of or ()) != 1:
            raise ValueError(
                f"`of` names {len(self.of or ())} models; needed: one. To fuse use weighted-boxes"
            )
        return self

    def fuse(self, lists: Sequence[Boxes], weights: Sequence[float]) -> Boxes:
        return lists[0]


class Suppression(Fusion):
    """Of boxes that overlap the best stays. Unequal weights scale the scores (weight / sum)."""

    iou: float = Field(default=0.5, gt=0, le=1)

    def fuse(self, lists: Sequence[Boxes], weights: Sequence[float]) -> Boxes:
        return Boxes.of(*nms(*columns(lists), weights=unequal(weights), iou=self.iou))


class SoftSuppression(Fusion):
    """Overlapped boxes lose score instead of vanishing (Bodla 2017)."""

    iou: float = Field(default=0.5, gt=0, le=1)
    method: Literal["gaussian", "linear"] = "gaussian"
    sigma: float = Field(default=0.5, gt=0)
    floor: float = Field(default=0.001, ge=0, lt=1)

    def fuse(self, lists: Sequence[Boxes], weights: Sequence[float]) -> Boxes:
        options: dict[str, Any] = self.model_dump(exclude={"of"})
        return Boxes.of(*soft_nms(*columns(lists), weights=unequal(weights), **options))


class WeightedMaximum(Fusion):
    """Non-maximum weighted: the best box keeps its score, those around it move it."""

    iou: float = Field(default=0.55, gt=0, le=1)
    skip: float = Field(default=0.0, ge=0, le=1)

    def fuse(self, lists: Sequence[Boxes], weights: Sequence[float]) -> Boxes:
        return Boxes.of(*nmw(*columns(lists), weights=weights, iou=self.iou, skip=self.skip))


class Union(Fusion):
    """Every box of which its own model is confident, doubles removed (B9).

    `confident` is one score for all, or one a model.
    """

    weighs: ClassVar[bool] = False
    confident: float | dict[str, float] = 0.5
    iou: float = Field(default=0.5, gt=0, le=1)

    @model_validator(mode="after")
    def _of_these_models(self) -> Self:
        given = self.confident if isinstance(self.confident, dict) else {"": self.confident}
        if any(not 0 <= value <= 1 for value in given.values()):
            raise ValueError("confident: needed: scores in [0, 1]")
        if isinstance(self.confident, dict) and set(self.confident) != set(self.of or ()):
            raise ValueError(
                f"confident names {', '.join(self.confident)}; needed: each model of `of`, "
                f"{', '.join(self.of or ('none',))}"
            )
        return self

    def __call__(self, boxes: Boxes, image: Answers) -> Boxes:
        if not isinstance(self.confident, dict):
            return super().__call__(boxes, image)
        voices = [model for model in self.of or () if model in image.predictions]
        lists, _ = image.boxes(dict.fromkeys(voices, 1.0))
        return self._joined(lists, [self.confident[model] for model in voices])

    def fuse(self, lists: Sequence[Boxes], weights: Sequence[float]) -> Boxes:
        assert isinstance(self.confident, float)
        return self._joined(lists, [self.confident] * len(lists))

    def _joined(self, lists: Sequence[Boxes], confident: Sequence[float]) -> Boxes:
        return Boxes.of(*union(*columns(lists), thresholds=confident, iou=self.iou))


class Vote(Fusion):
    """Means over models; a box's score is times the share of the weight that found it."""

    iou: float = Field(default=0.5, gt=0, le=1)

    def fuse(self, lists: Sequence[Boxes], weights: Sequence[float]) -> Boxes:
        boxes, scores, labels, votes = vote_average(*columns(lists), weights=weights, iou=self.iou)
        order = np.argsort(-scores * votes, kind="stable")
        return Boxes.of(boxes[order], (scores * votes)[order], list(labels[order]))


class WeightedBoxes(Fusion):
    """Weighted boxes fusion (Solovyev et al. 2021).

    With `overflow` every box of a model counts in mode avg, not at most one a model; scores above
    1 are cut to 1.
    """

    iou: float = Field(default=0.55, gt=0, le=1)
    skip: float = Field(default=0.0, ge=0, le=1)
    mode: Mode = "avg"
    overflow: bool = False

    def fuse(self, lists: Sequence[Boxes], weights: Sequence[float]) -> Boxes:
        boxes, scores, labels = weighted_boxes(
            *columns(lists),
            weights=weights,
            iou=self.iou,
            skip=self.skip,
            mode=self.mode,
            allow_overflow=self.overflow,
        )
        return Boxes.of(boxes, np.minimum(scores, 1.0), list(labels))


class Nested(BoxStage):
    """Boxes inside a stronger one of their label keep a share of their score (`fuse.nested`)."""

    part: float = Field(default=NESTED, gt=0, le=1)
    weight: float = Field(default=0.3, ge=0, le=1)

    def __call__(self, boxes: Boxes, image: Answers) -> Boxes:
        inside = nested(boxes.boxes_px, boxes.scores, boxes.labels, part=self.part)
        scores = np.where(inside, boxes.scores * np.float32(self.weight), boxes.scores)
        lowered = replace(boxes, scores=scores.astype(np.float32))
        return lowered.at(np.argsort(-lowered.scores, kind="stable"))


class Scale(BoxStage):
    """Each side times a factor about the centre: one, or width and height (RSNA: .875)."""

    sides: float | tuple[float, float] = 0.875

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if not all(0 < side <= 4 for side in np.ravel(self.sides)):
            raise ValueError(f"sides {self.sides}; needed: factors in (0, 4]")
        return self

    def __call__(self, boxes: Boxes, image: Answers) -> Boxes:
        scaled = clip_boxes(scale_boxes(boxes.boxes_px, self.sides), *image.size)
        return replace(boxes, boxes_px=scaled.astype(np.float32).reshape(-1, 4))


class Calibrate(BoxStage):
    """Box scores through a map that never falls."""

    map: ScoreMap

    def __call__(self, boxes: Boxes, image: Answers) -> Boxes:
        return replace(boxes, scores=self.map.apply(boxes.scores).astype(np.float32))


class SecondPlace(BoxStage):
    """The filter of RSNA's 2nd place: floor, suppression, boxes under half of the top score and
    weak ones go (`hilum.fuse.filter_second_place`); with the image's scores where they are named.
    """

    opacity: ScoreName | None = None
    not_normal: ScoreName | None = None
    threshold: float = Field(default=0.3, ge=0)
    floor: float = Field(default=0.025, ge=0, le=1)
    iou: float = Field(default=0.05, gt=0, le=1)

    @model_validator(mode="after")
    def _opacity_first(self) -> Self:
        if self.not_normal and not self.opacity:
            raise ValueError("not_normal goes with opacity; name that score as well")
        return self

    def needs(self) -> Needs:
        return Needs(scores=tuple((n, None) for n in (self.opacity, self.not_normal) if n))

    def __call__(self, boxes: Boxes, image: Answers) -> Boxes:
        labels = np.array(boxes.labels, np.str_)
        rows = [np.flatnonzero(labels == label) for label in dict.fromkeys(boxes.labels)]
        kept = [of[self._kept(boxes.at(of), image)] for of in rows]
        every = np.concatenate([np.zeros(0, np.int64), *kept])
        return boxes.at(every[np.argsort(-boxes.scores[every], kind="stable")])

    def _kept(self, boxes: Boxes, image: Answers) -> NDArray[np.int64]:
        return filter_second_place(
            boxes.boxes_px,
            boxes.scores,
            p_opacity=image.score(self.opacity) if self.opacity else None,
            p_not_normal=image.score(self.not_normal) if self.not_normal else 0.0,
            threshold=self.threshold,
            floor=self.floor,
            iou=self.iou,
        )


class TimesImageScore(BoxStage):
    """Box scores times the image's own score (RSNA 2018, 1st place)."""

    of: ScoreName

    def needs(self) -> Needs:
        return Needs(scores=((self.of, None),))

    def __call__(self, boxes: Boxes, image: Answers) -> Boxes:
        scores = classifier_times_detector(boxes.scores, image.score(self.of))
        return replace(boxes, scores=scores.astype(np.float32))


class ClassifierCheck(BoxStage):
    """No box stays on an image of which the classifier is not sure enough (B9)."""

    of: ScoreName
    at: Threshold

    def needs(self) -> Needs:
        return Needs(scores=((self.of, self.at),))

    def __call__(self, boxes: Boxes, image: Answers) -> Boxes:
        return boxes if image.reaches(self.of, self.at) else Boxes.none()


class MinimumScore(BoxStage):
    """Drops boxes below a score."""

    score: float = Field(ge=0, le=1)

    def __call__(self, boxes: Boxes, image: Answers) -> Boxes:
        return boxes.at(boxes.scores >= self.score)


class MinimumArea(BoxStage):
    """Drops boxes smaller than a part of the image."""

    of_size: ClassVar[bool] = True
    part: float = Field(gt=0, lt=1)

    def __call__(self, boxes: Boxes, image: Answers) -> Boxes:
        sides = boxes.boxes_px[:, 2:] - boxes.boxes_px[:, :2]
        return boxes.at(sides.prod(axis=1) >= self.part * np.prod(image.size))


class AtMost(BoxStage):
    """Keeps the best boxes."""

    boxes: int = Field(ge=0)

    def __call__(self, boxes: Boxes, image: Answers) -> Boxes:
        return boxes.at(np.arange(len(boxes)) < self.boxes)


class InsideMask(BoxStage):
    """Drops boxes of which less than a part lies in a finished mask, such as the lungs."""

    mask: str = "lungs"
    part: float = Field(default=0.2, gt=0, le=1)

    def needs(self) -> Needs:
        return Needs(masks=(self.mask,))

    def __call__(self, boxes: Boxes, image: Answers) -> Boxes:
        mask = image.masks[self.mask]
        keep = [self._part_inside(mask, box) >= self.part for box in boxes.boxes_px]
        return boxes.at(np.array(keep, bool))

    @staticmethod
    def _part_inside(mask: NDArray[np.bool_], box: NDArray[np.float32]) -> float:
        (x1, y1), (x2, y2) = np.floor(box[:2]).astype(int), np.ceil(box[2:]).astype(int)
        inside = mask[y1:y2, x1:x2]
        return float(inside.mean()) if inside.size else 0.0


class Columns(NamedTuple):
    """By model, as `hilum.fuse` takes them."""

    boxes: list[NDArray[np.float32]]
    scores: list[NDArray[np.float32]]
    labels: list[NDArray[np.str_]]


def columns(lists: Sequence[Boxes]) -> Columns:
    """The boxes of several models."""
    return Columns(
        boxes=[one.boxes_px for one in lists],
        scores=[one.scores for one in lists],
        labels=[np.array(one.labels, dtype=np.str_) for one in lists],
    )


def unequal(weights: Sequence[float]) -> Sequence[float] | None:
    """Suppression leaves scores alone where all models weigh the same."""
    return None if equal(weights) else weights
