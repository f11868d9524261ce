"""Every published experiment has a recipe; each builds its network, and its kind takes a step."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from hilum.models.encoder import load_weights
from hilum.models.model import Batch
from hilum.models.registry import build_model
from hilum.models.weights import read_weights
from hilum.train.optim import freeze, optimiser
from hilum.train.recipe import Recipe, load_recipe, recipe_folder, recipe_names

SIZE = 64
# Of the models that ship (scripts/train_all.sh): they are small themselves.
SHIPPED = {
    *("default", "nih-pretraining", "covid-fasterrcnn", "covid-yolo", "covid-study"),
    *("pneumothorax-classifier", "pneumothorax-segmenter"),
}
OWN = ("own-labels", "own-boxes", "own-masks")  # for sets of one's own, from the shipped weights
NAMES = [name for name in recipe_names() if name not in {*SHIPPED, *OWN, "ablation"}]
FULL = [name for name in NAMES if not name.endswith("-small")]
# The network of nih-resnext101, whose twin stands for it: no set to train a twin on is at hand.
OWN = {"own-boxes", "own-labels", "own-masks"}  # are small themselves
TWINLESS = {"nih-chexpert-resnext101", *OWN}
TINY = "test_efficientnet"  # timm's, of a few thousand weights


def one_of_each_network(names: list[str], *apart: str) -> list[str]:
    """Recipes that differ in their network, but for those settings; others share one."""
    first: dict[str, str] = {}
    for name in names:
        model = load_recipe(name).model.model_dump(exclude={"pretrained", *apart})
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


@pytest.mark.parametrize("name", [name for name in FULL if name not in TWINLESS])
def test_every_full_recipe_has_a_small_twin_of_the_same_architecture(name: str) -> None:
    full, small = load_recipe(name), load_recipe(f"{name}-small")
    assert small.model.kind == full.model.kind
    assert small.preprocessing.size <= 256
    assert small.augment == full.augment
    assert small.model.encoder == "tf_efficientnet_lite0"


@pytest.mark.parametrize("name", one_of_each_network(FULL))
def test_a_full_recipe_builds_its_network(name: str) -> None:
    """Without memory for its weights: layers, what is frozen, and the optimiser's groups."""
    recipe = load_recipe(name, ("model.pretrained=false",))
    with torch.device("meta"):
        net = build_model(recipe.model, SIZE, recipe.names, recipe.seed)
    assert sum(p.numel() for p in net.parameters()) > (1e6 if name in OWN else 5e6)
    for stage in recipe.stages.values():
        freeze(net, stage)
        optim = optimiser(net, stage.learning_rate or 1.0, recipe.optimiser)
        assert any(p.requires_grad for group in optim.param_groups for p in group["params"])


@pytest.mark.parametrize("name", one_of_each_network(FULL, "encoder"))
def test_each_kind_of_network_takes_a_step(name: str) -> None:
    small = ("channels", "tower", "head_width", "hidden", "proposals")
    plain = load_recipe(name, ("model.pretrained=false", f"model.encoder={TINY}"))
    cheap = {key: 32 for key in small if getattr(plain.model, key, None)}
    cheap |= {"tower": 1} if "tower" in cheap else {}
    recipe = plain.model_copy(update={"model": plain.model.model_copy(update=cheap)})
    net = build_model(recipe.model, SIZE, recipe.names, recipe.seed)
    stage = list(recipe.stages.values())[-1]
    freeze(net, stage)
    optim = optimiser(net.train(), 1e-3, recipe.optimiser)
    before = [p.detach().clone() for group in optim.param_groups for p in group["params"]]
    loss = torch.stack(list(net.loss(batch(recipe)).values())).sum()
    loss.backward()
    optim.step()
    assert torch.isfinite(loss)
    after = [p for group in optim.param_groups for p in group["params"]]
    assert any(not torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_every_recipe_of_a_shipped_model_is_one_that_is_trained() -> None:
    script = (recipe_folder().parent / "scripts" / "train_all.sh").read_text()
    for name in SHIPPED:
        assert load_recipe(name).name == name
        assert name in script, f"{name} ships, but train_all.sh does not train it"


@pytest.mark.parametrize("name", sorted(SHIPPED - {"default"}))
def test_a_shipped_models_network_takes_a_step(name: str) -> None:
    tiny = (f"model.encoder={TINY}", "model.pretrained=false", "train.precision=fp32")
    recipe = load_recipe(name, tiny)
    net = build_model(recipe.model, SIZE, recipe.names, recipe.seed).train()
    before = [p.detach().clone() for p in net.parameters()]
    optim = optimiser(net, 1e-3, recipe.optimiser)
    parts = net.loss(batch(recipe))
    torch.stack(list(parts.values())).sum().backward()
    optim.step()
    assert all(torch.isfinite(value).all() for value in parts.values())
    moved = [not torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True)]
    assert any(moved)


@pytest.mark.parametrize(
    ("name", "changes", "new"),
    [
        ("own-boxes", (), set()),
        ("own-boxes", ("targets.labels=[nodule, mass]",), {"class_logit"}),
        ("own-masks", ("targets.masks=[heart]",), {"mask_head.1"}),
    ],
)
def test_a_small_set_of_ones_own_begins_from_what_ships(
    name: str, changes: tuple[str, ...], new: set[str]
) -> None:
    """Everything but the last layer for other names; the encoder rests at first."""
    recipe = load_recipe(name, changes)
    assert recipe.train.start == "default"
    net = build_model(recipe.model, SIZE, recipe.names, recipe.seed)
    account = load_weights(net, read_weights(recipe.train.start), recipe.train.start)
    assert {key.rpartition(".")[0] for key in account.reshaped} == new
    assert all(key.endswith("num_batches_tracked") for key in account.missing)
    first = next(iter(recipe.stages.values()))
    freeze(net, first)
    assert not any(p.requires_grad for p in net.encoder.parameters())
    assert any(p.requires_grad for p in net.parameters())
