"""The text of a pipeline (schema hilum.pipeline/2) as a value: models, three flows, thresholds.

Models answer; the flows of masks, boxes and scores turn answers into findings, each read from top
to bottom. Knows no file, no bundle's content and no image.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

from pydantic import ConfigDict, Field, field_validator, model_validator

from hilum.core.bundle import Bundle
from hilum.core.manifest import Calibration, Decoding, Manifest, OperatingPoint
from hilum.core.options import Options, unknown
from hilum.core.radiograph import Window, check_window
from hilum.inference.stages import Kind, StageSpec, make
from hilum.inference.stages.base import MODEL, ScoreName, Threshold

SCHEMA = "hilum.pipeline/2"
Precision = Literal["fp32", "int8"]


class View(Options):
    """How an image is shown to a model: as it is, mirrored, smaller in the same square."""

    flip: bool = False
    scale: float = Field(default=1.0, ge=0.25, le=1)

    @model_validator(mode="before")
    @classmethod
    def _by_name(cls, value: Any) -> Any:
        names: dict[str, dict[str, Any]] = {"plain": {}, "flip": {"flip": True}}
        if isinstance(value, str):
            if value not in names:
                raise ValueError(unknown("view", value, (*names, "{scale: 0.8}")))
            return names[value]
        return value


class DecodingChange(Options):
    """Decoding constants of a model other than its bundle's."""

    score_floor: float | None = Field(default=None, gt=0, lt=1)
    nms_iou: float | None = Field(default=None, gt=0, le=1)
    vote_iou: float | None = Field(default=None, gt=0, lt=1)
    nested_weight: float | None = Field(default=None, ge=0, le=1)
    max_boxes: int | None = Field(default=None, ge=1, le=1000)

    def of(self, decoding: Decoding) -> Decoding:
        return decoding.model_copy(update=self.model_dump(exclude_none=True))


class When(Options):
    """A model is asked only if a score of another one reaches a threshold."""

    score: ScoreName
    at: Threshold


class ModelSpec(Options):
    """One model: a bundle, or several combined; how images are shown to it; when it is asked.

    Without bundles the user names them (`--bundle NAME=PATH`); `recipe` is then the training
    recipe that makes one.
    """

    bundle: str | None = None
    bundles: tuple[str, ...] = ()
    recipe: str | None = None
    combine: StageSpec | None = None
    views: tuple[View, ...] = Field(default=(View(),), min_length=1)
    fuse: StageSpec = StageSpec(use="weighted-boxes")  # boxes of several views
    size: int | None = Field(default=None, ge=32, le=4096, multiple_of=32)
    precision: Precision | None = None
    decoding: DecodingChange = DecodingChange()
    calibration: Calibration | None = None  # instead of the bundle's
    when: When | None = None

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.bundle and self.bundles:
            raise ValueError("both bundle and bundles; needed: one of them")
        if len(set(self.paths)) < len(self.paths):
            raise ValueError("a bundle stands there twice")
        if len(self.bundles) > 1 and self.combine is None:
            raise ValueError(
                f"{len(self.bundles)} bundles; say how they are combined: mean-outputs, mean-maps "
                "or mean-scores"
            )
        if len(set(map(str, self.views))) < len(self.views):
            raise ValueError("a view stands there twice")
        return self

    @property
    def paths(self) -> tuple[str, ...]:
        return (self.bundle,) if self.bundle else self.bundles

    def with_paths(self, paths: Iterable[str]) -> Self:
        return self.model_copy(update={"bundle": None, "bundles": tuple(paths)})

    def adapted(self, bundle: Bundle) -> Manifest:
        """The bundle's manifest with this model's size, decoding and calibration."""
        manifest = bundle.manifest
        changes: dict[str, Any] = {"decoding": self.decoding.of(manifest.decoding)}
        if self.size is not None:
            size = {"size": self.size}
            changes["preprocessing"] = manifest.preprocessing.model_copy(update=size)
        if self.calibration is not None:
            changes["calibration"] = self.calibration
        return manifest.model_copy(update=changes)


class Thresholds(Options):
    """`boxes`: a number, or the name of an operating point; boxes below are not shown.

    `images`: names of points that stand beside image and study scores. They hide nothing. A name
    is one of the pipeline's own points, or of the only model that the flow rests on, or
    `model.name`.
    """

    boxes: Threshold = "default"
    images: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Flows:
    """All stages of a pipeline, made and their options checked."""

    gates: tuple[Any, ...]
    combine: Mapping[str, Any]  # model -> stage, of models with one
    fuse: Mapping[str, Any]  # model -> fusion of its views' boxes
    masks: Mapping[str, tuple[Any, ...]]
    boxes: tuple[Any, ...]
    scores: tuple[Any, ...]
    study: Any


class PipelineText(Options):
    """The whole description, as a value: frozen, picklable, equal when its YAML is."""

    schema_: Literal["hilum.pipeline/2"] = Field(alias="schema")
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")
    version: str = "1"
    about: str = ""
    gates: tuple[StageSpec, ...] = ()
    models: dict[str, ModelSpec] = Field(min_length=1)
    masks: dict[str, tuple[StageSpec, ...]] = Field(default_factory=dict)
    boxes: tuple[StageSpec, ...] = ()
    scores: tuple[StageSpec, ...] = ()
    study: StageSpec = StageSpec(use="max")
    # Centre and width with which images are read; None: as the bundles were trained, which is as
    # each file says unless their preprocessing has a window.
    window: tuple[float, float] | None = None
    thresholds: Thresholds = Thresholds()
    operating_points: dict[str, OperatingPoint] = Field(default_factory=dict)
    calibration: Calibration | None = None  # of the final scores: a fused pipeline's own

    model_config = ConfigDict(validate_by_alias=True, validate_by_name=True)

    @field_validator("window")
    @classmethod
    def _possible_window(cls, window: Window | None) -> Window | None:
        if window is not None:
            check_window(window)
        return window

    @field_validator("models")
    @classmethod
    def _model_names(cls, models: dict[str, ModelSpec]) -> dict[str, ModelSpec]:
        for name in models:
            if not MODEL.fullmatch(name):
                raise ValueError(f"model name {name!r}; needed: a-z, 0-9, - and _")
        return models

    def flows(self, source: str | None = None) -> Flows:
        """All stages, made and checked.

        Raises:
            ConfigError: unknown stage, stage of another kind, or a wrong option.
        """
        where = source or f"pipeline {self.name}"

        def made(kind: Kind, specs: Sequence[StageSpec], place: str = "") -> tuple[Any, ...]:
            return tuple(make(kind, spec, f"{where}: {place or kind}") for spec in specs)

        return Flows(
            gates=made("gates", self.gates),
            combine={
                name: make("combine", spec.combine, f"{where}: models.{name}.combine")
                for name, spec in self.models.items()
                if spec.combine is not None
            },
            fuse={
                name: make("boxes", spec.fuse, f"{where}: models.{name}.fuse")
                for name, spec in self.models.items()
            },
            masks={
                name: made("masks", steps, f"masks.{name}") for name, steps in self.masks.items()
            },
            boxes=made("boxes", self.boxes),
            scores=made("scores", self.scores),
            study=made("study", [self.study])[0],
        )
