"""Golden numbers of the detection loss: the anchors between the thresholds cost nothing (A4)."""

from __future__ import annotations

import math

import pytest
import torch

from hilum.models.losses import BACKGROUND, IGNORED, detection_loss, match_anchors


def test_anchors_between_the_thresholds_are_ignored() -> None:
    """From .5 on an anchor is positive, below .4 background, between them neither."""
    iou = torch.tensor([[0.50, 0.49, 0.40, 0.39, 0.10, 0.0], [0.0, 0.2, 0.0, 0.0, 0.6, 0.0]])
    assert match_anchors(iou).tolist() == [0, IGNORED, IGNORED, BACKGROUND, 1, BACKGROUND]


@pytest.mark.parametrize("wrong", [-9.0, 0.0, 9.0])
def test_an_ignored_anchor_costs_nothing_whatever_it_says(wrong: float) -> None:
    """One positive and one background anchor at p = .5: (.25 + .75) · .25 · ln 2 = .17329."""
    logit = torch.tensor([[0.0], [wrong], [0.0]])
    match = torch.tensor([0, IGNORED, BACKGROUND])
    delta = torch.tensor([[0.1, 0.0, 0.0, 0.0], [7.0, 7, 7, 7], [7.0, 7, 7, 7]])
    kinds = torch.zeros(3, dtype=torch.int64)
    focal, box = detection_loss(logit, delta, match, torch.zeros(3, 4), kinds)
    assert focal.item() == pytest.approx(0.25 * math.log(2), rel=1e-5)
    # Smooth L1 below beta = 1/9: .5 · .1² · 9 = .045, the mean of four coordinates.
    assert box.item() == pytest.approx(0.045 / 4, rel=1e-5)


def test_an_image_without_boxes_costs_its_false_alarms() -> None:
    """All three anchors background at p = .5, divisor 1: 3 · .75 · .25 · ln 2."""
    kinds = torch.zeros(3, dtype=torch.int64)
    match = torch.full((3,), BACKGROUND)
    focal, box = detection_loss(torch.zeros(3, 1), torch.ones(3, 4), match, torch.ones(3, 4), kinds)
    assert focal.item() == pytest.approx(3 * 0.75 * 0.25 * math.log(2), rel=1e-5)
    assert box.item() == 0
