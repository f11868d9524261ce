"""Gates -> bundles -> fusion -> filters -> study combination -> thresholds, read from YAML.

Knows no files of images and no worker processes.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import ConfigDict, Field

from hilum.core.bundle import Bundle, default_bundle, load_bundle
from hilum.core.errors import ConfigError
from hilum.core.findings import Findings, StudyResult
from hilum.core.manifest import BOX, STUDY, Calibration, OperatingPoint
from hilum.core.options import Options, checked, load_yaml, unknown
from hilum.core.radiograph import Radiograph
from hilum.core.results import ImageResult, PipelineInfo, group_studies
from hilum.inference.predictor import Predictor
from hilum.inference.stages import MeanOutputs, StageSpec, make

MAX_YAML_BYTES = 2**20
Precision = Literal["fp32", "int8"]


class BundleSpec(Options):
    """One bundle: "default" or a path, its precision and its weight in the fusion."""

    bundle: str = "default"
    precision: Precision | None = None
    weight: float = Field(default=1.0, gt=0)

    def load(self) -> Bundle:
        return default_bundle() if self.bundle == "default" else load_bundle(self.bundle)


class Thresholds(Options):
    """`boxes`: a number, or the name of an operating point of the first bundle.

    `images`: names of its operating points to stand beside image and study scores. They hide
    nothing.
    """

    boxes: Annotated[float, Field(ge=0, le=1)] | str = "default"
    images: tuple[str, ...] = ()


class Pipeline(Options):
    """The whole description, as a value: frozen, picklable, equal when its YAML is."""

    schema_: Literal["hilum.pipeline/1"] = Field(default="hilum.pipeline/1", alias="schema")
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")
    version: str = "1"
    gates: tuple[StageSpec, ...] = ()
    bundles: tuple[BundleSpec, ...] = Field(min_length=1)
    fusion: StageSpec = StageSpec(use="single")
    filters: tuple[StageSpec, ...] = ()
    study: StageSpec = StageSpec(use="scores")
    thresholds: Thresholds = Thresholds()

    model_config = ConfigDict(validate_by_alias=True, validate_by_name=True)

    @classmethod
    def load(cls, source: Pipeline | str | os.PathLike[str] | None = None) -> Pipeline:
        """A pipeline from a YAML file, one that comes with hilum by its name, or the default.

        Raises:
            ConfigError: no such pipeline, not YAML, or an unknown key or stage.
        """
        if isinstance(source, Pipeline):
            return source
        path = _find(source)
        raw = _read_yaml(path)
        pipeline = checked(cls, raw, str(path))
        pipeline.stages(str(path))  # a wrong option is an error now, not at the first image
        bundles = tuple(_resolved(spec, path.parent) for spec in pipeline.bundles)
        return pipeline.model_copy(update={"bundles": bundles})

    def stages(self, source: str = "pipeline") -> dict[str, Any]:
        """All stages, made and checked."""
        return {
            "gates": [make("gate", spec, source) for spec in self.gates],
            "fusion": make("fusion", self.fusion, source),
            "filters": [make("filter", spec, source) for spec in self.filters],
            "study": make("study", self.study, source),
        }

    def changed(self, *, precision: str | None = None, threshold: float | None = None) -> Pipeline:
        """The same with another precision for all bundles, or another threshold for boxes."""
        update: dict[str, Any] = {}
        if precision is not None:
            if precision not in ("fp32", "int8"):
                raise ConfigError(unknown("precision", precision, ("fp32", "int8")))
            new = {"precision": precision}
            update["bundles"] = tuple(spec.model_copy(update=new) for spec in self.bundles)
        if threshold is not None:
            if not 0 <= threshold <= 1:
                raise ConfigError(f"threshold is {threshold}; needed: 0..1")
            update["thresholds"] = self.thresholds.model_copy(update={"boxes": threshold})
        return self.model_copy(update=update)

    def with_bundle(self, path: str | os.PathLike[str]) -> Pipeline:
        """The same around one other bundle; of the points those that it has, boxes from .5 on
        where it names none."""
        spec = BundleSpec(bundle=str(Path(path).resolve()))
        known = spec.load().manifest.operating_points
        boxes = self.thresholds.boxes
        points = Thresholds(
            boxes=boxes if isinstance(boxes, float) or boxes in known else 0.5,
            images=tuple(name for name in self.thresholds.images if name in known),
        )
        return self.model_copy(update={"bundles": (spec,), "thresholds": points})

    def load_bundles(self) -> list[Bundle]:
        return [spec.load() for spec in self.bundles]

    def info(self, bundles: Sequence[Bundle]) -> PipelineInfo:
        calibration = bundles[0].manifest.calibration or Calibration()
        return PipelineInfo(
            *(self.name, self.version, tuple((b.name, b.sha256) for b in bundles)),
            *(self.operating_points(bundles), calibration.fitted_on),
        )

    def operating_points(self, bundles: Sequence[Bundle]) -> dict[str, OperatingPoint]:
        """The points that stand beside scores, by name; the first is that of the boxes.

        Raises:
            ConfigError: the first bundle has no point of that name, or for another score.
        """
        known = bundles[0].manifest.operating_points
        value = self.thresholds.boxes
        wanted = [*([value] if isinstance(value, str) else []), *self.thresholds.images]
        for name in wanted:
            if name not in known:
                problem = unknown("operating point", name, known)
                raise ConfigError(f"pipeline {self.name}: thresholds: {problem}")
            if (known[name].score == BOX) != (name == value):
                raise ConfigError(
                    f"pipeline {self.name}: thresholds: operating point {name!r} is for the score "
                    f"{known[name].score!r}; `boxes` takes one for 'box', `images` one for others"
                )
        points = {name: known[name] for name in wanted}
        if isinstance(value, str):
            return points
        given = OperatingPoint(threshold=value, reason="given", chosen_on="no data")
        return {"given": given, **points}

    def fingerprint(self, bundles: Sequence[Bundle], **settings: Any) -> str:
        """SHA-256 of everything that decides a result, wherever the files lie."""
        described = self.model_dump(mode="json", by_alias=True)
        for spec, bundle in zip(described["bundles"], bundles, strict=True):
            spec["bundle"] = bundle.sha256
        text = json.dumps([described, settings], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def combine(
        self, images: Sequence[ImageResult], bundles: Sequence[Bundle]
    ) -> tuple[StudyResult, ...]:
        """Scores of each study from those of its analysed images.

        They are calibrated where a single bundle says how for this way of combining.
        """
        study = make("study", self.study, self.name)
        maps = (bundles[0].manifest.calibration if len(bundles) == 1 else None) or Calibration()
        fits = maps.study_how == study.how
        out = []
        for uid, indices in group_studies(images):
            found = [images[index].findings for index in indices]
            scores = study([one.image_scores for one in found if one is not None])
            if fits:
                scores = {n: float(maps.apply(STUDY + n, s)) for n, s in scores.items()}
            out.append(StudyResult(uid, scores, indices))
        return tuple(out)


class Analyser:
    """A pipeline with its bundles in memory: `Analyser(pipeline)(radiograph)`."""

    def __init__(self, pipeline: Pipeline, *, threads: int = 1) -> None:
        stages = pipeline.stages(pipeline.name)
        self.pipeline = pipeline
        self.gates, self.fusion = stages["gates"], stages["fusion"]
        self.filters = stages["filters"]
        self.bundles = pipeline.load_bundles()
        self.predictors = [
            Predictor(bundle, precision=spec.precision, threads=threads)
            for bundle, spec in zip(self.bundles, pipeline.bundles, strict=True)
        ]
        self.weights = [spec.weight for spec in pipeline.bundles]
        if isinstance(self.fusion, MeanOutputs):
            _check_one_network(self.bundles)
        self.threshold = next(iter(pipeline.operating_points(self.bundles).values())).threshold
        self._filters_need_masks = any(spec.use == "inside-mask" for spec in pipeline.filters)

    def __call__(self, radiograph: Radiograph, *, masks: bool = True) -> Findings:
        """Findings above the threshold, best first.

        Raises:
            InputRefused: a gate refuses the radiograph.
            ModelOutputError: a model gave numbers that mean nothing.
        """
        for gate in self.gates:
            gate(radiograph)
        wanted = masks or self._filters_need_masks
        fused = self._fused(radiograph, wanted)
        for stage in self.filters:
            fused = stage(fused)
        shown = fused.above(self.threshold)
        return (
            shown
            if masks
            else Findings(
                shown.width,
                shown.height,
                shown.boxes_px,
                shown.scores,
                shown.labels,
                shown.image_scores,
            )
        )

    def _fused(self, radiograph: Radiograph, masks: bool) -> Findings:
        if isinstance(self.fusion, MeanOutputs):
            answers = [predictor.raw(radiograph) for predictor in self.predictors]
            raw = self.fusion.average([raw for raw, _ in answers], self.weights)
            return self.predictors[0].decoded(raw, answers[0][1], radiograph, masks=masks)
        found = [predictor(radiograph, masks=masks) for predictor in self.predictors]
        fused: Findings = self.fusion(found, self.weights)
        return fused


def _check_one_network(bundles: Sequence[Bundle]) -> None:
    """Raises ConfigError unless the raw outputs of all bundles mean the same."""
    first = bundles[0].manifest
    for other in (bundle.manifest for bundle in bundles[1:]):
        for name in ("labels", "preprocessing", "anchors", "outputs", "masks", "global_classes"):
            if getattr(other, name) != getattr(first, name):
                raise ConfigError(
                    f"fusion mean-outputs: bundles {first.name!r} and {other.name!r} differ in "
                    f"{name}; needed: one network. For different ones use weighted-boxes"
                )


def _find(source: str | os.PathLike[str] | None) -> Path:
    shipped = Path(str(resources.files("hilum").joinpath("pipelines")))
    name = "default" if source is None else os.fspath(source)
    if Path(name).is_file():
        return Path(name)
    known = sorted(path.stem for path in shipped.glob("*.yaml"))
    if name in known:
        return shipped / f"{name}.yaml"
    raise ConfigError(f"there is no such pipeline file, and {unknown('pipeline', name, known)}")


def _read_yaml(path: Path) -> Any:
    content = path.read_bytes()[: MAX_YAML_BYTES + 1]
    if len(content) > MAX_YAML_BYTES:
        raise ConfigError(f"{path}: larger than {MAX_YAML_BYTES} bytes; this is no pipeline")
    try:
        raw = load_yaml(content)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{path}: not YAML ({str(error).splitlines()[0]})") from error
    if not isinstance(raw, dict):
        raise ConfigError(f"{path}: a pipeline is a mapping of keys, see the default one")
    return raw


def _resolved(spec: BundleSpec, folder: Path) -> BundleSpec:
    if spec.bundle == "default":
        return spec
    return spec.model_copy(update={"bundle": str((folder / spec.bundle).resolve())})
