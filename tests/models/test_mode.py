"""Asking a network for a prediction leaves it as it was: a training one goes on training."""

from __future__ import annotations

import pytest
import torch
from pydantic import TypeAdapter

from helpers.batches import SIZE, TARGETS
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


@pytest.mark.parametrize("kind", KINDS)
def test_a_prediction_leaves_every_layer_in_its_mode(kind: str) -> None:
    small = {"kind": kind, "encoder": "test_efficientnet", "pretrained": False} | KINDS[kind]
    if kind.startswith("torchvision"):
        small["encoder"] = "tf_efficientnet_lite0"
    net = build_model(TypeAdapter(ModelOptions).validate_python(small), SIZE, TARGETS, 0)
    net.train()
    frozen = next(m for m in net.modules() if isinstance(m, torch.nn.BatchNorm2d))
    frozen.eval()
    before = [layer.training for layer in net.modules()]
    assert len(net.predict(torch.zeros(1, 1, SIZE, SIZE))) == 1
    assert [layer.training for layer in net.modules()] == before
    net.eval()
    net.predict(torch.zeros(1, 1, SIZE, SIZE))
    assert not any(layer.training for layer in net.modules())
