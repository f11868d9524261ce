"""A whole two-stage network begins from torchvision's weights, but for what predicts classes."""

from __future__ import annotations

import torch
from torchvision.models.detection import maskrcnn_resnet50_fpn

from hilum.models.model import Targets
from hilum.models.options import TwoStageOptions
from hilum.models.registry import build_model
from hilum.models.torchvision import from_torchvision, is_torchvision

CLASSES = {"head.classes", "head.deltas", "mask_head.1.mask_fcn_logits"}


def test_all_but_the_class_predictors_fit() -> None:
    theirs = maskrcnn_resnet50_fpn(weights=None, weights_backbone=None).state_dict()
    assert is_torchvision(theirs)
    options = TwoStageOptions(kind="mask-rcnn", encoder="resnet50", pretrained=False)
    with torch.device("meta"):
        own = build_model(options, 128, Targets(), 0).state_dict()
    found = from_torchvision(theirs)
    assert not is_torchvision(found)
    assert set(found) == set(own)  # every layer has its name, none is left over
    unfit = {name.rsplit(".", 1)[0] for name in own if own[name].shape != found[name].shape}
    assert unfit == CLASSES
    old = {
        name.replace("rpn.head.conv.0.0.", "rpn.head.conv.").replace(
            "_blocks.0.0.", "_blocks.0."
        ): v
        for name, v in theirs.items()
    }
    assert set(from_torchvision(old)) == set(own)


def test_a_grey_picture_excites_the_first_layer_as_its_three_equal_channels_did() -> None:
    kernel = torch.randn(4, 3, 7, 7)
    grey = torch.randn(1, 1, 16, 16)
    (ours,) = from_torchvision({"backbone.body.conv1.weight": kernel}).values()
    std = torch.tensor([0.229, 0.224, 0.225]).reshape(1, 3, 1, 1)
    theirs = torch.nn.functional.conv2d(grey * 0.5 / std, kernel)
    torch.testing.assert_close(torch.nn.functional.conv2d(grey, ours), theirs, rtol=1e-4, atol=1e-4)
