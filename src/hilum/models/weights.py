"""Weights from elsewhere, read: a run, a bundle, a safetensors file, a published state dict.

Copies nothing into a network; `train.start` and `encoder` do.
"""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from hilum.core.bundle import MANIFEST, open_bundle, shipped_bundles
from hilum.core.errors import BundleError, ConfigError
from hilum.models.torchvision import from_torchvision, is_torchvision

WEIGHTS = "weights.safetensors"
# What PyTorch's ONNX exporter calls the bias that a convolution got with the batch norm behind it.
FOLDED = "weight_bias"
WRAPPED = ("state_dict", "model_state_dict", "model", "ema")  # where a checkpoint keeps its weights


@dataclass(frozen=True, slots=True)
class Account:
    """What became of weights from elsewhere."""

    source: str
    loaded: tuple[str, ...]
    missing: tuple[str, ...]  # the network has them, the source does not: left as they were
    reshaped: tuple[str, ...]  # in both, but of another shape: left as they were
    unexpected: tuple[str, ...]  # the source has them, the network has no use for them

    def __str__(self) -> str:
        parts = [f"weights from {self.source}: {len(self.loaded)} tensors loaded"]
        for name in ("missing", "reshaped", "unexpected"):
            keys = getattr(self, name)
            if keys:
                more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
                parts.append(f"{len(keys)} {name} ({', '.join(keys[:3])}{more})")
        return ", ".join(parts)


def read_weights(source: str) -> dict[str, Tensor]:
    """Tensors by name.

    Args:
        source: the folder of a run; a safetensors file; a state dict (.pth, .pt), alone or in a
            checkpoint, torchvision's detectors in our names; a bundle, by its path or the name of
            one that ships. Its fp32 graph holds every tensor but the batch norms that the exporter
            folded (`unfold`).

    Raises:
        ConfigError: nothing of that kind there.
    """
    path = Path(source)
    if source in shipped_bundles() and not path.exists():
        return _of_bundle(source)
    if path.suffix == ".zip" or (path / MANIFEST).is_file():
        return _of_bundle(source)
    if path.is_dir():
        path = _of_run(path)
    if not path.is_file():
        raise ConfigError(
            f"no weights at {source}; needed: the folder of a finished run, a safetensors file, a "
            f"state dict (.pth, .pt), or a bundle ({', '.join(shipped_bundles())} ship)"
        )
    return _of_state_dict(path) if path.suffix in (".pth", ".pt") else _of_safetensors(path)


def _of_run(folder: Path) -> Path:
    every = sorted(folder.rglob(WEIGHTS))
    final = [file for file in every if file.parent.name == "final"]
    own = folder / WEIGHTS
    files = [own] if own in every else final if len(final) == 1 else every
    if len(files) != 1:
        names = ", ".join(str(file.relative_to(folder)) for file in every[:5])
        raise ConfigError(
            f"{folder} holds {len(every)} {WEIGHTS}{f' ({names})' if names else ''}; needed: one; "
            "give the file itself"
        )
    return files[0]


def _of_safetensors(file: Path) -> dict[str, Tensor]:
    try:
        weights: dict[str, Tensor] = load_file(file)
    except SafetensorError as error:
        raise ConfigError(f"{file} is no safetensors file: {error}") from error
    return weights


def _of_state_dict(file: Path) -> dict[str, Tensor]:
    try:
        raw: Any = torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise ConfigError(
            f"{file} is no state dict of tensors: {str(error).splitlines()[0]}. Where a pickled "
            "network was made: torch.save(net.state_dict(), FILE)"
        ) from error
    raw = raw if isinstance(raw, dict) else {}
    inner = next((raw[name] for name in WRAPPED if isinstance(raw.get(name), dict)), raw)
    weights = {name: value for name, value in inner.items() if isinstance(value, Tensor)}
    if not weights:
        raise ConfigError(f"{file} holds no tensors by name; needed: a state dict")
    return from_torchvision(weights) if is_torchvision(weights) else weights


def _of_bundle(name: str) -> dict[str, Tensor]:
    try:
        bundle = open_bundle(name)
        graph = onnx.load_model_from_string(bundle.model("fp32")).graph
    except BundleError as error:
        raise ConfigError(f"no weights in {name}: {error}") from error
    arrays = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
    return {
        key.removeprefix("net."): torch.from_numpy(np.array(value))
        for key, value in arrays.items()
        if key.startswith("net.")
    }
