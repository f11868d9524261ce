"""Whose score `hilum explain` explains, and who finds what stands beside the map."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hilum.core.findings import Findings
    from hilum.core.radiograph import Radiograph
    from hilum.dicom.stored import StoredImage
    from hilum.explain.heat import Heat
    from hilum.inference.loaded import LoadedPipeline
    from hilum.inference.pipeline import Pipeline

    Found = tuple[Radiograph, Findings]

SURE = 0.5  # a run has no operating points: its boxes are drawn from here on


@dataclass(frozen=True, slots=True, kw_only=True)
class Explainer:
    """Whose score is explained, and by whom the findings beside it are."""

    of: str
    found_by: str
    heat: Callable[[StoredImage], Heat]
    find: Callable[[StoredImage], Found]
    spread: Callable[[StoredImage], dict[str, float]] | None = None  # of --sanity


def explainer(
    described: Pipeline | None, run: Path | None, score: str | None, method: str
) -> Explainer:
    """A run by gradients, or a model of a pipeline by occlusion.

    Args:
        described: whose findings are drawn; None: those of the run's own network.

    Raises:
        ConfigError: a method, score or run that is not there.
    """
    if run is not None:
        return _by_gradients(described, run, score, method)
    assert described is not None
    return _by_occlusion(described, score)


def _by_occlusion(described: Pipeline, score: str | None) -> Explainer:
    from hilum.explain.asked import asked, explained
    from hilum.inference.loaded import load_pipeline

    loaded = load_pipeline(described)
    what = asked(loaded, score)
    names = dict.fromkeys(one.bundle.name for one in loaded.predictors(what.model))
    return Explainer(
        of=" and ".join(names),
        found_by=loaded.description.name,
        heat=lambda stored: explained(loaded, what, stored.radiograph(window=loaded.window)),
        find=_finder(loaded),
    )


def _by_gradients(
    described: Pipeline | None, run: Path, score: str | None, method: str
) -> Explainer:
    from hilum.core.errors import ConfigError
    from hilum.core.extras import require

    require("train")
    from hilum.core.prepare import prepare
    from hilum.explain.gradients import METHODS, heat_of
    from hilum.explain.sanity import cascade
    from hilum.inference.loaded import load_pipeline
    from hilum.train.evaluation import findings_of
    from hilum.train.export.bundle import network_of

    if method not in METHODS:
        from hilum.core.options import unknown

        raise ConfigError(unknown("method", method, ("occlusion", *METHODS)))
    net, recipe = network_of(run)

    def heat(stored: StoredImage, one: Any = net) -> Heat:
        image, frame = prepare(stored.radiograph(window=recipe.spec.window), recipe.spec)
        return heat_of(one, recipe.names, image, frame=frame, score=score, method=method)

    def spread(stored: StoredImage) -> dict[str, float]:
        parts = cascade(net, lambda twin: heat(stored, twin).grid)
        return {f"{part:.0%} of layers randomised": value for part, value in parts.items()}

    def find(stored: StoredImage) -> Found:
        radiograph = stored.radiograph(window=recipe.spec.window)
        image, frame = prepare(radiograph, recipe.spec)
        return radiograph, findings_of(net, image, frame, recipe).above(SURE)

    return Explainer(
        of=run.name,
        found_by=f"{run.name}, boxes from {SURE:.2f}" if described is None else described.name,
        heat=heat,
        find=find if described is None else _finder(load_pipeline(described)),
        spread=spread,
    )


def _finder(loaded: LoadedPipeline) -> Callable[[StoredImage], Found]:
    def find(stored: StoredImage) -> Found:
        loaded.check_header(stored)
        radiograph = stored.radiograph(window=loaded.window)
        return radiograph, loaded.findings(radiograph)

    return find
