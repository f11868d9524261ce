"""Settings of a network -> the network."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module

import torch
from torch import Tensor

from hilum.core.errors import ConfigError
from hilum.models.model import Model, Targets
from hilum.models.options import Options
from hilum.models.precision import careful_in_bf16

# kind -> module and class; each is built as Class(options, size, targets).
KINDS = {
    "opacity-net": "opacity_net:OpacityNet",
    "torchvision-retinanet-encoder": "baselines:TorchvisionRetinaNet",
    "torchvision-retinanet-resnet50": "baselines:TorchvisionRetinaNet",
    "retinanet": "retinanet:RetinaNet",
    "faster-rcnn": "two_stage:TwoStage",
    "mask-rcnn": "two_stage:TwoStage",
    "yolo": "yolo:Yolo",
    "rt-detr": "detr:Detr",
    "classifier": "classifier:Classifier",
    "segmenter": "segmenter:Segmenter",
}


def bare_model(
    options: Options, size: int, targets: Targets, seed: int, weights: Mapping[str, Tensor]
) -> Model:
    """The same network without pretrained weights, and with these."""
    bare = options.model_copy(update={"pretrained": False})
    net = build_model(bare, size, targets, seed)
    net.load_state_dict(weights)
    return net


def build_model(options: Options, size: int, targets: Targets, seed: int) -> Model:
    """The network that `options` describe, for square inputs of `size` px, seeded.

    Raises:
        ConfigError: settings that do not fit one another, or weights that are not there.
    """
    kind = str(getattr(options, "kind", ""))
    if kind not in KINDS:
        raise ConfigError(f"unknown kind of network {kind!r}; known: {', '.join(KINDS)}")
    module, _, name = KINDS[kind].partition(":")
    torch.manual_seed(seed)
    net = getattr(import_module(f"hilum.models.{module}"), name)(options, size, targets)
    assert isinstance(net, Model)
    careful_in_bf16(net)
    return net
