"""Batch norms that an exporter folded into the convolutions before them, made trainable again.

A bundle's graph holds W' = W * gamma / sigma and b' = beta - gamma * mean / sigma; gamma, mean and
sigma are gone. `unfold` writes the batch norm as x + b'. Under training that would divide by the
batch's deviation, which W' no longer undoes, so `settle` measures mean and deviation on images and
writes them into both places, where they cancel: the network computes what it did before, to the
rounding, however few the images.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import pairwise

import torch
from torch import Tensor, nn


def unfold(
    net: nn.Module, folded: Callable[[str], Tensor | None], names: Callable[[str], str] = str
) -> dict[str, Tensor]:
    """Tensors of the batch norms of `net` that come right behind a convolution with a folded bias.

    Args:
        folded: name of a convolution in `net` -> the bias it was given, (channels,), or None.
        names: what the result calls a tensor of `net`.
    """
    layers = [
        (name, layer)
        for name, layer in net.named_modules()
        if isinstance(layer, (nn.Conv2d, nn.BatchNorm2d))
    ]
    out: dict[str, Tensor] = {}
    for (before, _), (name, layer) in pairwise(layers):
        if not isinstance(layer, nn.BatchNorm2d) or (bias := folded(before)) is None:
            continue
        if len(bias) != layer.num_features:
            continue  # another width: reported as reshaped with its convolution
        ones = torch.ones_like(bias)
        own = {
            "weight": ones,
            "bias": bias,
            "running_mean": torch.zeros_like(bias),
            "running_var": ones - layer.eps,
            "num_batches_tracked": torch.tensor(0),
        }
        out |= {names(f"{name}.{key}"): value for key, value in own.items()}
        layer.unfolded = True  # type: ignore[assignment]
    return out


def unfolded(net: nn.Module) -> dict[str, nn.BatchNorm2d]:
    """The batch norms that `unfold` wrote and that are not settled yet, by name."""
    return {
        name: layer
        for name, layer in net.named_modules()
        if isinstance(layer, nn.BatchNorm2d) and getattr(layer, "unfolded", False)
    }


@torch.no_grad()
def settle(net: nn.Module, batches: Iterable[Tensor]) -> None:
    """Give the unfolded batch norms of `net` the statistics of (B, 1, S, S) batches of images."""
    sums: dict[nn.Module, list[Tensor]] = {}

    def measure(layer: nn.Module, inputs: tuple[Tensor]) -> None:
        x = inputs[0].double().transpose(0, 1).flatten(1)
        moments = [x.new_tensor(x.shape[1]), x.sum(1), x.square().sum(1)]
        if layer in sums:
            moments = [a + b for a, b in zip(sums[layer], moments, strict=True)]
        sums[layer] = moments

    layers = unfolded(net).values()
    hooks = [layer.register_forward_pre_hook(measure) for layer in layers]
    net.eval()
    for image_B1SS in batches:
        net(image_B1SS)
    for hook in hooks:
        hook.remove()
    for layer in layers:
        count, total, squares = sums[layer]
        mean = total / count
        var = squares / count - mean.square()
        layer.running_mean, layer.running_var = mean.float(), var.clamp(min=0).float()
        layer.weight.copy_((layer.running_var + layer.eps).sqrt())
        layer.bias.add_(layer.running_mean)
        del layer.unfolded
