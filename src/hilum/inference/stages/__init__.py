"""The exchangeable parts of a pipeline: one readable registry, kind -> name -> "module:Class".

base.py     what a stage is, what it says it needs, what it finds at run time
models.py   combine: several bundles of one model -> one model
gates.py    gates: what must not be analysed is refused
boxes.py    boxes: fusion of detectors, filters, sizes and scores of boxes
masks.py    masks: probability maps -> masks
scores.py   scores: image scores
studies.py  study: images of a study -> its scores

A stage is a small set of options that can be called. A new one is a class and a line here.
"""

from __future__ import annotations

import importlib
from typing import Any, Literal

from pydantic import Field, model_validator

from hilum.core.errors import ConfigError
from hilum.core.options import Options, checked, unknown

Kind = Literal["gates", "combine", "boxes", "masks", "scores", "study"]

STAGES: dict[Kind, dict[str, str]] = {
    "gates": {
        "header": "hilum.inference.stages.gates:Header",
        "minimum-size": "hilum.inference.stages.gates:MinimumSize",
        "not-blank": "hilum.inference.stages.gates:NotBlank",
        "frontal-chest": "hilum.inference.stages.gates:FrontalChest",
    },
    "combine": {
        "mean-outputs": "hilum.inference.stages.models:MeanOutputs",
        "mean-maps": "hilum.inference.stages.models:MeanMaps",
        "mean-scores": "hilum.inference.stages.models:MeanScores",
    },
    "boxes": {
        "boxes": "hilum.inference.stages.boxes:Single",
        "weighted-boxes": "hilum.inference.stages.boxes:WeightedBoxes",
        "nms": "hilum.inference.stages.boxes:Suppression",
        "soft-nms": "hilum.inference.stages.boxes:SoftSuppression",
        "nmw": "hilum.inference.stages.boxes:WeightedMaximum",
        "union": "hilum.inference.stages.boxes:Union",
        "vote": "hilum.inference.stages.boxes:Vote",
        "nested": "hilum.inference.stages.boxes:Nested",
        "scale": "hilum.inference.stages.boxes:Scale",
        "calibrate": "hilum.inference.stages.boxes:Calibrate",
        "second-place": "hilum.inference.stages.boxes:SecondPlace",
        "times-image-score": "hilum.inference.stages.boxes:TimesImageScore",
        "classifier-check": "hilum.inference.stages.boxes:ClassifierCheck",
        "minimum-score": "hilum.inference.stages.boxes:MinimumScore",
        "minimum-area": "hilum.inference.stages.boxes:MinimumArea",
        "at-most": "hilum.inference.stages.boxes:AtMost",
        "inside-mask": "hilum.inference.stages.boxes:InsideMask",
    },
    "masks": {
        "map": "hilum.inference.stages.masks:Single",
        "mean-maps": "hilum.inference.stages.masks:MeanMaps",
        "threshold": "hilum.inference.stages.masks:Threshold",
        "triplet": "hilum.inference.stages.masks:Triplet",
        "remove-small": "hilum.inference.stages.masks:RemoveSmall",
        "inside-mask": "hilum.inference.stages.masks:InsideMask",
    },
    "scores": {
        "scores": "hilum.inference.stages.scores:Scores",
        "mean-scores": "hilum.inference.stages.scores:MeanScores",
        "none": "hilum.inference.stages.scores:NoFinding",
        "best-box": "hilum.inference.stages.scores:BestBox",
    },
    "study": {
        "max": "hilum.inference.stages.studies:Maximum",
        "mean": "hilum.inference.stages.studies:Mean",
        "noisy-or": "hilum.inference.stages.studies:NoisyOr",
    },
}


class StageSpec(Options):
    """A stage as it stands in YAML: `use` and the stage's own options, or just its name."""

    use: str
    options: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"use": value}
        if isinstance(value, dict) and "use" not in value:
            raise ValueError(f"a stage names itself by `use`; these keys came: {', '.join(value)}")
        if isinstance(value, dict) and "options" not in value:
            return {"use": value["use"], "options": {k: v for k, v in value.items() if k != "use"}}
        return value


def make(kind: Kind, spec: StageSpec, source: str) -> Any:
    """The stage that a spec names, its options checked.

    Raises:
        ConfigError: unknown stage, a stage of another kind, or a wrong option; the nearest known.
    """
    stage: type[Options] = stage_class(kind, spec.use, source)
    return checked(stage, spec.options, f"{source}: {spec.use}")


def stage_class(kind: Kind, use: str, source: str) -> Any:
    """The class of a stage by its name.

    Raises:
        ConfigError: unknown, or of another kind.
    """
    known = STAGES[kind]
    if use not in known:
        raise ConfigError(f"{source}: {_unknown(kind, use)}")
    module, name = known[use].split(":")
    return getattr(importlib.import_module(module), name)


def _unknown(kind: Kind, use: str) -> str:
    others = [other for other, names in STAGES.items() if use in names]
    if others:
        return (
            f"{use!r} is a stage of {' and '.join(others)} and does not fit into {kind}. "
            f"Known there: {', '.join(STAGES[kind])}."
        )
    return unknown(f"stage of {kind}", use, STAGES[kind])
