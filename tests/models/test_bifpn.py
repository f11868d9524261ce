"""BiFPN fuses as Tan et al. 2020 draw it (figure 3), and its graph is the network."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter
from torch import nn

from helpers.batches import EMPTY, SIZE, TARGETS, TWO, batch
from hilum.inference.session import HEADS
from hilum.models.bifpn import BiFPN, Layer, Node
from hilum.models.model import Model
from hilum.models.options import ModelOptions
from hilum.models.registry import build_model

OPTIONS = {
    **{"kind": "retinanet", "encoder": "test_efficientnet", "pretrained": False, "channels": 16},
    **{"neck": "bifpn", "neck_layers": 2, "tower": 1, "tower_conv": "separable"},
}


def model(**changes: object) -> Model:
    return build_model(
        TypeAdapter(ModelOptions).validate_python(OPTIONS | changes), SIZE, TARGETS, 0
    )


def test_nodes_take_what_the_paper_draws() -> None:
    layer = Layer(1, 3)
    for node in layer.modules():
        if isinstance(node, Node):
            node.mix = nn.Sequential()
    fine, mid, coarse = (torch.full((1, 1, s, s), v) for s, v in ((4, 1.0), (2, 10.0), (1, 100.0)))
    with torch.no_grad():
        out = [float(x.mean()) for x in layer([fine, mid, coarse])]
    middle = (10 + 100) / 2
    low = (1 + middle) / 2
    between = (10 + middle + low) / 3
    assert out == pytest.approx([low, between, (100 + between) / 2], rel=1e-3)


def test_a_weight_below_zero_shuts_its_input_out() -> None:
    node = Node(1, 2)
    node.mix = nn.Sequential()
    node.weights.data = torch.tensor([-3.0, 2.0])
    a, b = torch.full((1, 1, 2, 2), 7.0), torch.full((1, 1, 2, 2), 5.0)
    assert float(node([a, b]).mean().detach()) == pytest.approx(5.0, rel=1e-3)


@pytest.mark.parametrize("extra", [0, 1, 2])
def test_levels_halve_and_have_the_same_channels(extra: int) -> None:
    neck = BiFPN([8, 16, 32], 24, extra=extra, layers=1).eval()
    given = {str(i): torch.zeros(1, w, s, s) for i, (w, s) in enumerate([(8, 8), (16, 4), (32, 2)])}
    sides = [8, 4, 2, 1, 1][: 3 + extra]
    assert [tuple(x.shape) for x in neck(given).values()] == [(1, 24, s, s) for s in sides]


def test_it_is_lighter_than_a_pyramid_of_the_same_width() -> None:
    """Depthwise separable convolutions are the point of it."""

    def size(net: nn.Module) -> int:
        return sum(p.numel() for p in net.parameters())

    changes = {"channels": 64, "tower": 4}
    plain = model(**changes, neck="fpn", tower_conv="plain")
    assert size(model(**changes)) < 0.6 * size(plain)


def test_its_graph_and_its_int8_graph_say_what_it_says() -> None:
    from hilum.train.export.int8 import to_int8
    from hilum.train.export.onnx import answers, check_export, to_onnx

    net = model()
    optimiser = torch.optim.AdamW(net.parameters(), lr=1e-2)
    for _ in range(20):  # statistics that let the image through, and scores that differ
        optimiser.zero_grad()
        torch.stack(list(net.train().loss(batch(TWO, EMPTY)).values())).sum().backward()
        optimiser.step()
    net.eval()
    images = np.asarray(batch(*[None] * 6, seed=5).image_B1SS)
    graph = to_onnx(net, SIZE)
    assert check_export(net, graph, images) <= 1e-4
    small = to_int8(graph, images)
    assert len(small) < len(graph)
    whole, coarse = answers(graph, images), answers(small, images)
    assert {name for name in HEADS if getattr(whole[0], name) is not None} == {
        *("class_logits", "box_deltas", "global_logits")
    }
    a, b = (np.stack([one.class_logits for one in each]).ravel() for each in (whole, coarse))
    assert np.corrcoef(a, b)[0, 1] > 0.98
