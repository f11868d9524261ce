"""Losses and decoding against forms that loop over every anchor, pixel and class."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import naive
from hilum.core.anchors import AnchorGrid
from hilum.models.dense import DenseBoxes, select, upsampled
from hilum.models.losses import (
    BACKGROUND,
    IGNORED,
    detection_loss,
    focal_loss,
    mask_loss,
    masked_bce,
    match_anchors,
    partial_class_loss,
)
from hilum.models.model import evaluating
from hilum.models.yolo import product_logit

seeds = given(st.integers(0, 2**31 - 1))
few = settings(max_examples=15, deadline=None)
GRID = AnchorGrid(levels=(3, 4), ratios=(0.5, 1.0, 2.0), scales=(1.0,))
NAN = float("nan")


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def tensors(seed: int, *shapes: tuple[int, ...]) -> list[Any]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator) for shape in shapes]


# --- detectors ---


@few
@seeds
def test_an_anchor_takes_the_box_that_it_overlaps_most(seed: int) -> None:
    overlap = torch.rand((3, 20), generator=torch.Generator().manual_seed(seed))
    match = match_anchors(overlap)
    for a in range(20):
        values = overlap[:, a].tolist()
        best = max(values)
        if best >= 0.5:
            assert match[a] == values.index(best)
        else:
            assert match[a] == (BACKGROUND if best < 0.4 else IGNORED)
    assert (match_anchors(overlap[:0]) == BACKGROUND).all()


@few
@seeds
def test_focal_loss_anchor_by_anchor(seed: int) -> None:
    (logit,) = tensors(seed, (6, 2))
    target = (logit.roll(1) > 0).float()
    loss = focal_loss(logit, target)
    for (x, t), value in zip(
        zip(logit.flatten().tolist(), target.flatten().tolist(), strict=True),
        loss.flatten().tolist(),
        strict=True,
    ):
        p = min(max(sigmoid(x), 1e-4), 1 - 1e-4)
        expected = -0.25 * (1 - p) ** 2 * math.log(p) if t else -0.75 * p**2 * math.log(1 - p)
        assert value == pytest.approx(expected, rel=1e-4, abs=1e-7)


@few
@seeds
def test_the_loss_of_a_detector_is_shared_among_its_positives(seed: int) -> None:
    logit, delta, target = tensors(seed, (8, 1), (8, 4), (8, 4))
    match = torch.tensor([0, 0, BACKGROUND, IGNORED, BACKGROUND, 1, BACKGROUND, IGNORED])
    focal, box = detection_loss(logit, delta, match, target, torch.zeros(8, dtype=torch.long))
    truth = (match >= 0).float()[:, None]
    each = focal_loss(logit, truth)[:, 0]
    assert focal.item() == pytest.approx(each[match != IGNORED].sum().item() / 3, rel=1e-5)
    total = 0.0
    for a in (0, 1, 5):
        for d in (delta[a] - target[a]).abs().tolist():
            total += (0.5 * d * d * 9 if d < 1 / 9 else d - 0.5 / 9) / 4
    assert box.item() == pytest.approx(total / 3, rel=1e-4)


@few
@seeds
def test_torch_and_numpy_decode_alike(seed: int) -> None:
    twin = DenseBoxes(GRID, 64)
    anchors = GRID.anchors(64)
    np.testing.assert_allclose(twin.anchors.numpy(), anchors)
    (delta,) = tensors(seed, anchors.shape)
    ours = GRID.decode(delta.numpy(), anchors)
    np.testing.assert_allclose(twin.decode(delta).numpy(), ours, rtol=1e-4, atol=1e-3)
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 30, (len(anchors), 2))
    boxes = np.c_[corner, corner + rng.uniform(2, 30, corner.shape)].astype(np.float32)
    codes = twin.encode(torch.from_numpy(boxes))
    np.testing.assert_allclose(codes.numpy(), GRID.encode(boxes, anchors), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(twin.decode(codes).numpy(), boxes, atol=1e-2)


@few
@seeds
def test_what_is_selected_is_sure_large_enough_and_apart(seed: int) -> None:
    rng = np.random.default_rng(seed)
    corner = rng.uniform(-10, 60, (30, 2))
    boxes = np.c_[corner, corner + rng.uniform(0.1, 30, (30, 2))].astype(np.float32)
    (logit,) = tensors(seed, (30, 2))
    best = select(logit, torch.from_numpy(boxes), 64, floor=0.4, iou=0.3, most=5)
    kept, scores, labels = best.boxes, best.scores, best.labels
    assert kept is not None
    assert scores is not None
    assert labels is not None
    assert len(kept) == len(scores) == len(labels) <= 5
    assert (scores.diff() <= 0).all()
    assert (scores > 0.4).all()
    assert kept.numel() == 0 or (kept.min() >= 0 and kept.max() <= 64)
    assert ((kept[:, 2:] - kept[:, :2]) > 0.5).all()
    for i in range(len(kept)):
        for j in range(i):
            same = labels[i] == labels[j]
            assert not same or naive.iou(kept[i].tolist(), kept[j].tolist()) <= 0.3 + 1e-5


@few
@given(st.floats(-6, 6), st.floats(-6, 6))
def test_the_logit_of_a_product_is_that_of_the_probabilities(a: float, b: float) -> None:
    value = product_logit(torch.tensor(a), torch.tensor(b)).item()
    assert sigmoid(value) == pytest.approx(sigmoid(a) * sigmoid(b), rel=1e-3)


# --- segmenters ---


@few
@seeds
def test_a_mask_loss_is_counted_pixel_by_pixel(seed: int) -> None:
    (logit,) = tensors(seed, (2, 5, 5))
    mask = torch.randint(0, 3, (2, 5, 5), generator=torch.Generator().manual_seed(seed))
    mask[mask == 2] = 255
    pairs = [
        (sigmoid(x), float(m))
        for x, m in zip(logit.flatten().tolist(), mask.flatten().tolist(), strict=True)
        if m != 255
    ]
    bce = [-math.log(p if t else 1 - p) for p, t in pairs]
    hit, shown, true = (
        sum(p * t for p, t in pairs),
        sum(p for p, _ in pairs),
        sum(t for _, t in pairs),
    )
    expected = {
        "bce": sum(bce) / len(bce),
        "focal": sum(c * (1 - math.exp(-c)) ** 2 for c in bce) / len(bce),
        "dice": 1 - (2 * hit + 1) / (shown + true + 1),
        "tversky": 1 - (hit + 1) / (hit + 0.3 * (shown - hit) + 0.7 * (true - hit) + 1),
    }
    for name, value in expected.items():
        assert mask_loss(logit, mask, {name: 2.0}).item() == pytest.approx(2 * value, rel=1e-3)
    both = mask_loss(logit, mask, {"bce": 3, "dice": 1}).item()
    assert both == pytest.approx(3 * expected["bce"] + expected["dice"], rel=1e-3)
    halves = mask_loss(logit, mask, {"tversky": 1}, smooth=1e-6, tversky=(0.5, 0.5)).item()
    assert halves == pytest.approx(
        mask_loss(logit, mask, {"dice": 1}, smooth=2e-6).item(), abs=1e-4
    )


def test_an_image_that_nobody_outlined_costs_nothing_and_still_has_a_gradient() -> None:
    logit = torch.randn(1, 4, 4, requires_grad=True)
    loss = mask_loss(logit, torch.full((1, 4, 4), 255))
    loss.backward()
    assert loss.item() == 0
    assert logit.grad is not None
    assert not logit.grad.any()


def test_a_perfect_mask_costs_nothing_and_an_enlarged_one_stays_where_it_is() -> None:
    mask = torch.zeros((1, 8, 8), dtype=torch.long)
    mask[:, 2:5, 3:7] = 1
    logit = torch.where(mask == 1, 30.0, -30.0)
    assert mask_loss(logit, mask).item() == pytest.approx(0, abs=1e-4)
    big = upsampled(logit[:, None], 32)
    assert big.shape == (1, 1, 32, 32)
    ys, xs = np.nonzero(big[0, 0].numpy() > 0.5)
    assert [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1] == pytest.approx([12, 8, 28, 20], abs=1)


# --- classes and findings ---


@few
@seeds
def test_classes_that_are_not_ruled_out_share_the_probability(seed: int) -> None:
    (logit,) = tensors(seed, (4, 3))
    labels = torch.tensor([[1, 0, 0], [0, NAN, NAN], [NAN, NAN, NAN], [0, 0, 0]])
    cost = []
    for row, label in zip(logit[:2].tolist(), labels[:2].tolist(), strict=True):
        e = [math.exp(x) for x in row]
        one = any(v == 1 for v in label)
        allowed = sum(v for v, t in zip(e, label, strict=True) if (t == 1 if one else t != 0))
        cost.append(-math.log(allowed / sum(e)))
    assert partial_class_loss(logit, labels).item() == pytest.approx(sum(cost) / 2, rel=1e-4)
    focal = [c * (1 - math.exp(-c)) ** 2 for c in cost]
    loss = partial_class_loss(logit, labels, gamma=2).item()
    assert loss == pytest.approx(sum(focal) / 2, rel=1e-3)
    assert partial_class_loss(logit, labels[2:].repeat(2, 1)).item() == 0
    certain = torch.eye(3)
    ours = partial_class_loss(logit[:3], certain, smoothing=0.1)
    theirs = torch.nn.functional.cross_entropy(logit[:3], torch.arange(3), label_smoothing=0.1)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-4)
    weight = torch.tensor([1.0, 2.0, 5.0])
    ours = partial_class_loss(logit[:3], certain, weight_C=weight)
    theirs = torch.nn.functional.cross_entropy(logit[:3], torch.arange(3), weight=weight)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-4)


@few
@seeds
def test_findings_are_asked_one_by_one(seed: int) -> None:
    (logit,) = tensors(seed, (3, 2))
    labels = torch.tensor([[1, NAN], [0, 1], [NAN, NAN]])
    known = [(logit[0, 0], 1), (logit[1, 0], 0), (logit[1, 1], 1)]
    cost = [-math.log(sigmoid(x if t else -x)) for x, t in ((x.item(), t) for x, t in known)]
    assert masked_bce(logit, labels).item() == pytest.approx(sum(cost) / 3, rel=1e-4)
    weights = torch.tensor([4.0, 1.0])
    heavy = masked_bce(logit, labels, positive_weight_C=weights).item()
    assert heavy == pytest.approx((4 * cost[0] + cost[1] + cost[2]) / 3, rel=1e-4)
    focal = masked_bce(logit, labels, gamma=2).item()
    assert focal == pytest.approx(sum(c * (1 - math.exp(-c)) ** 2 for c in cost) / 3, rel=1e-3)
    assert masked_bce(logit, torch.full((3, 2), NAN)).item() == 0


def test_every_layer_returns_to_the_mode_it_was_in() -> None:
    net = torch.nn.Sequential(torch.nn.Dropout(), torch.nn.BatchNorm1d(2))
    net.train()
    net[1].eval()  # frozen
    with evaluating(net):  # type: ignore[arg-type]
        assert not any(layer.training for layer in net)
    assert net[0].training
    assert not net[1].training
