"""Which score of a pipeline is explained: by its name, of the model that gives it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from hilum.core.errors import ConfigError
from hilum.core.options import unknown
from hilum.core.radiograph import Radiograph
from hilum.explain.activation import METHOD as ACTIVATION
from hilum.explain.activation import class_activation
from hilum.explain.heat import Heat, mean_heat
from hilum.explain.occlusion import METHOD as OCCLUSION
from hilum.explain.occlusion import occlusion, scores_of
from hilum.inference.loaded import LoadedPipeline
from hilum.inference.predictor import Predictor

# Ways of explaining a bundle, without PyTorch.
OF_BUNDLES: Mapping[str, Callable[[Predictor, Radiograph, str | None], Heat]] = {
    OCCLUSION: occlusion,
    ACTIVATION: class_activation,
}


@dataclass(frozen=True, slots=True)
class Asked:
    """A model of a pipeline, and the name of its score; None: the positive one, or its boxes'."""

    model: str
    score: str | None


def asked(loaded: LoadedPipeline, score: str | None) -> Asked:
    """
    Args:
        score: "model.score", a model or a score alone, "box"; None where one model has any.

    Raises:
        ConfigError: no such score, or several.
    """
    known = {
        name: facts.manifest for name, facts in loaded.facts.items() if scores_of(facts.manifest)
    }
    if not known:
        raise ConfigError(
            f"pipeline {loaded.description.name} has no score that could be explained"
        )
    model, _, own = (score or "").partition(".")
    if model in known:
        return Asked(model, own or None)
    giving = [name for name, one in known.items() if score is None or score in scores_of(one)]
    if len(giving) == 1:
        return Asked(giving[0], score)
    if giving:
        raise ConfigError(
            f"pipeline {loaded.description.name}: {score or 'a score'} is given by "
            f"{' and '.join(giving)}; needed: one of them, such as --score {giving[-1]}"
        )
    names = [f"{name}.{score}" for name, one in known.items() for score in scores_of(one)]
    raise ConfigError(unknown("score", score, names))


def explained(
    loaded: LoadedPipeline, what: Asked, radiograph: Radiograph, method: str = OCCLUSION
) -> Heat:
    """By one of `OF_BUNDLES`; of a model of several bundles (folds) the mean of each one's map.

    Raises:
        ConfigError: no such method, or the model has no such score.
    """
    if method not in OF_BUNDLES:
        raise ConfigError(unknown("method", method, OF_BUNDLES))
    ask = OF_BUNDLES[method]
    return mean_heat([ask(one, radiograph, what.score) for one in loaded.predictors(what.model)])
