"""Combine: several bundles of one model (folds, checkpoints, seeds) -> one model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from hilum.core.errors import ConfigError
from hilum.core.manifest import Manifest
from hilum.core.prediction import Boxes, Prediction, logits_of
from hilum.core.radiograph import Radiograph
from hilum.inference.predictor import Model, Predictor
from hilum.inference.session import RawOutputs
from hilum.inference.stages.base import Stage, gives
from hilum.inference.stages.boxes import Fusion
from hilum.inference.stages.masks import mean_of_maps

ONE_NETWORK = (
    "labels",
    "preprocessing",
    "anchors",
    "outputs",
    "masks",
    "global_classes",
    "findings",
)


class Combine(Stage):
    """`check` what is to be combined at load, then make one `model` of it."""

    def check(self, manifests: Sequence[Manifest]) -> None:
        raise NotImplementedError

    def model(self, predictors: Sequence[Predictor]) -> Model:
        return Mean(predictors)


class MeanOutputs(Combine):
    """Raw outputs of folds or checkpoints of one network averaged, then decoded once (RSNA 2nd
    place). The first bundle's decoding, calibration and operating points are used.

    Scores and masks are means of probabilities, box deltas of deltas; with `shrink`, box sizes
    lose by their spread over the bundles (`hilum.fuse.percentile_shrink`; 1.6 in the study).
    """

    shrink: float | None = Field(default=None, ge=0)

    def check(self, manifests: Sequence[Manifest]) -> None:
        """Raises ConfigError unless the raw outputs of all bundles mean the same."""
        first = manifests[0]
        if first.anchors is None or not first.has_boxes:
            raise ConfigError(
                "mean-outputs needs boxes on fixed anchors. For detectors with proposals name each "
                "bundle as a model and fuse their boxes; without boxes use mean-maps or mean-scores"
            )
        for other in manifests[1:]:
            for name in ONE_NETWORK:
                if getattr(other, name) != getattr(first, name):
                    raise ConfigError(
                        f"mean-outputs: bundles {first.name!r} and {other.name!r} differ in "
                        f"{name}; needed: one network. For different ones name each as a model and "
                        "fuse their boxes"
                    )

    def model(self, predictors: Sequence[Predictor]) -> Model:
        return MeanOfOutputs(predictors, self.shrink)


class MeanMaps(Combine):
    """Probability maps and image scores of any networks with the same masks averaged."""

    def check(self, manifests: Sequence[Manifest]) -> None:
        """Raises ConfigError: boxes, no masks, or masks or scores that differ."""
        for manifest in manifests:
            _no_boxes("mean-maps", manifest)
            if not manifest.masks:
                raise ConfigError(
                    f"mean-maps: bundle {manifest.name!r} has no masks; it gives "
                    f"{', '.join(gives(manifest))}"
                )
        _same("mean-maps", "masks", manifests, [set(one.masks) for one in manifests])
        _same("mean-maps", "image scores", manifests, [set(m.image_scores) for m in manifests])


class MeanScores(Combine):
    """Image scores of any classifiers with the same classes averaged."""

    def check(self, manifests: Sequence[Manifest]) -> None:
        """Raises ConfigError: boxes or masks, which would be lost, or scores that differ."""
        for manifest in manifests:
            _no_boxes("mean-scores", manifest)
            if manifest.masks:
                raise ConfigError(f"mean-scores: bundle {manifest.name!r} has masks; use mean-maps")
        _same("mean-scores", "image scores", manifests, [set(m.image_scores) for m in manifests])


@dataclass(frozen=True, slots=True)
class Mean:
    """The mean of what models say of one image: of maps and scores, and of boxes by a fusion."""

    models: Sequence[Model]
    fusion: Fusion | None = None

    def __call__(self, radiograph: Radiograph) -> Prediction:
        predictions = [model(radiograph) for model in self.models]
        if len(predictions) == 1:
            return predictions[0]
        weights = [1.0] * len(predictions)
        first = predictions[0]
        lists = [one.boxes for one in predictions if one.boxes is not None]
        return Prediction(
            width=first.width,
            height=first.height,
            boxes=self._fused(lists, weights) if lists else None,
            image_scores={
                name: float(np.mean([one.image_scores[name] for one in predictions]))
                for name in first.image_scores
            },
            maps={
                name: mean_of_maps([one.maps[name] for one in predictions], weights)
                for name in first.maps
            },
        )

    def _fused(self, lists: list[Boxes], weights: list[float]) -> Boxes:
        assert self.fusion is not None  # models without boxes only were let in without one
        return self.fusion.fuse(lists, weights)


@dataclass(frozen=True, slots=True)
class MeanOfOutputs:
    """The first predictor's decoding of the mean raw output of all."""

    predictors: Sequence[Predictor]
    shrink: float | None = None

    def __call__(self, radiograph: Radiograph) -> Prediction:
        answers = [predictor.raw(radiograph) for predictor in self.predictors]
        raw = mean_raw([raw for raw, _ in answers], self.shrink)
        return self.predictors[0].decoder(raw, answers[0][1])


def mean_raw(raws: Sequence[RawOutputs], shrink: float | None = None) -> RawOutputs:
    """One raw output of several of one network: means of probabilities, and of box deltas."""
    from hilum.fuse.outputs import average_outputs

    deltas, scores = average_outputs(
        _stack(raws, "box_deltas"), _sigmoid(_stack(raws, "class_logits")), shrink=shrink
    )
    means: dict[str, NDArray[np.float32] | None] = {
        "class_logits": logits_of(scores),
        "box_deltas": deltas.astype(np.float32),
    }
    for head in ("mask_logits", "finding_logits"):
        if getattr(raws[0], head) is not None:
            means[head] = logits_of(_sigmoid(_stack(raws, head)).mean(axis=0))
    if raws[0].global_logits is not None:
        each = [_softmax(logits) for logits in _stack(raws, "global_logits")]
        means["global_logits"] = np.log(np.mean(each, axis=0) + 1e-9).astype(np.float32)
    return RawOutputs(**means)


def _stack(raws: Sequence[RawOutputs], head: str) -> NDArray[Any]:
    return np.stack([getattr(raw, head) for raw in raws])


def _sigmoid(logits: NDArray[Any]) -> NDArray[np.float64]:
    return 1 / (1 + np.exp(-np.clip(logits.astype(np.float64), -80, 80)))


def _softmax(logits: NDArray[Any]) -> NDArray[np.float64]:
    e = np.exp(logits.astype(np.float64) - logits.max())
    out: NDArray[np.float64] = e / e.sum()
    return out


def _no_boxes(stage: str, manifest: Manifest) -> None:
    if manifest.has_boxes:
        raise ConfigError(
            f"{stage}: bundle {manifest.name!r} has boxes, which would be lost; use mean-outputs, "
            "or name each bundle as a model and fuse their boxes"
        )


def _same(stage: str, what: str, manifests: Sequence[Manifest], names: Sequence[set[str]]) -> None:
    for manifest, other in zip(manifests[1:], names[1:], strict=True):
        if other != names[0]:
            raise ConfigError(
                f"{stage}: bundles {manifests[0].name!r} and {manifest.name!r} differ in {what}: "
                f"{', '.join(sorted(names[0]))} against {', '.join(sorted(other))}"
            )
