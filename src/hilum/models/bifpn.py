"""BiFPN, the neck of EfficientDet (Tan, Pang and Le 2020): a pyramid read down and up, repeatedly.

Every node is a weighted sum of maps of one size (fast normalised fusion, 3.3), then swish, a
depthwise separable convolution and batch norm. Levels beyond the encoder's deepest are pooled.

Legend: B batch, W channels of a level of the encoder, C channels of all levels of the neck.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EPSILON = 1e-4  # of the sum of weights


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


def separable(channels: int, out: int | None = None, *, bias: bool = True) -> nn.Sequential:
    """A 3x3 convolution of each channel, then a 1x1 one across them."""
    return nn.Sequential(
        nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False),
        nn.Conv2d(channels, out or channels, 1, bias=bias),
    )


def _resized(x: Tensor, like: Tensor) -> Tensor:
    """Nearest neighbour to a finer map, the largest of 3x3 to a coarser one."""
    if x.shape[-1] < like.shape[-1]:
        return F.interpolate(x, size=like.shape[-2:], mode="nearest")
    return x if x.shape[-1] == like.shape[-1] else F.max_pool2d(x, 3, 2, 1)


class Node(nn.Module):
    """Maps of one size -> one map."""

    def __init__(self, channels: int, inputs: int):
        super().__init__()
        self.weights = nn.Parameter(torch.ones(inputs))
        self.mix = nn.Sequential(nn.SiLU(), separable(channels, bias=False), _norm(channels))

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        weights = self.weights.relu()
        weights = weights / (weights.sum() + EPSILON)
        total = torch.stack([w * x for w, x in zip(weights, maps, strict=True)]).sum(dim=0)
        out: Tensor = self.mix(total)
        return out


class Layer(nn.Module):
    """Once down the pyramid and once up; the two ends have no node of their own on the way."""

    def __init__(self, channels: int, levels: int):
        super().__init__()
        self.down = nn.ModuleList(Node(channels, 2) for _ in range(levels - 1))
        self.up = nn.ModuleList(
            Node(channels, 3 if i < levels - 2 else 2) for i in range(levels - 1)
        )

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """The same levels, finest first."""
        middle = list(maps)
        for i in range(len(maps) - 2, -1, -1):
            middle[i] = self.down[i]([maps[i], _resized(middle[i + 1], maps[i])])
        out = middle[:1]
        for i in range(1, len(maps)):
            below = _resized(out[-1], maps[i])
            own = [maps[i], middle[i]] if i < len(maps) - 1 else [maps[i]]
            out.append(self.up[i - 1]([*own, below]))
        return out


class BiFPN(nn.Module):
    """Encoder levels of W channels -> as many of C, and `extra` coarser ones.

    Called with a dict and giving one, as torchvision's FeaturePyramidNetwork.
    """

    def __init__(self, widths: Sequence[int], channels: int, *, extra: int, layers: int):
        super().__init__()
        self.lateral = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, channels, 1), _norm(channels)) for width in widths
        )
        first = nn.Sequential(nn.Conv2d(widths[-1], channels, 1), _norm(channels))
        self.deeper = first if extra else None
        self.extra = extra
        levels = len(widths) + extra
        self.layers = nn.ModuleList(Layer(channels, levels) for _ in range(layers))

    def forward(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        given = list(features.values())
        maps = [lateral(x) for lateral, x in zip(self.lateral, given, strict=True)]
        if self.deeper is not None:
            maps.append(F.max_pool2d(self.deeper(given[-1]), 3, 2, 1))
            for _ in range(self.extra - 1):
                maps.append(F.max_pool2d(maps[-1], 3, 2, 1))
        for layer in self.layers:
            maps = layer(maps)
        return {str(i): one for i, one in enumerate(maps)}
