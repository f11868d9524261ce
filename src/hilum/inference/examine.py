"""What the bundles of a pipeline give, and everything that keeps it, or a bundle, from running."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from hilum.core.bundle import Bundle, bundle_faults, bundle_path, load_bundle, open_bundle
from hilum.core.errors import BundleError, ConfigError, ModelOutputError
from hilum.core.radiograph import Radiograph
from hilum.inference.check import bundle_problems
from hilum.inference.loaded import LoadedPipeline
from hilum.inference.pipeline import Pipeline
from hilum.inference.predictor import Predictor
from hilum.inference.stages.base import gives
from hilum.inference.text import ModelSpec

GREY = Radiograph(np.full((64, 64), 0.5, np.float32))


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


def examine_bundle(name: str | os.PathLike[str]) -> list[str]:
    """Everything that is wrong with a bundle, named or by its path: its files against manifest and
    hashes; then each graph, opened and asked about a grey image, against what the manifest says of
    inputs and outputs."""
    try:
        path = bundle_path(name)
    except BundleError as error:
        return [str(error)]
    if faults := bundle_faults(path):
        return faults
    bundle = load_bundle(path)
    wrong = []
    for precision in bundle.manifest.precisions:
        try:
            Predictor(bundle, precision=precision)(GREY)
        except (BundleError, ModelOutputError) as error:
            wrong.append(f"{precision}: {error}")
    return wrong


def _gives(spec: ModelSpec, bundle: Bundle) -> dict[str, Any]:
    manifest = spec.adapted(bundle)
    return {
        "name": bundle.name,
        "version": bundle.version,
        "sha256": bundle.sha256,
        "size": manifest.preprocessing.size,
        "precision": spec.precision or manifest.default_precision,
        "gives": gives(manifest),
        "operating_points": list(manifest.operating_points),
    }
