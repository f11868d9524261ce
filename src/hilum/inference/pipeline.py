"""The text of a pipeline (schema hilum.pipeline/2) as a value: models, three flows, thresholds.

Models answer; the flows of masks, boxes and scores turn answers into findings, each read from top
to bottom. Reading checks names, kinds and options; whether the bundles fit is checked when the
pipeline is loaded (check.py). Knows no bundle's content and no image.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import ConfigDict, Field, field_validator, model_validator

from hilum.core.bundle import Bundle, load_bundle, shipped, shipped_bundles
from hilum.core.documents import parse_yaml, read_document
from hilum.core.errors import ConfigError
from hilum.core.files import is_file
from hilum.core.manifest import Calibration, Decoding, Manifest, OperatingPoint
from hilum.core.options import Options, assignment, checked, replaced, unknown
from hilum.core.radiograph import Window, check_window
from hilum.inference.check import check_text
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


class Pipeline(Options):
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

    @classmethod
    def load(
        cls,
        source: Pipeline | str | os.PathLike[str] | None = None,
        changes: Sequence[str] = (),
    ) -> Pipeline:
        """A pipeline from a YAML file, one that comes with hilum by its name, or the default.

        Args:
            changes: of the text, "masks.lungs.1={use: threshold, at: 0.4}"; null leaves out.

        Raises:
            ConfigError: no such pipeline, not YAML, or a key, stage, option, model or kind that
                does not fit.
        """
        if isinstance(source, Pipeline):
            return source
        path = _find(source)
        raw = _read_yaml(path)
        for change in changes:
            raw = replaced(raw, *assignment(change))
        pipeline = checked(cls, raw, str(path))
        check_text(pipeline, str(path))  # what is wrong is an error now, not at the first image
        return pipeline._resolved(path.parent)

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

    def bundle_paths(self) -> Iterator[str]:
        """Every bundle, of models and of gates, once each, in the order of the text.

        Raises:
            ConfigError: a model without a bundle.
        """
        paths: dict[str, None] = {}
        for name, spec in self.models.items():
            if not spec.paths:
                raise ConfigError(f"pipeline {self.name}: {self.missing(name)}")
            paths |= dict.fromkeys(spec.paths)
        for gate in self.flows().gates:
            if hasattr(gate, "bundle"):
                paths[gate.bundle] = None
        return iter(paths)

    def missing(self, model: str) -> str:
        """What to do about a model without a bundle."""
        recipe = self.models[model].recipe
        remedy = f"train recipe {recipe} and export it, then name" if recipe else "name"
        return f"model {model!r} has no bundle; {remedy} it: --bundle {model}=PATH"

    def changed(
        self,
        *,
        precision: str | None = None,
        threshold: float | None = None,
        window: Window | None = None,
    ) -> Pipeline:
        """The same with another precision for all models, another threshold for boxes, or another
        window for reading."""
        update: dict[str, Any] = {}
        if precision is not None:
            if precision not in ("fp32", "int8"):
                raise ConfigError(unknown("precision", precision, ("fp32", "int8")))
            new = {"precision": precision}
            update["models"] = {n: spec.model_copy(update=new) for n, spec in self.models.items()}
        if threshold is not None:
            if not 0 <= threshold <= 1:
                raise ConfigError(f"threshold is {threshold}; needed: 0..1")
            update["thresholds"] = self.thresholds.model_copy(update={"boxes": threshold})
        if window is not None:
            check_window(window)
            update["window"] = window
        return self.model_copy(update=update)

    def with_bundles(self, paths: Mapping[str, Sequence[str | os.PathLike[str]]]) -> Pipeline:
        """The same with other bundles for models by name.

        Raises:
            ConfigError: no such model, or several bundles for one that does not combine.
        """
        models = dict(self.models)
        for name, given in paths.items():
            if name not in models:
                raise ConfigError(f"pipeline {self.name}: {unknown('model', name, models)}")
            if len(given) > 1 and models[name].combine is None:
                raise ConfigError(
                    f"pipeline {self.name}: model {name!r} takes one bundle, {len(given)} came; "
                    "to use several write `combine` into its text"
                )
            models[name] = models[name].with_paths(resolved(str(path), Path()) for path in given)
        return self.model_copy(update={"models": models})

    def with_named(self, words: Sequence[str]) -> Pipeline:
        """The same with bundles as the command line names them: "NAME=PATH", or a path alone.

        Raises:
            ConfigError: see `with_bundles` and `with_bundle`.
        """
        named: dict[str, list[str]] = {}
        changed = self
        for word in words:
            name, equals, path = word.partition("=")
            if equals and MODEL.fullmatch(name):
                named.setdefault(name, []).append(path)
            else:
                changed = changed.with_bundle(word)
        return changed.with_bundles(named)

    def with_bundle(self, path: str | os.PathLike[str]) -> Pipeline:
        """The same around one other bundle.

        The default pipeline takes whatever the bundle has: its boxes, masks and scores, and those
        of its own operating points that the bundle knows (boxes from .5 on without one).

        Raises:
            ConfigError: a pipeline of several models; they have names (`with_bundles`).
        """
        if len(self.models) > 1:
            raise ConfigError(
                f"pipeline {self.name} has the models {', '.join(self.models)}; name one: "
                "--bundle NAME=PATH"
            )
        (name,) = self.models
        if self.name != "default":
            return self.with_bundles({name: [path]})
        manifest = load_bundle(path).manifest
        points, boxes = manifest.operating_points, self.thresholds.boxes
        known = not isinstance(boxes, str) or boxes in points
        take = {"of": name}
        update: dict[str, Any] = {
            "models": {name: ModelSpec(bundle=str(Path(path).resolve()))},
            "masks": {
                mask: (StageSpec(use="map", options=take), StageSpec(use="threshold"))
                for mask in manifest.masks
            },
            "boxes": (StageSpec(use="boxes", options=take),) if manifest.has_boxes else (),
            "scores": (StageSpec(use="scores", options=take),) if manifest.image_scores else (),
            "study": StageSpec(use="max"),
            "thresholds": Thresholds(
                boxes=boxes if known else 0.5,
                images=tuple(point for point in self.thresholds.images if point in points),
            ),
        }
        return self.model_copy(update=update)

    def _resolved(self, folder: Path) -> Pipeline:
        """Bundles relative to the folder of the text, but for those that come with hilum."""
        models = {
            name: spec.model_copy(
                update={
                    "bundle": spec.bundle and resolved(spec.bundle, folder),
                    "bundles": tuple(resolved(path, folder) for path in spec.bundles),
                }
            )
            for name, spec in self.models.items()
        }
        gates = tuple(
            gate.model_copy(
                update={
                    "options": gate.options | {"bundle": resolved(gate.options["bundle"], folder)}
                }
            )
            if "bundle" in gate.options
            else gate
            for gate in self.gates
        )
        return self.model_copy(update={"models": models, "gates": gates})


def resolved(path: str, folder: Path) -> str:
    """A bundle's place: a name that comes with hilum stays, a path is taken from `folder`."""
    return path if path in shipped_bundles() else str((folder / path).resolve())


def shipped_pipelines() -> dict[str, Path]:
    """The pipelines that come with hilum, and with hilum-models where it is installed, by name."""
    folders = [place / "pipelines" for place in shipped("hilum.inference")]
    return {path.stem: path for folder in folders for path in sorted(folder.glob("*.yaml"))}


def _find(source: str | os.PathLike[str] | None) -> Path:
    name = "default" if source is None else os.fspath(source)
    if is_file(name):
        return Path(name)
    known = shipped_pipelines()
    if name in known:
        return known[name]
    raise ConfigError(f"there is no such pipeline file, and {unknown('pipeline', name, known)}")


def _read_yaml(path: Path) -> Any:
    raw = read_document(path, parse_yaml, ConfigError)
    if not isinstance(raw, dict):
        raise ConfigError(f"{path}: a pipeline is a mapping of keys, see the default one")
    if raw.get("schema") != SCHEMA:
        raise ConfigError(
            f"{path}: schema {raw.get('schema')!r}; needed: {SCHEMA}. Texts of an older schema are "
            "read no more; docs/pipelines.md shows the new one"
        )
    return raw
