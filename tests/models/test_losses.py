"""Losses against the second place's implementation and their limits."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.ops import box_iou

from hilum.core.anchors import AnchorGrid
from hilum.models.losses import (
    BACKGROUND,
    IGNORED,
    detection_loss,
    mask_loss,
    masked_bce,
    match_anchors,
    partial_class_loss,
)


def test_focal_and_box_loss_match_the_published_code(oracles: Path) -> None:
    truth = json.loads((oracles / "retinanet_focal_loss.json").read_text())
    grid = AnchorGrid(levels=(3, 4))
    anchors = torch.from_numpy(grid.anchors(64))
    probability = torch.tensor(truth["cls"], dtype=torch.float64)
    deltas = torch.tensor(truth["reg"], dtype=torch.float64)
    focals, boxes = [], []
    for i, annotation in enumerate(truth["annotations"]):
        rows = torch.tensor([row[:4] for row in annotation if row[4] >= 0]).reshape(-1, 4)
        match = match_anchors(box_iou(rows, anchors))
        target = torch.zeros_like(anchors)
        if len(rows):
            target = torch.from_numpy(
                grid.encode(rows[match.clamp(min=0)].numpy(), anchors.numpy())
            )
        p = probability[i].reshape(len(anchors), -1)
        focal, box = detection_loss(
            torch.logit(p), deltas[i], match, target.double(), torch.zeros_like(match)
        )
        focals.append(focal)
        boxes.append(box)
    assert torch.stack(focals).mean().item() == pytest.approx(truth["batch_cls_loss"], rel=1e-5)
    assert torch.stack(boxes).mean().item() == pytest.approx(truth["batch_reg_loss"], rel=1e-4)


def test_without_boxes_every_anchor_is_background() -> None:
    match = match_anchors(torch.zeros(0, 7))
    assert (match == BACKGROUND).all()
    focal, box = detection_loss(
        torch.zeros(7, 1), torch.ones(7, 4), match, torch.zeros(7, 4), torch.zeros(7).long()
    )
    assert focal.item() == pytest.approx(7 * 0.75 * 0.25 * np.log(2), rel=1e-5)
    assert box.item() == 0


def test_between_the_thresholds_anchors_are_ignored_and_equality_is_positive() -> None:
    iou = torch.tensor([[0.39999, 0.4, 0.49999, 0.5]])
    assert match_anchors(iou).tolist() == [BACKGROUND, IGNORED, IGNORED, 0]


def test_unknown_pixels_have_no_say_in_the_mask_loss() -> None:
    logit = torch.zeros(1, 2, 2, requires_grad=True)
    mask = torch.tensor([[[1, 255], [0, 255]]], dtype=torch.uint8)
    mask_loss(logit, mask).backward()
    assert logit.grad is not None
    assert (logit.grad[mask == 255] == 0).all()
    assert (logit.grad[mask != 255] != 0).all()
    assert mask_loss(logit, torch.full((1, 2, 2), 255, dtype=torch.uint8)).item() == 0


def test_not_normal_pushes_only_away_from_normal() -> None:
    nan = float("nan")
    logit = torch.tensor([[1.0, 2.0, 3.0]], requires_grad=True)
    full = partial_class_loss(logit, torch.tensor([[0.0, 0.0, 1.0]]))
    assert full.item() == pytest.approx(
        torch.nn.functional.cross_entropy(logit, torch.tensor([2])).item()
    )
    partial = partial_class_loss(logit, torch.tensor([[0.0, nan, nan]]))
    assert partial.item() == pytest.approx(-np.log(1 - logit.softmax(1)[0, 0].item()), rel=1e-5)
    assert partial_class_loss(logit, torch.tensor([[nan, nan, nan]])).item() == 0


def test_unknown_findings_are_left_out() -> None:
    nan = float("nan")
    logit = torch.tensor([[0.0, 5.0]])
    assert masked_bce(logit, torch.tensor([[1.0, nan]])).item() == pytest.approx(np.log(2))


def test_an_image_of_none_of_the_classes_costs_nothing() -> None:
    logit = torch.tensor([[1.0, 2.0], [3.0, 0.0]])
    both = partial_class_loss(logit, torch.tensor([[0.0, 0.0], [0.0, 1.0]]))
    assert both.item() == pytest.approx(
        partial_class_loss(logit[1:], torch.tensor([[0.0, 1.0]])).item()
    )
