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
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hilum.core.bundle import Bundle, open_bundle
from hilum.core.errors import ConfigError
from hilum.core.findings import Findings, LateMasks, StudyResult
from hilum.core.manifest import BOX, STUDY, Calibration
from hilum.core.options import unknown
from hilum.core.prediction import Boxes
from hilum.core.radiograph import Radiograph, Window
from hilum.core.results import ImageResult, PipelineInfo, group_studies
from hilum.inference.check import check_bundles, needs_of
from hilum.inference.numbers import Numbers
from hilum.inference.pipeline import Pipeline
from hilum.inference.predictor import Model, Predictor
from hilum.inference.stages.base import Answers, Facts
from hilum.inference.stages.masks import MeanMaps
from hilum.inference.stages.models import Mean
from hilum.inference.text import ModelSpec, View
from hilum.inference.views import Mirrored, Scaled

if TYPE_CHECKING:
    from hilum.dicom.stored import StoredImage

Bool = NDArray[np.bool_]


class LoadedPipeline:
    """`loaded(radiograph)`; the same answer for the same image every time.

    Bundles are checked at once; their graphs are opened by `opened()` or the first image.
    """

    def __init__(
        self,
        description: Pipeline,
        *,
        threads: int = 1,
        bundles: Mapping[str, Bundle] | None = None,
    ) -> None:
        """
        Args:
            bundles: those that are open already, by their paths.

        Raises:
            BundleError: a bundle is missing or damaged.
            ConfigError: a model has no bundle, or the bundles do not fit the text.
        """
        self.description, self.threads = description, threads
        self.flows = description.flows()
        known = bundles or {}
        self.bundles: dict[str, Bundle] = {
            path: known[path] if path in known else open_bundle(path)
            for path in description.bundle_paths()
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
        self.numbers = Numbers(description, self.flows, self.facts)
        self.operating_points = self.numbers.operating_points()
        self._predictors: dict[tuple[str, str], Predictor] = {}
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

    def check_pixels(self, radiograph: Radiograph) -> None:
        """The gates that look at pixels.

        Raises:
            InputRefused: it is not to be analysed.
        """
        for gate in self.gates:
            if not gate.of_header:
                gate(radiograph)

    def findings(self, radiograph: Radiograph, *, masks: bool = True) -> Findings:
        """As calling, for an image whose header was checked.

        Raises:
            InputRefused: a gate that looks at pixels refuses it.
            ModelOutputError: a model gave numbers that mean nothing.
        """
        self.check_pixels(radiograph)
        image = self._asked(radiograph, masks)
        makers = {
            name: partial(self._mask, name, image, radiograph.valid)
            for name in self._mask_names(masks)
        }
        image.masks = LateMasks(makers, radiograph.width, radiograph.height)
        boxes = self._boxes(image)
        findings = Findings(
            width=radiograph.width,
            height=radiograph.height,
            boxes_px=boxes.boxes_px,
            scores=boxes.scores,
            labels=boxes.labels,
            image_scores=self._scores(boxes, image),
            masks=image.masks if masks else {},
            declined=image.declined,
        )
        return findings.above(self.threshold)

    # --- A run ----------------------------------------------------------------------------------

    @cached_property
    def info(self) -> PipelineInfo:
        """Which pipeline answered, for the record."""
        return PipelineInfo(
            name=self.description.name,
            version=self.description.version,
            bundles=tuple((one.name, one.sha256) for one in self._distinct()),
            operating_points=self.operating_points,
            calibrated_on=self.numbers.calibrated_on(),
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
        maps = self.numbers.study_maps()
        out = []
        for uid, indices in group_studies(images):
            findings = [images[index].findings for index in indices]
            scores = self.flows.study([one.image_scores for one in findings if one is not None])
            calibrated = {n: float(maps.apply(STUDY + n, s)) for n, s in scores.items()}
            out.append(StudyResult(uid, calibrated, indices))
        return tuple(out)

    # --- Models ---------------------------------------------------------------------------------

    @cached_property
    def models(self) -> Mapping[str, Model]:
        """What answers an image, by name."""
        return {name: self._model(name, spec) for name, spec in self.description.models.items()}

    def predictors(self, name: str) -> list[Predictor]:
        """The bundles behind a model, as its text adapts them.

        Raises:
            ConfigError: no such model.
        """
        if name not in self.description.models:
            raise ConfigError(
                f"pipeline {self.description.name}: "
                f"{unknown('model', name, self.description.models)}"
            )
        spec, out = self.description.models[name], list[Predictor]()
        for path in spec.paths:
            manifest = spec.adapted(self.bundles[path])
            key = path, f"{spec.precision} {manifest.model_dump_json()}"
            if key not in self._predictors:  # a bundle behind two models is opened once
                bundle = replace(self.bundles[path], manifest=manifest)
                self._predictors[key] = Predictor(
                    bundle, precision=spec.precision, threads=self.threads
                )
            out.append(self._predictors[key])
        return out

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

    def _model(self, name: str, spec: ModelSpec) -> Model:
        predictors = self.predictors(name)
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
                image.predictions[name] = self.models[name](radiograph)
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

    @property
    def threshold(self) -> float:
        """Boxes below are not shown."""
        points = self.operating_points.values()
        return next((point.threshold for point in points if point.score == BOX), 0.0)

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
