"""Convolutions that bf16 on a CPU makes slower, or wrong, kept in fp32; all where it is emulated.

oneDNN has no fast bf16 backward of depthwise convolutions: of a training step of EfficientNet-lite0
they take 60 % in bf16 and 30 % in fp32 (256 px, batch 16, one core with AVX-512: 8.7 against 12.7
images a second). And where a kernel is much larger than its map, as on the one cell that is left of
64 px at stride 64, its bf16 gradient reads memory that nobody wrote: NaN, or numbers like 1e30.
"""

from __future__ import annotations

from functools import cache
from typing import Any, cast

import torch
from torch import Tensor, nn


class _Careful:
    """Put before a convolution's class: where bf16 serves it ill, it computes in fp32."""

    def forward(self, x: Tensor) -> Tensor:
        layer: Any = self
        plain: Any = super()
        if x.device.type != "cpu" or not torch.is_autocast_enabled("cpu"):
            return cast(Tensor, plain.forward(x))
        depthwise = layer.groups == layer.in_channels > 1
        if not depthwise and 2 * min(x.shape[-2:]) > max(layer.kernel_size):
            return cast(Tensor, plain.forward(x))
        with torch.autocast("cpu", enabled=False):
            return cast(Tensor, plain.forward(x.float())).to(x.dtype)


@cache
def _careful(name: str, kind: Any) -> Any:
    """timm has convolutions of its own ("same" padding), so each class has its twin."""
    return type(name, (_Careful, kind), {})


def usable_precision(wanted: str) -> str:
    """`wanted`, or what this machine computes in its place.

    A CPU has no fp16, and without AVX-512 (or Arm's bf16) oneDNN emulates bf16: a training step of
    ResNet-50 takes twelve times as long as in fp32, one of EfficientNet-lite0 seven times.
    """
    if wanted == "fp32" or torch.cuda.is_available() or torch.backends.mps.is_available():
        return wanted
    return "bf16" if _multiplies_bf16() else "fp32"


def _multiplies_bf16() -> bool:
    # Not every platform has the question.
    supported = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)
    return supported is not None and bool(supported())


def careful_in_bf16(net: nn.Module) -> None:
    """Change the convolutions of `net` in place; weights, names and fp32 results stay."""
    for layer in net.modules():
        wide = isinstance(layer, nn.Conv2d) and max(layer.kernel_size) > 1
        if wide and not isinstance(layer, _Careful):
            kind: Any = type(layer)
            layer.__class__ = _careful(f"Careful{kind.__name__}", kind)
