"""A pipeline with its bundles open: `load_pipeline()(radiograph)` -> Findings.

Opens every bundle once, and owns fingerprint, calibration and operating points. Knows no files of
images and no worker processes; it is sent to those as its description.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hilum.core.bundle import Bundle, open_bundle
from hilum.core.errors import BundleError, ConfigError
from hilum.core.findings import Findings, StudyResult
from hilum.core.manifest import BOX, STUDY, Calibration, OperatingPoint
from hilum.core.options import unknown
from hilum.core.prediction import Boxes
from hilum.core.radiograph import Radiograph, Window
from hilum.core.results import ImageResult, PipelineInfo, group_studies
from hilum.inference.check import bundle_problems, check_bundles, needs_of
from hilum.inference.pipeline import ModelSpec, Pipeline, View
from hilum.inference.predictor import Model, Predictor
from hilum.inference.stages.base import Answers, Facts
from hilum.inference.stages.masks import MeanMaps
from hilum.inference.stages.models import Mean
from hilum.inference.views import Mirrored, Scaled

if TYPE_CHECKING:
    from hilum.dicom.stored import StoredImage

Bool = NDArray[np.bool_]


class LoadedPipeline:
    """`loaded(radiograph)`; the same answer for the same image every time.

    Bundles are checked at once; their graphs are opened by `opened()` or the first image.
    """

    def __init__(self, description: Pipeline, *, threads: int = 1) -> None:
        """
        Raises:
            BundleError: a bundle is missing or damaged.
            ConfigError: a model has no bundle, or the bundles do not fit the text.
        """
        self.description, self.threads = description, threads
        self.flows = description.flows()
        self.bundles: dict[str, Bundle] = {
            path: open_bundle(path) for path in description.bundle_paths()
        }
        adapted = {
            name: [spec.adapted(self.bundles[path]) for path in spec.paths]
            for name, spec in description.models.items()
        }
        check_bundles(description, self.flows, adapted)
        self.facts = {name: Facts(name, manifests[0]) for name, manifests in adapted.items()}
        own = {one.preprocessing.window for manifests in adapted.values() for one in manifests}
        # The bundles agree, or the text decides (check.py).
        self.window: Window | None = description.window or own.pop()
        self.operating_points = self._operating_points()
        self._needed = {masks: self._models_of_flows(masks) for masks in (True, False)}

    def __reduce__(self) -> tuple[Any, ...]:
        # Sessions do not travel; another process opens its own.
        return _opened, (self.description, self.threads)

    def opened(self) -> LoadedPipeline:
        """The same with every graph open.

        Raises:
            BundleError: ONNX Runtime refuses a graph, or it is not what its manifest says.
        """
        _ = self.models, self.gates
        return self

    # --- One image ------------------------------------------------------------------------------

    def __call__(self, given: StoredImage | Radiograph, *, masks: bool = True) -> Findings:
        """Findings above the threshold, best first.

        Raises:
            InputRefused: a gate refuses the image, or it cannot be read.
            ModelOutputError: a model gave numbers that mean nothing.
        """
        self.check_header(given)
        if not isinstance(given, Radiograph):
            given = given.radiograph(window=self.window)
        return self.findings(given, masks=masks)

    def check_header(self, given: StoredImage | Radiograph) -> None:
        """The gates that need no pixels.

        Raises:
            InputRefused: the header says that it is not to be analysed.
        """
        for gate in self.gates:
            if gate.of_header:
                gate(given)

    def findings(self, radiograph: Radiograph, *, masks: bool = True) -> Findings:
        """As calling, for an image whose header was checked.

        Raises:
            InputRefused: a gate that looks at pixels refuses it.
            ModelOutputError: a model gave numbers that mean nothing.
        """
        for gate in self.gates:
            if not gate.of_header:
                gate(radiograph)
        image = self._asked(radiograph, masks)
        for name in self._mask_names(masks):
            image.masks[name] = self._mask(name, image, radiograph.valid)
        boxes = self._boxes(image)
        found = Findings(
            width=radiograph.width,
            height=radiograph.height,
            boxes_px=boxes.boxes_px,
            scores=boxes.scores,
            labels=boxes.labels,
            image_scores=self._scores(boxes, image),
            masks=image.masks if masks else {},
            declined=image.declined,
        )
        return found.above(self.threshold)

    def analyse(self, source: Any, *, masks: bool = True) -> ImageResult:
        """The answer to one input: a path, an item, a stored image or a radiograph.

        Never raises because of it; what cannot be analysed has a status and a reason.
        """
        from hilum.inference.run import Job, Worker

        return Worker(Job(self.description, self.threads, masks), self)(source)

    # --- A run ----------------------------------------------------------------------------------

    @property
    def info(self) -> PipelineInfo:
        """Which pipeline answered, for the record."""
        return PipelineInfo(
            name=self.description.name,
            version=self.description.version,
            bundles=tuple((one.name, one.sha256) for one in self._distinct()),
            operating_points=self.operating_points,
            calibrated_on=self._calibrated_on(),
            fingerprint=self.fingerprint,
            window=self.window,
        )

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of everything that decides a result, wherever the files lie."""
        described = self.description.model_dump(mode="json", by_alias=True)
        hashes = {path: bundle.sha256 for path, bundle in self.bundles.items()}
        return hashlib.sha256(
            json.dumps(_hashed(described, hashes), sort_keys=True).encode()
        ).hexdigest()

    def combine(self, images: Sequence[ImageResult]) -> tuple[StudyResult, ...]:
        """Scores of each study from those of its analysed images.

        They are calibrated where the pipeline, or the single bundle behind its scores, says how
        for this way of combining.
        """
        maps = self._study_maps()
        out = []
        for uid, indices in group_studies(images):
            found = [images[index].findings for index in indices]
            scores = self.flows.study([one.image_scores for one in found if one is not None])
            calibrated = {n: float(maps.apply(STUDY + n, s)) for n, s in scores.items()}
            out.append(StudyResult(uid, calibrated, indices))
        return tuple(out)

    # --- Models ---------------------------------------------------------------------------------

    @cached_property
    def models(self) -> Mapping[str, Model]:
        """What answers an image, by name."""
        made: dict[tuple[str, str], Predictor] = {}
        return {
            name: self._model(name, spec, made) for name, spec in self.description.models.items()
        }

    @cached_property
    def gates(self) -> tuple[Any, ...]:
        """The gates, each with its model."""
        out = []
        for gate in self.flows.gates:
            if hasattr(gate, "bound"):
                bundle = self.bundles[gate.bundle]
                facts = Facts(f"gate {bundle.name}", bundle.manifest)
                gate = gate.bound(facts, Predictor(bundle, threads=self.threads))
            out.append(gate)
        return tuple(out)

    def _model(self, name: str, spec: ModelSpec, made: dict[tuple[str, str], Predictor]) -> Model:
        predictors = []
        for path in spec.paths:
            manifest = spec.adapted(self.bundles[path])
            key = path, f"{spec.precision} {manifest.model_dump_json()}"
            if key not in made:  # a bundle behind two models is opened once
                bundle = replace(self.bundles[path], manifest=manifest)
                made[key] = Predictor(bundle, precision=spec.precision, threads=self.threads)
            predictors.append(made[key])
        combine = self.flows.combine.get(name)
        model: Model = combine.model(predictors) if combine else predictors[0]
        views = [_view(model, view) for view in spec.views]
        return views[0] if len(views) == 1 else Mean(views, self.flows.fuse[name])

    def _asked(self, radiograph: Radiograph, masks: bool) -> Answers:
        """The answers of the models that the wanted flows need."""
        image = Answers(width=radiograph.width, height=radiograph.height, facts=self.facts)
        # Who decides whether others are asked comes first, and is always asked itself.
        models = sorted(self.description.models.items(), key=lambda item: item[1].when is not None)
        for name, spec in models:
            if name not in self._needed[masks]:
                continue
            when = spec.when
            if when is not None and not image.reaches(when.score, when.at):
                image.declined[name] = self._why(image, when.score, when.at)
            else:
                image.said[name] = self.models[name](radiograph)
        return image

    def _why(self, image: Answers, score: str, at: float | str) -> str:
        limit = self.facts[score.partition(".")[0]].threshold(score, at)
        name = f" ({at})" if isinstance(at, str) else ""
        return f"not asked: {score} {image.score(score):.3f} is below {limit:.3f}{name}"

    def _models_of_flows(self, masks: bool) -> frozenset[str]:
        """Models that must be asked for the masks, or for boxes and scores alone."""
        wanted = set(self._mask_names(masks))
        names = set[str]()
        for place, needs in needs_of(self.description, self.flows):
            flow = place.partition(",")[0]
            if not flow.startswith("masks.") or flow.removeprefix("masks.") in wanted:
                names |= set(needs.models)
        return frozenset(names)

    # --- Flows ----------------------------------------------------------------------------------

    def _mask_names(self, masks: bool) -> tuple[str, ...]:
        """All masks, or those that other flows need."""
        if masks:
            return tuple(self.flows.masks)
        wanted = {mask for stage in self.flows.boxes for mask in stage.needs().masks}
        for name in reversed(list(self.flows.masks)):
            if name in wanted:
                wanted |= {m for stage in self.flows.masks[name] for m in stage.needs().masks}
        return tuple(name for name in self.flows.masks if name in wanted)

    def _mask(self, name: str, image: Answers, valid: Bool | None) -> Bool:
        value: Any = None
        for stage in self.flows.masks[name]:
            if isinstance(stage, MeanMaps):
                value = stage.of_flow(name, image)
            elif value is not None:
                value = stage(value, image)
        if value is None:  # no model was asked
            return np.zeros((image.height, image.width), np.bool_)
        if valid is not None:
            value &= valid  # nothing is outlined in borders and shutters
        mask: Bool = value
        return mask

    def _boxes(self, image: Answers) -> Boxes:
        boxes = Boxes.none()
        for stage in self.flows.boxes:
            boxes = stage(boxes, image)
        own = self.description.calibration
        if own is not None:
            scores = own.apply(BOX, boxes.scores).astype(np.float32)
            boxes = replace(boxes, scores=scores)
        return boxes

    def _scores(self, boxes: Boxes, image: Answers) -> dict[str, float]:
        own = self.description.calibration or Calibration()
        scores: dict[str, float] = {}
        for stage in self.flows.scores:
            scores |= stage(boxes, image)
        return {name: float(own.apply(name, value)) for name, value in scores.items()}

    # --- Numbers --------------------------------------------------------------------------------

    @property
    def threshold(self) -> float:
        """Boxes below are not shown."""
        points = self.operating_points.values()
        return next((point.threshold for point in points if point.score == BOX), 0.0)

    def _operating_points(self) -> dict[str, OperatingPoint]:
        """The points that stand beside scores, by name; the first is that of the boxes.

        Raises:
            ConfigError: no such point, or one for another score.
        """
        wanted, points = self.description.thresholds, dict[str, OperatingPoint]()
        if self.flows.boxes and isinstance(wanted.boxes, str):
            points[wanted.boxes] = self._point("boxes", wanted.boxes)
        elif self.flows.boxes:
            points["given"] = OperatingPoint(
                threshold=float(wanted.boxes), reason="given", chosen_on="no data"
            )
        for name in wanted.images:
            points[name] = self._point("images", name)
        return points

    def _point(self, flow: str, name: str) -> OperatingPoint:
        known = dict(self.description.operating_points)
        sources = self._sources(flow)
        if len(sources) == 1:
            known = dict(self.facts[sources[0]].manifest.operating_points) | known
        for model in self.facts:
            points = self.facts[model].manifest.operating_points
            known |= {f"{model}.{name}": point for name, point in points.items()}
        where = f"pipeline {self.description.name}: thresholds"
        if name not in known:
            more = (
                f" {flow} rest on {' and '.join(sources)}: points of one of them were not chosen "
                "for all. Give a number, write `operating_points`, or name one as MODEL.POINT."
                if len(sources) > 1
                else ""
            )
            raise ConfigError(f"{where}: {unknown('operating point', name, known)}{more}")
        if (known[name].score == BOX) != (flow == "boxes"):
            raise ConfigError(
                f"{where}: operating point {name!r} is for the score {known[name].score!r}; "
                "`boxes` takes one for 'box', `images` one for others"
            )
        return known[name]

    def _sources(self, flow: str) -> list[str]:
        """The models on which boxes or image scores rest."""
        if flow == "boxes":
            needs = [stage.needs() for stage in self.flows.boxes]
            return list(dict.fromkeys(model for one in needs for model in one.boxes))
        needs = [stage.needs() for stage in self.flows.scores]
        return list(dict.fromkeys(model for one in needs for model in one.models))

    def _study_maps(self) -> Calibration:
        own = self.description.calibration
        if own is None:
            sources = self._sources("scores")
            single = len(sources) == 1 and len(self.description.models[sources[0]].paths) == 1
            own = self.facts[sources[0]].manifest.calibration if single else None
        fits = own is not None and own.study_how == self.flows.study.how
        return own if own is not None and fits else Calibration()

    def _calibrated_on(self) -> str:
        own = self.description.calibration
        if own is not None:
            return own.fitted_on
        fitted = {
            name: facts.manifest.calibration.fitted_on
            for name, facts in self.facts.items()
            if facts.manifest.calibration is not None and facts.manifest.calibration.fitted_on
        }
        if len(self.facts) == 1:
            return next(iter(fitted.values()), "")
        return "; ".join(f"{name}: {on}" for name, on in fitted.items())

    def _distinct(self) -> list[Bundle]:
        return list({bundle.sha256: bundle for bundle in self.bundles.values()}.values())


def load_pipeline(
    source: Pipeline | str | os.PathLike[str] | None = None,
    *,
    precision: str | None = None,
    threads: int = 1,
    threshold: float | None = None,
) -> LoadedPipeline:
    """A pipeline with every bundle open, ready for many images.

    Args:
        source: a YAML file, the name of a shipped pipeline, a description, or None: the default.
        precision: "fp32" or "int8" for all models; None for what the text or each bundle prefers.
        threads: threads of each network.
        threshold: show boxes from this score on; None for the pipeline's threshold.

    Raises:
        ConfigError, BundleError: the text, its bundles or the options are wrong.

    Example:
        >>> import hilum
        >>> loaded = hilum.load_pipeline()  # doctest: +SKIP
        >>> findings = loaded(hilum.read("chest.dcm"))  # doctest: +SKIP
    """
    description = Pipeline.load(source).changed(precision=precision, threshold=threshold)
    return LoadedPipeline(description, threads=threads).opened()


def examine(description: Pipeline) -> tuple[dict[str, list[dict[str, Any]]], list[str]]:
    """What the bundles of each model give, and everything that keeps the pipeline from running."""
    models: dict[str, list[dict[str, Any]]] = {}
    problems: list[str] = []
    for name, spec in description.models.items():
        models[name] = []
        if not spec.paths:
            problems.append(description.missing(name))
        for path in spec.paths:
            try:
                models[name].append(_gives(spec, open_bundle(path)))
            except BundleError as error:
                problems.append(f"model {name!r}: {error}")
    if problems:
        return models, problems
    try:
        adapted = {
            name: [spec.adapted(open_bundle(path)) for path in spec.paths]
            for name, spec in description.models.items()
        }
        problems += bundle_problems(description, description.flows(), adapted)
        if not problems:
            LoadedPipeline(description).opened()
    except (BundleError, ConfigError) as error:
        problems.append(str(error))
    return models, problems


def _gives(spec: ModelSpec, bundle: Bundle) -> dict[str, Any]:
    manifest = spec.adapted(bundle)
    gives = [f"boxes of {', '.join(manifest.labels)}"] if manifest.has_boxes else []
    gives += [f"mask {name}" for name in manifest.masks]
    gives += [f"score {name}" for name in manifest.image_scores]
    return {
        "name": bundle.name,
        "version": bundle.version,
        "sha256": bundle.sha256,
        "size": manifest.preprocessing.size,
        "precision": spec.precision or manifest.default_precision,
        "gives": gives,
        "operating_points": list(manifest.operating_points),
    }


def _opened(description: Pipeline, threads: int) -> LoadedPipeline:
    return LoadedPipeline(description, threads=threads).opened()


def _view(model: Model, view: View) -> Model:
    if view.scale < 1:
        model = Scaled(model, view.scale)
    return Mirrored(model) if view.flip else model


def _hashed(value: Any, hashes: Mapping[str, str]) -> Any:
    """The description with hashes in the place of bundles."""
    if isinstance(value, dict):
        return {
            key: [hashes.get(one, one) for one in item]
            if key == "bundles"
            else hashes.get(item, item)
            if key == "bundle" and isinstance(item, str)
            else _hashed(item, hashes)
            for key, item in value.items()
        }
    return [_hashed(item, hashes) for item in value] if isinstance(value, list) else value
