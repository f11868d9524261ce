"""Layers that bf16 on a CPU makes slower, kept in fp32.

oneDNN has no fast bf16 backward of depthwise convolutions: of a training step of EfficientNet-lite0
they take 60 % in bf16 and 30 % in fp32 (256 px, batch 16, one core with AVX-512: 8.7 against 12.7
images a second).
"""

from __future__ import annotations

from functools import cache
from typing import Any, cast

import torch
from torch import Tensor, nn


class _Fp32:
    """Put before a convolution's class: under a CPU's autocast it computes in fp32."""

    def forward(self, x: Tensor) -> Tensor:
        plain: Any = super()
        if x.device.type != "cpu" or not torch.is_autocast_enabled("cpu"):
            return cast(Tensor, plain.forward(x))
        with torch.autocast("cpu", enabled=False):
            return cast(Tensor, plain.forward(x.float())).to(x.dtype)


@cache
def _fp32(name: str, kind: Any) -> Any:
    """timm has convolutions of its own ("same" padding), so each class has its twin."""
    return type(name, (_Fp32, kind), {})


def depthwise_in_fp32(net: nn.Module) -> None:
    """Change the depthwise convolutions of `net` in place; weights and names stay."""
    for layer in net.modules():
        depthwise = isinstance(layer, nn.Conv2d) and layer.groups == layer.in_channels > 1
        if depthwise and not isinstance(layer, _Fp32):
            kind: Any = type(layer)
            layer.__class__ = _fp32(f"Fp32{kind.__name__}", kind)
