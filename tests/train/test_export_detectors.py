"""Every detector's graph says what the network says, proposals and queries included."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter

from helpers.batches import EMPTY, SIZE, TARGETS, TWO, batch
from hilum.models.options import ModelOptions
from hilum.models.registry import build_model
from hilum.train.export.onnx import _unmatched, check_export, to_onnx
from hilum.train.heads import RawHeads

SMALL = {
    "retinanet": {"channels": 16, "tower": 1},
    "yolo": {"channels": 16},
    "faster-rcnn": {"channels": 16, "head_width": 32, "proposals": 40},
    "mask-rcnn": {"channels": 16, "head_width": 32, "proposals": 40},
    "rt-detr": {"channels": 32, "queries": 20, "decoder_layers": 1},
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", SMALL)
def test_the_graph_equals_pytorch(kind: str) -> None:
    plain = {"kind": kind, "encoder": "test_efficientnet", "pretrained": False}
    net = build_model(
        TypeAdapter(ModelOptions).validate_python(plain | SMALL[kind]), SIZE, TARGETS, 0
    )
    optimiser = torch.optim.AdamW(net.parameters(), lr=1e-2)
    for _ in range(20):  # statistics that let the image through, and scores that differ
        optimiser.zero_grad()
        torch.stack(list(net.train().loss(batch(TWO, EMPTY)).values())).sum().backward()
        optimiser.step()
    images = batch(None, None, seed=5).image_B1SS.numpy()
    with torch.inference_mode():
        first, second = (RawHeads(net).eval()(torch.from_numpy(i[None])) for i in images)
    assert max(float((a - b).abs().max()) for a, b in zip(first, second, strict=True)) > 1e-2
    assert check_export(net, to_onnx(net, SIZE), np.asarray(images)) <= 1e-4


def test_proposals_may_change_places_but_not_what_they_say() -> None:
    rows = np.random.default_rng(0).normal(size=(200, 9)).astype(np.float32)
    assert _unmatched(rows, rows[::-1]) == 0
    one, many = rows.copy(), rows.copy()
    one[7], many[:10] = 5, 5
    assert _unmatched(rows, one) == 0  # rounding took another proposal in
    assert _unmatched(rows, many) > 0.1
