"""Optimiser, schedule and freezing of one stage, as a recipe names them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

from hilum.core.errors import ConfigError
from hilum.evaluate.metrics.names import higher_is_better
from hilum.train.options import OptimiserOptions, StageOptions

# Where the pretrained encoder lies; a transformer has an encoder of its own that is none.
ENCODERS = ("encoder.", "net.encoder.", "net.backbone.encoder.")


def optimiser(
    net: nn.Module, rate: float, options: OptimiserOptions, *, fused: bool = False
) -> torch.optim.Optimizer:
    """The encoder's parameters and all others, each with its rate; frozen ones are left out.

    `fused`: one kernel for all. Lightning cannot clip gradients for it under mixed precision.
    """
    slow: list[nn.Parameter] = []
    fast: list[nn.Parameter] = []
    for name, parameter in net.named_parameters():
        if parameter.requires_grad:
            (slow if name.startswith(ENCODERS) else fast).append(parameter)
    groups: list[dict[str, Any]] = [
        {"params": slow, "lr": rate * options.encoder_factor},
        {"params": fast, "lr": rate},
    ]
    groups = [group for group in groups if group["params"]]
    if options.kind == "sgd":
        return torch.optim.SGD(
            groups,
            momentum=options.momentum,
            nesterov=options.nesterov,
            weight_decay=options.weight_decay,
            fused=fused,
        )
    kind = torch.optim.AdamW if options.kind == "adamw" else torch.optim.Adam
    return kind(groups, weight_decay=options.weight_decay, fused=fused)


def schedule(
    optim: torch.optim.Optimizer, stage: StageOptions, steps: int, chunk: int
) -> LambdaLR | ReduceLROnPlateau:
    """The rate of each of `steps` steps; `chunk` of them make an epoch, which plateau looks at."""
    options = stage.schedule
    if options.kind == "plateau":
        mode: Literal["min", "max"] = "max" if higher_is_better(options.watch) else "min"
        return ReduceLROnPlateau(optim, mode=mode, factor=options.factor, patience=options.patience)
    return LambdaLR(optim, lambda step: factor(step, stage, steps, chunk))


def factor(step: int, stage: StageOptions, steps: int, chunk: int = 1) -> float:
    """What the stage's rate is multiplied with at a step.

    cosine-floor is definitions.md's (D1): its unit is `every` epochs, or a step, and T their
    number, so that the floor is reached.
    """
    options = stage.schedule
    warm = min(1.0, (step + 1) / max(1, options.warmup))
    if options.kind == "constant":
        return warm
    if options.kind == "cosine":
        done = step / steps * options.cycles
        part = 1.0 if step >= steps else done % 1  # of the cycle that the step is in
        return warm * (0.5 * (1 + math.cos(math.pi * part)) + 1e-3)
    unit = 1 if options.every == 1 else options.every * chunk
    last = max(1, (steps - 1) // unit)
    return warm * cosine_with_floor(min(step // unit, last), last, options.floor)


def cosine_with_floor(t: int, last: int, floor: float = 0.05) -> float:
    """(.5 (1 + cos(pi t / T)) (1 - floor) + floor); at t = T the floor itself."""
    return 0.5 * (1 + math.cos(math.pi * t / last)) * (1 - floor) + floor


def freeze(net: nn.Module, stage: StageOptions) -> None:
    """Mark what the stage trains. Frozen batch norm keeps its statistics as well.

    Raises:
        ConfigError: of the encoder something is to be frozen and the network has none of ours, or
            a part that alone is to learn is not there.
    """
    for parameter in net.parameters():
        parameter.requires_grad_(True)
    if stage.freeze in ("encoder", "stem"):
        layers = [p for name, p in net.named_parameters() if name.startswith(ENCODERS)]
        if stage.freeze == "stem":
            layers = layers[: _stem(net)]
        if not layers:
            raise ConfigError(
                f"freeze: {stage.freeze}: {type(net).__name__} has none; use first-half"
            )
        for parameter in layers:
            parameter.requires_grad_(False)
    if stage.freeze == "first-half":
        own = [m for m in net.modules() if next(m.parameters(recurse=False), None) is not None]
        for layer in own[: len(own) // 2]:
            for parameter in layer.parameters(recurse=False):
                parameter.requires_grad_(False)
    if stage.learns:
        _check_parts(net, stage.learns)
        for name, parameter in net.named_parameters():
            if not name.startswith(tuple(f"{part}." for part in stage.learns)):
                parameter.requires_grad_(False)
    if stage.frozen_batch_norm:
        for layer in batch_norms(net):
            for parameter in layer.parameters():
                parameter.requires_grad_(False)


def _check_parts(net: nn.Module, names: Sequence[str]) -> None:
    """Raises ConfigError for a part that the network has not, or that has nothing to learn."""
    parts = [name for name, part in net.named_modules() if name and [*part.parameters()]]
    for name in set(names) - {*parts}:
        own = ", ".join(part for part in parts if "." not in part)
        raise ConfigError(f"learns: {name!r} is no part of {type(net).__name__}; it has: {own}")


def _stem(net: nn.Module) -> int:
    """How many of the encoder's parameters come up to the end of its map of stride 4."""
    features = getattr(net, "encoder", None)
    info = getattr(features, "feature_info", None)
    # All maps of the encoder, also those that this network does not look at.
    maps = [one["module"] for one in getattr(info, "info", ()) if one["reduction"] == 4]
    if not isinstance(features, nn.Module) or not maps:
        return 0
    # timm spells a layer `stages.1` or `stages_1`, some below `body.`.
    last = maps[-1].replace(".", "_") + "_"
    names = [n.removeprefix("body.").replace(".", "_") for n, _ in features.named_parameters()]
    return 1 + max(i for i, name in enumerate(names) if name.startswith(last))


def batch_norms(net: nn.Module) -> list[nn.Module]:
    return [m for m in net.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]


def still(net: nn.Module, stage: StageOptions) -> None:
    """After `net.train()`: what is frozen must not follow the batch's statistics either."""
    frozen = stage.freeze != "none" or stage.frozen_batch_norm or bool(stage.learns)
    for layer in batch_norms(net) if frozen else []:
        if stage.frozen_batch_norm or not any(p.requires_grad for p in layer.parameters()):
            layer.eval()
