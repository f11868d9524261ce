"""What the bundles of a pipeline give, and everything that keeps it from running."""

from __future__ import annotations

from typing import Any

from hilum.core.bundle import Bundle, open_bundle
from hilum.core.errors import BundleError, ConfigError
from hilum.inference.check import bundle_problems
from hilum.inference.loaded import LoadedPipeline
from hilum.inference.pipeline import Pipeline
from hilum.inference.stages.base import gives
from hilum.inference.text import ModelSpec


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
    return {
        "name": bundle.name,
        "version": bundle.version,
        "sha256": bundle.sha256,
        "size": manifest.preprocessing.size,
        "precision": spec.precision or manifest.default_precision,
        "gives": gives(manifest),
        "operating_points": list(manifest.operating_points),
    }
