"""Weights of torchvision's detectors in our names, so that a whole network begins from COCO.

`fasterrcnn_resnet50_fpn` and `maskrcnn_resnet50_fpn` (Ren et al. 2015, He et al. 2017) hold the
same layers as our two-stage networks around ResNet-50; what predicts COCO's classes fits no label
of ours. Fetches nothing: the file is the user's.
"""

from __future__ import annotations

import re

from torch import Tensor

from hilum.core.errors import ConfigError
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
NORMED = re.compile(r"backbone\.fpn\.(inner|layer)_blocks\.\d\.1\.")
_OURS = Preprocessing(size=32)
INPUT_MEAN, INPUT_STD = _OURS.mean, _OURS.std
# What their first layer was trained with.
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
FIRST, FIRST_MEAN = "encoder.conv1.weight", "encoder.bn1.running_mean"
# What a network of one class has of its background in front, and ours has not: so many rows.
BACKGROUND = {"head.deltas.": 4, "mask_head.1.mask_fcn_logits.": 1}


def is_torchvision(weights: dict[str, Tensor]) -> bool:
    """Whether they are those of one of torchvision's two-stage detectors."""
    return any(name.startswith("roi_heads.") for name in weights)


def from_torchvision(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors under our names, the first layer made one for grey; others keep theirs.

    Their boxes are one a class, ours one for all: of a network of one class its boxes are taken.

    Raises:
        ConfigError: the `_v2` networks, whose pyramid has the batch norm that ours has not: half of
            its layers would fit, and say nothing.
    """
    if any(NORMED.match(name) for name in weights):
        raise ConfigError(
            "weights of one of torchvision's _v2 detectors, whose pyramid has batch norm; needed: "
            "those of fasterrcnn_resnet50_fpn or maskrcnn_resnet50_fpn"
        )
    out = {_ours(name): value for name, value in weights.items()}
    for layer, rows in BACKGROUND.items():
        for name in (f"{layer}weight", f"{layer}bias"):
            if name in out and len(out[name]) == 2 * rows:
                out[name] = out[name][rows:]
    first = out.get(FIRST)
    if first is not None and first.shape[1] == 3:
        _make_grey(out, first)
    return out


def _make_grey(out: dict[str, Tensor], first: Tensor) -> None:
    """A grey image of ours excites the first layer as its three equal channels did theirs.

    Of a kernel's channels one weighted sum remains; what their means add, the same everywhere but
    at the border, goes into the mean that the batch norm subtracts.
    """
    std, mean = (first.new_tensor(v).reshape(1, 3, 1, 1) for v in (IMAGENET_STD, IMAGENET_MEAN))
    out[FIRST] = (first * INPUT_STD / std).sum(dim=1, keepdim=True)
    if FIRST_MEAN in out:
        added = (first * (INPUT_MEAN - mean) / std).sum(dim=(1, 2, 3))
        out[FIRST_MEAN] = out[FIRST_MEAN] - added


def _ours(name: str) -> str:
    for pattern, ours in NAMES:
        if re.fullmatch(pattern, name):
            return re.sub(pattern, ours, name)
    return name
