"""The explainer that the options of `hilum explain` ask for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hilum.core.findings import Findings
    from hilum.core.radiograph import Radiograph
    from hilum.dicom.stored import StoredImage
    from hilum.explain.explainer import Explainer
    from hilum.inference.pipeline import Pipeline

SURE = 0.5  # a run has no operating points: its boxes are drawn from here on


def explainer(
    described: Pipeline | None, run: Path | None, score: str | None, method: str
) -> Explainer:
    """A run by gradients, or a model of a pipeline by its bundles.

    Args:
        described: whose findings are drawn; None: those of the run's own network.

    Raises:
        ConfigError: a method, score or run that is not there.
    """
    from hilum.explain.explainer import by_bundle
    from hilum.inference.loaded import load_pipeline

    if run is not None:
        return _of_run(run, described, score, method)
    assert described is not None
    return by_bundle(load_pipeline(described), score, method)


def _of_run(run: Path, described: Pipeline | None, score: str | None, method: str) -> Explainer:
    from hilum.core.errors import ConfigError
    from hilum.core.extras import require

    require("train")
    from hilum.core.options import unknown
    from hilum.core.prepare import prepare
    from hilum.explain.explainer import finder
    from hilum.explain.gradients import METHODS, by_gradients
    from hilum.inference.loaded import load_pipeline
    from hilum.train.evaluation import findings_of
    from hilum.train.export.bundle import network_of

    if method not in METHODS:
        raise ConfigError(unknown("method", method, METHODS))
    net, recipe = network_of(run)

    def find(stored: StoredImage) -> tuple[Radiograph, Findings]:
        radiograph = stored.radiograph(window=recipe.spec.window)
        image, frame = prepare(radiograph, recipe.spec)
        return radiograph, findings_of(net, image, frame, recipe).above(SURE)

    return by_gradients(
        net,
        recipe.names,
        recipe.spec,
        of=run.name,
        found_by=f"{run.name}, boxes from {SURE:.2f}" if described is None else described.name,
        find=find if described is None else finder(load_pipeline(described)),
        score=score,
        method=method,
    )
