"""A whole network begins from another's weights, but for what predicts other classes."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
import torch
import torch.nn.functional as F
from torchvision.models.detection import (
    MaskRCNN,
    fasterrcnn_resnet50_fpn,
    fasterrcnn_resnet50_fpn_v2,
    maskrcnn_resnet50_fpn,
)
from torchvision.models.detection.image_list import ImageList

from hilum.core.errors import ConfigError
from hilum.models.encoder import load_weights
from hilum.models.model import Model, Targets
from hilum.models.options import TwoStageOptions, YoloOptions
from hilum.models.registry import build_model
from hilum.models.torchvision import from_torchvision, is_torchvision
from hilum.models.two_stage import TwoStage
from hilum.models.weights import Account, read_weights

SIZE = 128  # px
CLASSES = {"head.classes", "head.deltas"}
MASKS = {"mask_head.1.mask_fcn_logits"}


def start(net: Model, file: Path) -> Account:
    return load_weights(net, read_weights(str(file)), str(file))


@pytest.mark.parametrize("kind", ["faster-rcnn", "mask-rcnn"])
def test_all_but_the_class_predictors_fit(kind: Literal["faster-rcnn", "mask-rcnn"]) -> None:
    network = maskrcnn_resnet50_fpn if kind == "mask-rcnn" else fasterrcnn_resnet50_fpn
    theirs = network(weights=None, weights_backbone=None).state_dict()
    assert is_torchvision(theirs)
    options = TwoStageOptions(kind=kind, encoder="resnet50", pretrained=False)
    with torch.device("meta"):
        own = build_model(options, 128, Targets(), 0).state_dict()
    found = from_torchvision(theirs)
    assert not is_torchvision(found)
    assert set(found) == set(own)  # every layer has its name, none is left over
    unfit = {name.rsplit(".", 1)[0] for name in own if own[name].shape != found[name].shape}
    assert unfit == CLASSES | (MASKS if kind == "mask-rcnn" else set())
    old = {
        name.replace("rpn.head.conv.0.0.", "rpn.head.conv.").replace(
            "_blocks.0.0.", "_blocks.0."
        ): v
        for name, v in theirs.items()
    }
    assert set(from_torchvision(old)) == set(own)


def test_a_pyramid_with_batch_norm_is_refused() -> None:
    with torch.device("meta"):
        theirs = fasterrcnn_resnet50_fpn_v2(weights=None, weights_backbone=None).state_dict()
    with pytest.raises(ConfigError, match="_v2"):
        from_torchvision(theirs)


def test_a_grey_image_excites_the_first_layer_as_its_three_equal_channels_did() -> None:
    """But for the border, where what both pad with is another grey."""
    kernel, mean = torch.randn(4, 3, 7, 7), torch.randn(4)
    names = ("backbone.body.conv1.weight", "backbone.body.bn1.running_mean")
    weight, ours_mean = from_torchvision(dict(zip(names, (kernel, mean), strict=True))).values()
    grey = torch.rand(1, 1, 24, 24)
    channels = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]]).reshape(2, 1, 3, 1, 1)
    theirs = F.conv2d((grey - channels[0]) / channels[1], kernel) - mean[:, None, None]
    ours = F.conv2d((grey - 0.5) / 0.5, weight) - ours_mean[:, None, None]
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[MaskRCNN, TwoStage]:
    """torchvision's Mask R-CNN of one class, random weights, and ours that began from its file."""
    torch.manual_seed(0)
    theirs = maskrcnn_resnet50_fpn(weights=None, weights_backbone=None, num_classes=2).eval()
    for layer in theirs.modules():  # statistics as of training: nothing is by chance the identity
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.running_mean.uniform_(-0.2, 0.2)
            layer.running_var.uniform_(0.8, 1.2)
    file = tmp_path_factory.mktemp("weights") / "maskrcnn_resnet50_fpn.pth"
    torch.save(theirs.state_dict(), file)
    options = TwoStageOptions(
        kind="mask-rcnn",
        encoder="resnet50",
        pretrained=False,
        anchor_sizes=tuple(side / SIZE for side in (32, 64, 128, 256, 512)),
        proposals=40,
    )
    ours = build_model(options, SIZE, Targets(masks=("opacity",)), 0)
    assert isinstance(ours, TwoStage)
    account = start(ours, file)
    assert not account.missing
    assert not account.reshaped
    assert not account.unexpected
    return theirs, ours.eval()


@torch.no_grad()
def test_both_networks_say_the_same_of_a_picture(pair: tuple[MaskRCNN, TwoStage]) -> None:
    """Maps, region proposals' heads and anchors, and of the same proposals classes, boxes, masks.

    The picture is black at its border as both see it, so padding is the same for both.
    """
    theirs, ours = pair
    grey = torch.zeros(1, 1, SIZE, SIZE)
    grey[..., 8:-8, 8:-8] = torch.rand(1, 1, SIZE - 16, SIZE - 16) - 0.5
    std = torch.tensor([0.229, 0.224, 0.225]).reshape(1, 3, 1, 1)
    shift = (0.5 - torch.tensor([0.485, 0.456, 0.406]).reshape(1, 3, 1, 1)) / std
    kernel = theirs.backbone.body.conv1.weight
    theirs.backbone.body.bn1.running_mean -= (kernel * shift).sum(dim=(1, 2, 3))
    maps = theirs.backbone(grey * 0.5 / std)
    own = ours._maps(grey)
    for mine, other in zip(own.values(), maps.values(), strict=True):
        same(mine, other)
    for mine, other in zip(
        ours.rpn.head([*own.values()]), theirs.rpn.head([*maps.values()]), strict=True
    ):
        for a, b in zip(mine, other, strict=True):
            same(a, b)
    image = ImageList(grey, [(SIZE, SIZE)])
    (anchors,) = ours.rpn.anchor_generator(image, [*own.values()])
    same(anchors, theirs.rpn.anchor_generator(image, [*maps.values()])[0])

    raw = ours(grey)
    proposals = [raw["proposals"][0]]
    pooled = theirs.roi_heads.box_roi_pool(maps, proposals, [(SIZE, SIZE)])
    logits, deltas = theirs.roi_heads.box_predictor(theirs.roi_heads.box_head(pooled))
    same(raw["class_logits"][0, :, 0].sigmoid(), logits.softmax(dim=1)[:, 1])
    same(raw["box_deltas"][0], deltas[:, 4:])
    shapes = [(SIZE, SIZE)]
    mask = theirs.roi_heads.mask_roi_pool(maps, proposals, shapes)
    mask = theirs.roi_heads.mask_predictor(theirs.roi_heads.mask_head(mask))
    assert ours.mask_pool is not None
    same(ours.mask_head(ours.mask_pool(own, proposals, shapes))[:, 0], mask[:, 1])


def same(mine: torch.Tensor, other: torch.Tensor) -> None:
    """Within 1e-4 of the largest value: random weights make numbers of up to a hundred."""
    largest = float(other.abs().max())
    assert largest > 1e-3  # something is there
    torch.testing.assert_close(mine, other, rtol=0, atol=1e-4 * max(1.0, largest))


def test_a_yolo_begins_from_a_checkpoint_of_another_program(tmp_path: Path) -> None:
    """Of the same layout, whatever it puts before its names and beside its weights."""
    options = YoloOptions(kind="yolo", encoder="test_efficientnet", pretrained=False, channels=8)
    first = build_model(options, 64, Targets(masks=()), 1)
    weights = {f"module.{name}": value for name, value in first.state_dict().items()}
    torch.save({"epoch": 3, "state_dict": weights}, tmp_path / "yolo.pt")
    ours = build_model(options, 64, Targets(masks=()), 2)
    account = start(ours, tmp_path / "yolo.pt")
    assert len(account.loaded) == len(first.state_dict())
    for name, value in ours.state_dict().items():
        assert torch.equal(value, first.state_dict()[name]), name
    two = build_model(options, 64, Targets(labels=("opacity", "nodule"), masks=()), 2)
    account = start(two, tmp_path / "yolo.pt")  # of other labels: only what predicts them is new
    assert account.missing
    assert all(name.startswith("class_logit") for name in account.missing)


def test_files_that_are_no_state_dict_are_refused(tmp_path: Path) -> None:
    net = build_model(
        YoloOptions(kind="yolo", encoder="test_efficientnet", pretrained=False, channels=8),
        64,
        Targets(masks=()),
        1,
    )
    (tmp_path / "a.pth").write_bytes(b"nothing of the kind")
    (tmp_path / "b.safetensors").write_bytes(b"nothing of the kind")
    torch.save(torch.nn.Linear(2, 2), tmp_path / "c.pt")  # a pickled network could run anything
    torch.save({"other.weight": torch.zeros(2)}, tmp_path / "d.pt")
    for name, words in (
        ("a.pth", "no state dict"),
        ("b.safetensors", "no safetensors"),
        ("c.pt", "state_dict"),
        ("d.pt", "nothing in"),
        ("e.pt", "no weights at"),
    ):
        with pytest.raises(ConfigError, match=words):
            start(net, tmp_path / name)
