"""One arm of the default training: the common base, then one short target stage per fold.

`base` sees no COVID-opacity patient. Each fold's target stage starts from it and leaves that
fold out; the final model trains on all folds. Baseline arms go the same way.
"""

from __future__ import annotations

import copy
from pathlib import Path

from hilum.data.sets import NIH_FINDINGS
from hilum.models.model import Model, Targets
from hilum.models.registry import build_model
from hilum.train.fit import fit
from hilum.train.recipe import Recipe
from hilum.train.split import Parts

TARGETS = Targets(findings=NIH_FINDINGS)


def build_net(recipe: Recipe) -> Model:
    """The recipe's network, seeded."""
    return build_model(recipe.model, recipe.preprocessing.size, TARGETS, recipe.seed)


def train_arm(recipe: Recipe, parts: Parts, out: Path, *, final: bool = True) -> None:
    """Leaves `base`, `fold0` ... and, if `final`, `final` below `out`, each with its weights."""
    net = build_net(recipe)
    fit(net, "base", recipe, parts.train, out / "base", seed=recipe.seed)
    roles: list[int | None] = [*range(len(parts.folds)), *([None] if final else [])]
    for fold in roles:
        target = copy.deepcopy(net)
        groups = {**parts.train, "covid_opacity_512": parts.target_train(fold)}
        name = "final" if fold is None else f"fold{fold}"
        fit(target, "target", recipe, groups, out / name, seed=recipe.seed + 1)
