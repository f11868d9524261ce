"""One arm of the default training: the common base, then one short target stage per fold.

`base` sees no COVID-opacity patient. Each fold's target stage starts from it and leaves that
fold out; the final model trains on all folds. Baseline arms go the same way.
"""

from __future__ import annotations

import copy
from pathlib import Path

from hilum.models.model import Model
from hilum.models.registry import build_model
from hilum.train.feed import mixed
from hilum.train.loop import epochs, fit, targets_of
from hilum.train.recipe import Recipe
from hilum.train.split import Parts


def build_net(recipe: Recipe) -> Model:
    """The recipe's network, seeded."""
    return build_model(recipe.model, recipe.preprocessing.size, targets_of(recipe), recipe.seed)


def train_arm(recipe: Recipe, parts: Parts, out: Path, *, final: bool = True) -> None:
    """Leaves `base`, `fold0` ... and, if `final`, `final` below `out`, each with its weights."""
    net = build_net(recipe)
    mix = {name: recipe.stages[name].mix or {} for name in ("base", "target")}
    fit(net, "base", recipe, mixed(parts.train, mix["base"]), out / "base", seed=recipe.seed)
    roles: list[int | None] = [*range(len(parts.folds)), *([None] if final else [])]
    for fold in roles:
        target = copy.deepcopy(net)
        groups = {**parts.train, "covid_opacity_512": parts.target_train(fold)}
        name = "final" if fold is None else f"fold{fold}"
        draw = mixed(groups, mix["target"])
        seed, first = recipe.seed + 1, epochs(recipe, "base")
        fit(target, "target", recipe, draw, out / name, seed=seed, first=first)
