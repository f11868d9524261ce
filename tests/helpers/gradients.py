"""Gradients of every kind of network, of a batch whose ranks' parts have little in common."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeAlias

import torch
from pydantic import TypeAdapter
from torch import Tensor, nn

from hilum.models import ranks
from hilum.models.model import Batch, Model, Targets
from hilum.models.options import ModelOptions
from hilum.models.registry import build_model
from hilum.train.recipe import Recipe
from hilum.train.run import run

SIZE, NAN = 64, float("nan")
TARGETS = Targets(labels=("opacity", "nodule"), findings=("a", "b"))
SMALL: dict[str, dict[str, Any]] = {
    "opacity-net": {"channels": 16},
    "retinanet": {"channels": 16, "tower": 1, "box_loss": "giou", "empty_images": False},
    "yolo": {"channels": 16},
    "segmenter": {"architecture": "fpn", "loss": {"bce": 3, "dice": 1, "focal": 4, "tversky": 1}},
    "classifier": {"target": "classes", "class_weights": [1, 3, 9], "label_smoothing": 0.1},
    "torchvision-retinanet-encoder": {},
}


def network(kind: str) -> Model:
    """Small, without dropout and with batch norm at rest."""
    plain = {"kind": kind, "encoder": "test_efficientnet", "pretrained": False}
    options = TypeAdapter(ModelOptions).validate_python(plain | SMALL[kind])
    net = build_model(options, SIZE, TARGETS, 3).train()
    for layer in net.modules():
        if isinstance(layer, (nn.BatchNorm2d, nn.Dropout, nn.Dropout2d)):
            layer.eval()
    return net


def some_batch() -> Batch:
    """Five images. Of two ranks the first has all boxes but one, the second all masks."""
    random = torch.Generator().manual_seed(1)
    one, three = [[8.0, 8, 30, 34]], [[10.0, 10, 40, 50], [4, 6, 30, 30], [20, 20, 60, 60]]
    boxes = [torch.tensor(three), None, torch.tensor(one), torch.tensor(one), torch.zeros(0, 4)]
    mask = torch.randint(0, 2, (5, 3, SIZE, SIZE), generator=random, dtype=torch.uint8)
    mask[::2] = 255
    return Batch(
        torch.randn(5, 1, SIZE, SIZE, generator=random),
        boxes,
        [None if b is None else torch.arange(len(b)) % 2 for b in boxes],
        mask,
        torch.tensor([[0, 0, 1.0], [NAN, NAN, NAN], [1, 0, 0], [0, NAN, NAN], [0, 1, 0]]),
        torch.tensor([[1.0, NAN], [NAN, NAN], [0, 1], [NAN, 1], [0, NAN]]),
    )


def own_part(whole: Batch) -> Batch:
    """The images of this rank."""
    mine = list(ranks.own_part(range(len(whole.boxes))))
    return Batch(
        whole.image_B1SS[mine],
        [whole.boxes[i] for i in mine],
        [whole.classes[i] for i in mine],
        whole.mask_BMSS[mine],
        whole.label_BC[mine],
        whole.finding_BF[mine],
    )


Gradients: TypeAlias = dict[str, tuple[dict[str, float], dict[str, Tensor]]]


def gradients() -> Gradients:
    """Kind of network -> losses, and the gradients of two batches of which one is accumulated."""
    found = {}
    for kind in SMALL:
        net, part = network(kind), own_part(some_batch())
        losses = ranks.losses_of(net)
        for last in (False, True):
            parts = losses(part, last)
            torch.stack(list(parts.values())).sum().backward()
        values = {name: value.item() for name, value in parts.items()}
        named = net.named_parameters()
        found[kind] = (values, {n: p.grad for n, p in named if p.grad is not None})
    return found


def learn(recipe: Recipe, data: Path, out: Path) -> tuple[Gradients, Path]:
    """What each rank does, and one process alone: gradients, and a run."""
    return gradients(), run(recipe, data, out)
