"""The raw heads of a network that a bundle carries, and what they say of prepared images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hilum.inference.session import HEADS, RawOutputs
from hilum.models.model import Model, evaluating


def exported(raw: Mapping[str, Tensor]) -> list[str]:
    """Which of a network's heads a bundle carries, in the order of `RawOutputs`.

    Findings beside exclusive classes are auxiliary targets of training and stay behind.
    """
    names = [name for name in HEADS if name in raw]
    return [n for n in names if n != "finding_logits" or "global_logits" not in names]


class RawHeads(nn.Module):
    """The network without its auxiliary heads: a tuple in the order of `exported`."""

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        raw = self.net(image)
        return tuple(raw[name] for name in exported(raw))

    @torch.inference_mode()
    def names(self, image: Tensor) -> list[str]:
        return exported(self.net(image))


def heads_of(raw: RawOutputs) -> list[str]:
    """Names of the heads that are there."""
    return [name for name in HEADS if getattr(raw, name) is not None]


@torch.inference_mode()
def raw_outputs(
    net: Model, images: Sequence[NDArray[np.float32]], batch: int = 16
) -> list[RawOutputs]:
    """The raw heads of (1, S, S) prepared images from PyTorch, as a bundle's session gives them."""
    out = []
    device = next(net.parameters()).device
    with evaluating(net):
        for start in range(0, len(images), batch):
            stacked = torch.from_numpy(np.stack(images[start : start + batch])).to(device)
            out += by_image(net(stacked))
    return out


def by_image(raw: Mapping[str, Tensor]) -> list[RawOutputs]:
    """The exported heads of a batch, image by image."""
    values = {name: raw[name].float().cpu().numpy() for name in exported(raw)}
    each = zip(*values.values(), strict=True)
    return [RawOutputs(**dict(zip(values, one, strict=True))) for one in each]
