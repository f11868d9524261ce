"""The exchangeable parts of a pipeline: gates, fusion, filters, study combination.

A stage is a small set of options that can be called. Knows no bundle, runtime or file.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from hilum.core.errors import ConfigError, NotChestRadiographRefused
from hilum.core.findings import Findings
from hilum.core.options import Options, checked, unknown
from hilum.core.radiograph import Radiograph
from hilum.inference.session import RawOutputs

# The one registry: kind -> name -> "module:Class".
STAGES: dict[str, dict[str, str]] = {
    "gate": {
        "header": "hilum.inference.stages:HeaderGate",
        "minimum-size": "hilum.inference.stages:MinimumSize",
        "not-blank": "hilum.inference.stages:NotBlank",
    },
    "fusion": {
        "single": "hilum.inference.stages:Single",
        "mean-outputs": "hilum.inference.stages:MeanOutputs",
        "nms": "hilum.inference.stages:Suppression",
        "soft-nms": "hilum.inference.stages:SoftSuppression",
        "nmw": "hilum.inference.stages:WeightedMaximum",
        "union": "hilum.inference.stages:Union",
        "vote": "hilum.inference.stages:Vote",
        "weighted-boxes": "hilum.inference.stages:WeightedBoxes",
    },
    "filter": {
        "minimum-score": "hilum.inference.stages:MinimumScore",
        "minimum-area": "hilum.inference.stages:MinimumArea",
        "at-most": "hilum.inference.stages:AtMost",
        "inside-mask": "hilum.inference.stages:InsideMask",
        "times-image-score": "hilum.inference.stages:TimesImageScore",
    },
    "study": {"scores": "hilum.inference.stages:StudyScores"},
}


class StageSpec(Options):
    """A stage as it stands in YAML: `use` and the stage's own options (or just its name)."""

    use: str
    options: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"use": value}
        if isinstance(value, dict) and "options" not in value:
            rest = {key: item for key, item in value.items() if key != "use"}
            return {"use": value.get("use"), "options": rest}
        return value


def make(kind: str, spec: StageSpec, source: str) -> Any:
    """The stage that a spec names, its options checked.

    Raises:
        ConfigError: unknown stage or option, with the nearest known one.
    """
    known = STAGES[kind]
    if spec.use not in known:
        raise ConfigError(f"{source}: {unknown(kind, spec.use, known)}")
    module, name = known[spec.use].split(":")
    stage = getattr(importlib.import_module(module), name)
    return checked(stage, spec.options, f"{source}: {kind} {spec.use}")


class HeaderGate(Options):
    """Refuses what its own header says is no frontal chest radiograph."""

    def __call__(self, radiograph: Radiograph) -> None:
        from hilum.dicom.gate import check_chest_header

        check_chest_header(radiograph)


class MinimumSize(Options):
    """Refuses pictures too small to judge."""

    pixels: int = Field(default=64, ge=1)

    def __call__(self, radiograph: Radiograph) -> None:
        if min(radiograph.width, radiograph.height) < self.pixels:
            raise NotChestRadiographRefused(
                radiograph.source,
                f"it is {radiograph.width} x {radiograph.height} px; needed: {self.pixels} px.",
                "Send the image at its original size.",
            )


class NotBlank(Options):
    """Refuses pictures without any structure: a blank image is never reported normal."""

    spread: float = Field(default=0.005, gt=0, lt=1)  # 5th to 95th percentile, in [0, 1]

    def __call__(self, radiograph: Radiograph) -> None:
        step = max(1, max(radiograph.width, radiograph.height) // 512)
        pixels = radiograph.pixels[::step, ::step]
        if radiograph.valid is not None:
            pixels = pixels[radiograph.valid[::step, ::step]]
        low, high = np.percentile(pixels, (5, 95)) if pixels.size else (0.0, 0.0)
        if high - low < self.spread:
            raise NotChestRadiographRefused(
                radiograph.source, "it is blank: it shows no structure.", "Send another image."
            )


class Single(Options):
    """Exactly one bundle: nothing to fuse."""

    def __call__(self, found: Sequence[Findings], weights: Sequence[float]) -> Findings:
        if len(found) != 1:
            raise ConfigError(
                f"fusion 'single' got {len(found)} bundles; use 'weighted-boxes' or 'mean-outputs'"
            )
        return found[0]


class MeanOutputs(Options):
    """Raw outputs of folds or checkpoints of one network averaged, then decoded once (RSNA 2nd
    place). The first bundle's decoding, calibration and operating points are used.

    Scores, box deltas and masks are means of probabilities and deltas; with `shrink`, box sizes
    lose by their spread over the bundles (`hilum.fuse.percentile_shrink`; 1.6 in the study).
    """

    shrink: float | None = Field(default=None, ge=0)

    def average(self, raws: Sequence[RawOutputs], weights: Sequence[float]) -> RawOutputs:
        """One raw output of several.

        Raises:
            ConfigError: unequal weights, or bundles whose outputs differ in shape.
        """
        from hilum.fuse.outputs import average_outputs

        if len(set(weights)) > 1:
            raise ConfigError("fusion mean-outputs counts every bundle alike; leave out `weight`")
        deltas_of = [raw.box_deltas for raw in raws if raw.box_deltas is not None]
        logits_of = [raw.class_logits for raw in raws if raw.class_logits is not None]
        if not deltas_of or any(raw.proposals is not None for raw in raws):
            raise ConfigError(
                "fusion mean-outputs needs boxes on fixed anchors; for detectors with proposals, "
                "and for networks without boxes, use weighted-boxes"
            )
        if len({_shapes(raw) for raw in raws}) > 1:
            raise ConfigError(
                "fusion mean-outputs needs bundles of one network (equal anchors and heads); for "
                "different ones use weighted-boxes"
            )
        deltas, scores = average_outputs(
            np.stack(deltas_of),
            _sigmoid(np.stack(logits_of)),
            shrink=self.shrink,
        )
        masks = [raw.mask_logits for raw in raws if raw.mask_logits is not None]
        heads = [raw.global_logits for raw in raws if raw.global_logits is not None]
        return RawOutputs(
            _logit(scores),
            deltas.astype(np.float32),
            _logit(_sigmoid(np.stack(masks)).mean(axis=0)) if masks else None,
            np.log(np.mean([_softmax(h) for h in heads], axis=0) + 1e-9).astype(np.float32)
            if heads
            else None,
        )


class Suppression(Options):
    """All boxes of all bundles; of those that overlap the best stays."""

    iou: float = Field(default=0.5, gt=0, le=1)

    def __call__(self, found: Sequence[Findings], weights: Sequence[float]) -> Findings:
        from hilum.fuse.classic import nms

        return _fused(found, weights, nms(*_lists(found), iou=self.iou))


class SoftSuppression(Options):
    """All boxes of all bundles; overlapped ones lose score instead of vanishing (Bodla 2017)."""

    iou: float = Field(default=0.5, gt=0, le=1)
    method: Literal["gaussian", "linear"] = "gaussian"
    sigma: float = Field(default=0.5, gt=0)
    floor: float = Field(default=0.001, ge=0, lt=1)

    def __call__(self, found: Sequence[Findings], weights: Sequence[float]) -> Findings:
        from hilum.fuse.classic import soft_nms

        options: dict[str, Any] = self.model_dump()
        return _fused(found, weights, soft_nms(*_lists(found), **options))


class WeightedMaximum(Options):
    """Non-maximum weighted: the best box keeps its score, those around it move it."""

    iou: float = Field(default=0.55, gt=0, le=1)

    def __call__(self, found: Sequence[Findings], weights: Sequence[float]) -> Findings:
        from hilum.fuse.classic import nmw

        return _fused(found, weights, nmw(*_lists(found), weights=weights, iou=self.iou))


class Union(Options):
    """Every box of which its own bundle is confident, doubles removed."""

    confident: float = Field(default=0.5, ge=0, le=1)
    iou: float = Field(default=0.5, gt=0, le=1)

    def __call__(self, found: Sequence[Findings], weights: Sequence[float]) -> Findings:
        from hilum.fuse.classic import union

        fused = union(*_lists(found), thresholds=self.confident, iou=self.iou)
        return _fused(found, weights, fused)


class Vote(Options):
    """Means over bundles; a box's score is times the share of the weight that found it."""

    iou: float = Field(default=0.5, gt=0, le=1)

    def __call__(self, found: Sequence[Findings], weights: Sequence[float]) -> Findings:
        from hilum.fuse.classic import vote_average

        boxes, scores, labels, votes = vote_average(*_lists(found), weights=weights, iou=self.iou)
        order = np.argsort(-scores * votes, kind="stable")
        fused = boxes[order], (scores * votes)[order], labels[order]
        return _fused(found, weights, fused)


class WeightedBoxes(Options):
    """Weighted boxes fusion (Solovyev et al. 2021) over the bundles."""

    iou: float = Field(default=0.55, gt=0, le=1)
    mode: Literal["avg", "max", "box_and_model_avg", "absent_model_aware_avg"] = "avg"

    def __call__(self, found: Sequence[Findings], weights: Sequence[float]) -> Findings:
        from hilum.fuse.weighted import weighted_boxes

        lists = _lists(found)
        return _fused(
            found, weights, weighted_boxes(*lists, weights=weights, iou=self.iou, mode=self.mode)
        )


class MinimumScore(Options):
    """Drops boxes below a score."""

    score: float = Field(ge=0, le=1)

    def __call__(self, found: Findings) -> Findings:
        return _at(found, found.scores >= self.score)


class MinimumArea(Options):
    """Drops boxes smaller than a part of the image."""

    part: float = Field(gt=0, lt=1)

    def __call__(self, found: Findings) -> Findings:
        sides = found.boxes_px[:, 2:] - found.boxes_px[:, :2]
        return _at(found, sides.prod(axis=1) >= self.part * found.width * found.height)


class AtMost(Options):
    """Keeps the best boxes."""

    boxes: int = Field(ge=0)

    def __call__(self, found: Findings) -> Findings:
        return _at(found, np.arange(len(found.scores)) < self.boxes)


class InsideMask(Options):
    """Drops boxes of which less than a part lies in a mask, such as the lungs."""

    mask: str = "lungs"
    part: float = Field(default=0.2, gt=0, le=1)

    def __call__(self, found: Findings) -> Findings:
        if self.mask not in found.masks:
            raise ConfigError(f"filter inside-mask: {unknown('mask', self.mask, found.masks)}")
        mask = found.masks[self.mask]
        keep = [self._part_inside(mask, box) >= self.part for box in found.boxes_px]
        return _at(found, np.array(keep, bool))

    @staticmethod
    def _part_inside(mask: NDArray[np.bool_], box: NDArray[np.float32]) -> float:
        (x1, y1), (x2, y2) = np.floor(box[:2]).astype(int), np.ceil(box[2:]).astype(int)
        inside = mask[y1:y2, x1:x2]
        return float(inside.mean()) if inside.size else 0.0


class TimesImageScore(Options):
    """Box scores times the image's own score (RSNA 2018, 1st place)."""

    score: str = "opacity"

    def __call__(self, found: Findings) -> Findings:
        if self.score not in found.image_scores:
            problem = unknown("image score", self.score, found.image_scores)
            raise ConfigError(f"filter times-image-score: {problem}")
        return replace(
            found, scores=(found.scores * found.image_scores[self.score]).astype(np.float32)
        )


class StudyScores(Options):
    """Scores of a study from those of its images; scores named in `least` take the minimum.

    A study is as normal as its least normal image, and as suspicious as its most suspicious one.
    """

    how: Literal["max", "mean", "noisy-or"] = "max"
    least: tuple[str, ...] = ("normal",)

    @model_validator(mode="after")
    def _least_needs_max(self) -> Self:
        if self.how != "max" and self.least:
            raise ValueError(f"`least` goes with how: max; with {self.how!r} write `least: []`")
        return self

    def __call__(self, images: Sequence[Mapping[str, float]]) -> dict[str, float]:
        from hilum.fuse.scores import study_score

        names = dict.fromkeys(name for image in images for name in image)
        out = {}
        for name in names:
            values = [image[name] for image in images if name in image]
            out[name] = min(values) if name in self.least else float(study_score(values, self.how))
        return out


def _shapes(raw: RawOutputs) -> tuple[Any, ...]:
    heads = (raw.class_logits, raw.box_deltas, raw.mask_logits, raw.global_logits)
    return tuple(None if head is None else head.shape for head in heads)


def _sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    out: NDArray[np.float64] = 1 / (1 + np.exp(-np.clip(logits.astype(np.float64), -80, 80)))
    return out


def _softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    e = np.exp(logits.astype(np.float64) - logits.max())
    out: NDArray[np.float64] = e / e.sum()
    return out


def _logit(p: NDArray[Any]) -> NDArray[np.float32]:
    p = np.clip(p, 1e-12, 1 - 1e-12)
    out: NDArray[np.float32] = np.log(p / (1 - p)).astype(np.float32)
    return out


def _at(found: Findings, keep: NDArray[np.bool_]) -> Findings:
    labels = tuple(label for label, kept in zip(found.labels, keep, strict=True) if kept)
    return replace(found, boxes_px=found.boxes_px[keep], scores=found.scores[keep], labels=labels)


def _lists(found: Sequence[Findings]) -> tuple[list[Any], list[Any], list[Any]]:
    return (
        [one.boxes_px for one in found],
        [one.scores for one in found],
        [np.array(one.labels, dtype=np.str_) for one in found],
    )


def _fused(
    found: Sequence[Findings], weights: Sequence[float], fused: tuple[Any, Any, Any]
) -> Findings:
    boxes, scores, labels = fused
    return Findings(
        width=found[0].width,
        height=found[0].height,
        boxes_px=np.asarray(boxes, np.float32).reshape(-1, 4),
        scores=np.asarray(scores, np.float32),
        labels=tuple(str(label) for label in labels),
        image_scores=_mean_scores(found, weights),
        masks=_majority(found, weights),
    )


def _mean_scores(found: Sequence[Findings], weights: Sequence[float]) -> dict[str, float]:
    """Weighted mean of each score over the bundles that give it."""
    names = dict.fromkeys(name for one in found for name in one.image_scores)
    out = {}
    for name in names:
        pairs = [
            (one.image_scores[name], weight)
            for one, weight in zip(found, weights, strict=True)
            if name in one.image_scores
        ]
        out[name] = sum(v * w for v, w in pairs) / sum(w for _, w in pairs)
    return out


def _majority(found: Sequence[Findings], weights: Sequence[float]) -> dict[str, NDArray[np.bool_]]:
    """Pixels that at least half of the weight calls part of the mask."""
    names = dict.fromkeys(name for one in found for name in one.masks)
    out = {}
    for name in names:
        voters = [
            (o.masks[name], w) for o, w in zip(found, weights, strict=True) if name in o.masks
        ]
        votes = sum(mask * np.float32(weight) for mask, weight in voters)
        out[name] = np.asarray(votes >= sum(weight for _, weight in voters) / 2)
    return out
