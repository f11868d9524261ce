"""One arm of the default training: the common base, then one short target stage per fold.

`base` sees no COVID-opacity patient. Each fold's target stage starts from it and leaves that
fold out; the final model trains on all folds. Baseline arms go the same way.
"""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from torch import nn

from hilum.core.anchors import AnchorGrid
from hilum.models.baselines import TorchvisionRetinaNet
from hilum.models.opacity_net import OpacityNet
from hilum.train.fit import fit
from hilum.train.recipe import Recipe
from hilum.train.split import Parts


def build_net(recipe: Recipe) -> nn.Module:
    """The recipe's network, seeded."""
    torch.manual_seed(recipe.seed)
    options, size = recipe.model, recipe.preprocessing.size
    if options.kind == "opacity-net":
        grid = AnchorGrid(**options.anchors.model_dump())
        return OpacityNet(
            encoder_name=options.encoder,
            pretrained=options.pretrained,
            size=size,
            grid=grid,
            channels=options.channels,
            dropout=options.dropout,
            weights=options.loss_weights,
        )
    return TorchvisionRetinaNet(
        options.kind, encoder_name=options.encoder, size=size, pretrained=options.pretrained
    )


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
