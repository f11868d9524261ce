"""Does a map depend on what was learnt (Adebayo et al. 2018)?

Weights are randomised from the last layer to the first; the rank correlation with the real map must
fall. A map that stays is a filter of the image, not an explanation.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

Float = NDArray[np.floating]
Net = TypeVar("Net", bound=nn.Module)


def randomised(net: Net, part: float, seed: int = 0) -> Net:
    """A copy whose last share `part` of layers is drawn anew, each as widely spread as before."""
    twin = copy.deepcopy(net)
    layers = [one for one in twin.modules() if getattr(one, "weight", None) is not None]
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for layer in layers[len(layers) - round(part * len(layers)) :]:
            weight = layer.weight
            assert isinstance(weight, torch.Tensor)
            if weight.ndim < 2:
                continue  # the scale of a normalisation
            spread = float(weight.std())
            weight.copy_(torch.randn(weight.shape, generator=rng) * spread)
    return twin


def rank_correlation(a: Float, b: Float) -> float:
    """Spearman's correlation of two maps of one shape; 0 where one is constant."""
    x, y = (_ranks(np.asarray(one, np.float64).reshape(-1)) for one in (a, b))
    if x.std() == 0 or y.std() == 0:
        return 0.0
    return float(np.corrcoef(x, y)[0, 1])


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks; equal values share their mean rank."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return np.asarray((ends - (counts - 1) / 2)[place], np.float64)


def cascade(
    net: Net, explain: Callable[[Net], Float], parts: tuple[float, ...] = (0.25, 0.5, 1)
) -> dict[float, float]:
    """Share of randomised layers -> rank correlation with the map of the network as it is."""
    real = explain(net)
    return {part: rank_correlation(real, explain(randomised(net, part))) for part in parts}
