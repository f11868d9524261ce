"""Weights of torchvision's detectors in our names, so that a whole network begins from COCO.

`fasterrcnn_resnet50_fpn` and `maskrcnn_resnet50_fpn` (Ren et al. 2015, He et al. 2017) hold the
same layers as our two-stage networks around ResNet-50; what predicts COCO's classes fits no label
of ours. Fetches nothing: the file is the user's.
"""

from __future__ import annotations

import re

from torch import Tensor

from hilum.core.prepare import Preprocessing

# Ours for theirs, in the order tried; files of before torchvision 0.13 lack the inner ".0".
NAMES = (
    (r"backbone\.body\.(.+)", r"encoder.\1"),
    (
        r"backbone\.fpn\.(inner_blocks|layer_blocks)\.(\d)\.(?:0\.)?(weight|bias)",
        r"pyramid.\1.\2.0.\3",
    ),
    (r"rpn\.head\.conv\.(?:0\.0\.)?(weight|bias)", r"rpn.head.conv.0.0.\1"),
    (r"rpn\.head\.(cls_logits|bbox_pred)\.(.+)", r"rpn.head.\1.\2"),
    (r"roi_heads\.box_head\.(.+)", r"head.layers.\1"),
    (r"roi_heads\.box_predictor\.cls_score\.(.+)", r"head.classes.\1"),
    (r"roi_heads\.box_predictor\.bbox_pred\.(.+)", r"head.deltas.\1"),
    (r"roi_heads\.mask_head\.(\d)\.0\.(.+)", r"mask_head.0.\1.0.\2"),
    (r"roi_heads\.mask_predictor\.(.+)", r"mask_head.1.\1"),
)
INPUT_STD = Preprocessing(size=32).std
IMAGENET_STD = (0.229, 0.224, 0.225)  # what the weights' first layer was trained with
FIRST = "encoder.conv1.weight"


def is_torchvision(weights: dict[str, Tensor]) -> bool:
    """Whether they are those of one of torchvision's two-stage detectors."""
    return any(name.startswith("roi_heads.") for name in weights)


def from_torchvision(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors under our names, the first layer made one for grey; others keep theirs."""
    out = {_ours(name): value for name, value in weights.items()}
    first = out.get(FIRST)
    if first is not None and first.shape[1] == 3:
        # A grey picture, divided by our deviation, excites it as three equal channels did.
        factor = first.new_tensor([INPUT_STD / std for std in IMAGENET_STD]).reshape(1, 3, 1, 1)
        out[FIRST] = (first * factor).sum(dim=1, keepdim=True)
    return out


def _ours(name: str) -> str:
    for pattern, ours in NAMES:
        if re.fullmatch(pattern, name):
            return re.sub(pattern, ours, name)
    return name
