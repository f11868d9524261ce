"""A bundle's batch norms, folded by the exporter, become trainable without changing the network."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hilum.core.bundle import open_bundle
from hilum.core.errors import ConfigError
from hilum.inference.session import Session
from hilum.models.encoder import encoder
from hilum.models.folded import settle, unfolded
from hilum.models.model import Model
from hilum.models.registry import build_model
from hilum.models.weights import read_weights
from hilum.train.recipe import load_recipe
from hilum.train.run import start_from


@pytest.fixture
def default() -> Model:
    recipe = load_recipe("default")
    net = build_model(
        recipe.model.model_copy(update={"pretrained": False}), 256, recipe.names, seed=0
    )
    start_from(net, "default")
    return net


def images(seed: int, count: int = 4) -> torch.Tensor:
    smooth = torch.randn(count, 1, 16, 16, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(smooth, 256, mode="bilinear")


def heads(net: Model, image: torch.Tensor) -> dict[str, np.ndarray]:
    with torch.no_grad():
        return {name: value.numpy() for name, value in net.eval()(image).items()}


def test_the_network_says_what_the_graph_of_its_bundle_says(default: Model) -> None:
    image = images(0, 1)
    graph = Session(open_bundle("default"), "fp32").run(image[0].numpy())
    for stage in ("unfolded", "settled"):
        for name, found in heads(default, image).items():
            if (shipped := getattr(graph, name)) is None:
                continue  # a head that the graph left out
            np.testing.assert_allclose(found[0], shipped, rtol=1e-3, atol=2e-4, err_msg=stage)
        settle(default, [images(1)])
    assert not unfolded(default)


def test_under_training_a_settled_network_begins_as_it_was(default: Model) -> None:
    """Unsettled, dividing by the batch's deviation would make another network of it."""
    image = images(1, 8)
    before = heads(default, image)["mask_logits"]

    def change(net: Model) -> float:
        norms = [m for m in net.modules() if isinstance(m, torch.nn.BatchNorm2d)]
        for norm in norms:
            norm.train()
        with torch.no_grad():
            after = net(image)["mask_logits"].numpy()
        return float(np.abs(after - before).mean() / np.abs(before).mean())

    wrong = change(default)
    start_from(default, "default")
    settle(default, [image])
    default.eval()
    right = change(default)
    assert right < 0.02 < 0.2 < wrong


def test_an_encoder_begins_from_the_bundle_whole() -> None:
    own = encoder("tf_efficientnet_lite0", pretrained=False).state_dict()
    found = encoder("tf_efficientnet_lite0", pretrained="default").state_dict()
    same = [
        key
        for key in own
        if not key.endswith("num_batches_tracked") and torch.equal(own[key], found[key])
    ]
    # Nothing is as it was, but for what a new batch norm and an unfolded one have in common.
    assert {key.rsplit(".", 1)[1] for key in same} <= {"weight", "running_mean"}
    assert all(own[key].ndim == 1 for key in same)


def test_a_bundle_without_an_fp32_graph_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"no weights in gate.*fp32"):
        read_weights("gate")
