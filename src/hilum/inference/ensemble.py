"""Predictions of several models on one image, from wherever, fused by the stages of pipelines.

The same registry, options and defaults as a pipeline's flow of boxes. Knows no file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hilum.core.errors import ConfigError
from hilum.core.prediction import Boxes, Prediction
from hilum.inference.stages import StageSpec, make, stage_class
from hilum.inference.stages.base import Answers
from hilum.inference.stages.boxes import BoxStage, Fusion
from hilum.inference.stages.scores import weighted_means


class Ensemble:
    """`Ensemble({"a": 1, "b": 2}, StageSpec(use="weighted-boxes"))(predictions by name)`."""

    def __init__(
        self, weights: Mapping[str, float], fusion: StageSpec, then: Sequence[StageSpec] = ()
    ) -> None:
        """
        Args:
            weights: of every model, by name.
            fusion: a stage of boxes that fuses.
            then: stages of boxes that work on what it gives.

        Raises:
            ConfigError: unknown stages or options, weights where they do not count, or a stage
                that needs models or masks.
        """
        source = "ensemble"
        of = {"of": dict(weights)}
        if not issubclass(stage_class("boxes", fusion.use, source), Fusion):
            raise ConfigError(f"{source}: {fusion.use!r} does not fuse; use one that takes `of`")
        first = make("boxes", fusion.model_copy(update={"options": fusion.options | of}), source)
        self.weights = dict(weights)
        self.steps: list[BoxStage] = [first, *(make("boxes", spec, source) for spec in then)]
        for spec, step in zip(then, self.steps[1:], strict=True):
            needs = step.needs()
            if needs.models or needs.masks:
                wanted = ", ".join((*needs.models, *needs.masks))
                raise ConfigError(
                    f"{source}: {spec.use!r} needs {wanted}, which prediction files do not hold; "
                    "write a pipeline"
                )

    def __call__(self, predictions: Mapping[str, Prediction]) -> Prediction:
        """One prediction of those that were made; models that are not there have no voice.

        Raises:
            ConfigError: a stage needs the size of images, and nobody states it.
        """
        first = next(iter(predictions.values()))
        any_box = any(one.boxes for one in predictions.values())
        if any_box and not first.width and any(step.of_size for step in self.steps):
            raise ConfigError(
                "ensemble: a stage needs the size of images, which these files do not state; use "
                "findings.json"
            )
        endless = 2**31  # an unknown size cuts nothing
        image = Answers(
            width=first.width or endless,
            height=first.height or endless,
            predictions=dict(predictions),
        )
        boxes = Boxes.none()
        for step in self.steps:
            boxes = step(boxes, image)
        return Prediction(
            width=first.width,
            height=first.height,
            boxes=boxes,
            image_scores=weighted_means(
                [one.image_scores for one in predictions.values()],
                [self.weights[n] for n in predictions],
            ),
        )
