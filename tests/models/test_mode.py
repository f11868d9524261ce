"""Asking a network for a prediction leaves it as it was, and evaluating it says what its heads and
its losses say."""

from __future__ import annotations

import pytest
import torch
from pydantic import TypeAdapter

from helpers.batches import EMPTY, SIZE, TARGETS, TWO, batch
from hilum.models.model import Model
from hilum.models.options import ModelOptions
from hilum.models.registry import build_model

KINDS = {
    "opacity-net": {"channels": 8},
    "retinanet": {"channels": 8, "tower": 1},
    "faster-rcnn": {"channels": 8, "head_width": 16, "proposals": 20},
    "mask-rcnn": {"channels": 8, "head_width": 16, "proposals": 20},
    "yolo": {"channels": 8},
    "rt-detr": {"channels": 32, "queries": 10, "decoder_layers": 1},
    "classifier": {"frozen": True},
    "segmenter": {},
    "torchvision-retinanet-encoder": {},
}


def _small(kind: str) -> Model:
    small = {"kind": kind, "encoder": "test_efficientnet", "pretrained": False} | KINDS[kind]
    if kind.startswith("torchvision"):
        small["encoder"] = "tf_efficientnet_lite0"
    return build_model(TypeAdapter(ModelOptions).validate_python(small), SIZE, TARGETS, 0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_prediction_leaves_every_layer_in_its_mode(kind: str) -> None:
    net = _small(kind)
    net.train()
    frozen = next(m for m in net.modules() if isinstance(m, torch.nn.BatchNorm2d))
    frozen.eval()
    before = [layer.training for layer in net.modules()]
    assert len(net.predict(torch.zeros(1, 1, SIZE, SIZE))) == 1
    assert [layer.training for layer in net.modules()] == before
    net.eval()
    net.predict(torch.zeros(1, 1, SIZE, SIZE))
    assert not any(layer.training for layer in net.modules())


@pytest.mark.parametrize("kind", KINDS)
def test_an_evaluation_has_the_raw_heads_and_the_losses_of_its_batch(kind: str) -> None:
    net, images = _small(kind).eval(), batch(TWO, EMPTY, mask=1)
    images.label_BC[:] = torch.eye(len(TARGETS.classes))[:2]
    with torch.no_grad():
        torch.manual_seed(0)  # two-stage networks sample their proposals
        raw, losses = net.evaluated(images)
        heads = net(images.image_B1SS)
        torch.manual_seed(0)
        alone = net.loss(images)
    assert raw.keys() == heads.keys()
    assert all(torch.equal(raw[name], heads[name]) for name in heads)
    torch.testing.assert_close(losses, alone)
