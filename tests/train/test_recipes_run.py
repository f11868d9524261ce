"""Every published experiment has a recipe; each builds its network and takes one step."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from hilum.models.model import Batch
from hilum.models.registry import build_model
from hilum.train.optim import freeze, optimiser
from hilum.train.recipe import Recipe, load_recipe, recipe_names

SIZE = 64
NAMES = [name for name in recipe_names() if name != "default"]
CHEAP = "tf_efficientnet_lite0"
FULL = [name for name in NAMES if not name.endswith("-small")]


def one_of_each_network(names: list[str]) -> list[str]:
    """Recipes that differ in their network; those that differ in augmentation share one."""
    first: dict[str, str] = {}
    for name in names:
        model = load_recipe(name).model.model_dump(exclude={"pretrained"})
        first.setdefault(json.dumps(model, sort_keys=True), name)
    return list(first.values())


def batch(recipe: Recipe) -> Batch:
    """Two images, one with an opacity and one without."""
    targets, rng = recipe.names, np.random.default_rng(0)
    masks = torch.zeros(2, len(targets.masks), SIZE, SIZE, dtype=torch.uint8)
    masks[0, :, 16:40, 16:40] = 1
    label = torch.zeros(2, len(targets.classes))
    label[0, -1:], label[1, :1] = 1, 1
    findings = torch.zeros(2, len(targets.findings))
    findings[0] = 1
    return Batch(
        torch.from_numpy(rng.normal(size=(2, 1, SIZE, SIZE)).astype(np.float32)),
        [torch.tensor([[16.0, 16, 40, 40]]), torch.zeros(0, 4)],
        [torch.zeros(1, dtype=torch.int64), torch.zeros(0, dtype=torch.int64)],
        masks,
        label,
        findings,
    )


@pytest.mark.parametrize("name", FULL)
def test_every_full_recipe_has_a_small_twin_of_the_same_architecture(name: str) -> None:
    full, small = load_recipe(name), load_recipe(f"{name}-small")
    assert small.model.kind == full.model.kind
    assert small.preprocessing.size <= 256
    assert small.augment == full.augment
    assert small.model.encoder == "tf_efficientnet_lite0"


@pytest.mark.slow
@pytest.mark.parametrize("name", one_of_each_network(FULL))
def test_a_full_recipe_builds_and_takes_a_step(name: str) -> None:
    recipe = load_recipe(name, ("model.pretrained=false",))
    torch.set_num_threads(2)
    net = build_model(recipe.model, SIZE, recipe.names, recipe.seed)
    stage = list(recipe.stages.values())[-1]
    freeze(net, stage)
    made = optimiser(net.train(), stage.learning_rate, recipe.optimiser)
    before = [p.detach().clone() for group in made.param_groups for p in group["params"]]
    loss = torch.stack(list(net.loss(batch(recipe)).values())).sum()
    loss.backward()
    made.step()
    assert torch.isfinite(loss)
    after = [p for group in made.param_groups for p in group["params"]]
    assert any(not torch.equal(a, b) for a, b in zip(before, after, strict=True))
