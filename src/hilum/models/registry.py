"""Settings of a network -> the network."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module

import torch
from torch import Tensor

from hilum.models.model import Model, Targets
from hilum.models.options import NetworkOptions
from hilum.models.precision import careful_in_bf16


def bare_model(
    options: NetworkOptions,
    size: int,
    targets: Targets,
    *,
    seed: int,
    weights: Mapping[str, Tensor],
) -> Model:
    """The same network without pretrained weights, and with these."""
    bare = options.model_copy(update={"pretrained": False})
    net = build_model(bare, size, targets, seed)
    net.load_state_dict(weights)
    return net


def build_model(options: NetworkOptions, size: int, targets: Targets, seed: int) -> Model:
    """The network that `options` describe, for square inputs of `size` px, seeded.

    Raises:
        ConfigError: settings that do not fit one another, or weights that are not there.
    """
    module, _, name = options.network.partition(":")
    torch.manual_seed(seed)
    net = getattr(import_module(f"hilum.models.{module}"), name)(options, size, targets)
    assert isinstance(net, Model)
    careful_in_bf16(net)
    return net
