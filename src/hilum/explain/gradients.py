"""Grad-CAM (Selvaraju et al. 2017) and HiResCAM (Draelos and Carin 2020) of a network in PyTorch.

Both weigh the last feature map by the gradient of one score. Grad-CAM takes a channel's mean
gradient, which can light up places that the score does not rest on; HiResCAM multiplies cell by
cell and is exact where a linear layer follows: Captum's gradient times activation. (The package
grad-cam brings opencv-python, which overwrites the headless OpenCV that reading rests on.)
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from captum.attr import LayerGradCam, LayerGradientXActivation
from numpy.typing import NDArray
from torch import Tensor, nn

from hilum.core.errors import ConfigError
from hilum.core.geometry import Letterbox
from hilum.core.options import unknown
from hilum.core.prepare import Preprocessing, prepare
from hilum.dicom.stored import StoredImage
from hilum.explain.explainer import Explainer, Find
from hilum.explain.heat import Heat
from hilum.explain.sanity import cascade
from hilum.models.model import Model, Targets, evaluating

Float32 = NDArray[np.float32]
METHODS: dict[str, Any] = {"grad-cam": LayerGradCam, "hirescam": LayerGradientXActivation}
BEST_BOX = "box"


def heat_of(
    net: Model,
    targets: Targets,
    image: Float32,
    frame: Letterbox,
    score: str | None = None,
    method: str = "hirescam",
    layer: nn.Module | None = None,
) -> Heat:
    """What one score of one image rests on.

    Args:
        image: (1, S, S) what the network sees.
        score: a class, a finding, or "box" for the best box; None: the positive class or first
            finding, else "box".
        layer: whose output is explained; None: the last feature map of the encoder.

    Raises:
        ConfigError: no such score or method, or a network without a feature map.
    """
    if method not in METHODS:
        raise ConfigError(unknown("method", method, METHODS))
    scores: list[_Score] = []

    def logit(image_B1SS: Tensor) -> Tensor:
        scores.append(_score(net(image_B1SS), targets, score))
        return scores[-1].logit[None]

    with evaluating(net):
        maps = METHODS[method](logit, layer or last_map(net)).attribute(
            torch.from_numpy(image[None]).requires_grad_(True),
            grad_kwargs={"materialize_grads": True},  # zero for a level that the score leaves out
        )
    target = scores[-1]
    deepest = min(maps, key=lambda one: one.shape[-1]) if isinstance(maps, tuple) else maps
    grid = deepest[0].detach().sum(dim=0).float().clamp(min=0).numpy()
    return Heat(
        score_name=target.name,
        score=target.value,
        method=method,
        grid=grid,
        frame=frame,
    )


def by_gradients(
    net: Model,
    targets: Targets,
    spec: Preprocessing,
    *,
    of: str,
    found_by: str,
    find: Find,
    score: str | None = None,
    method: str = "hirescam",
) -> Explainer:
    """A network in PyTorch, and the findings of whoever `find` is."""

    def heat(stored: StoredImage, one: Model = net) -> Heat:
        image, frame = prepare(stored.radiograph(window=spec.window), spec)
        return heat_of(one, targets, image, frame=frame, score=score, method=method)

    def spread(stored: StoredImage) -> dict[str, float]:
        parts = cascade(net, lambda twin: heat(stored, twin).grid)
        return {f"{part:.0%} of layers randomised": value for part, value in parts.items()}

    return Explainer(of=of, found_by=found_by, heat=heat, find=find, spread=spread)


def last_map(net: nn.Module) -> nn.Module:
    """The last module of the encoder that makes a feature map.

    Raises:
        ConfigError: there is no encoder.
    """
    for name in ("encoder", "backbone", "features", "net", "model"):
        part = getattr(net, name, None)
        if isinstance(part, nn.Module):
            inner = getattr(part, "encoder", None) or getattr(part, "net", None)
            return inner if isinstance(inner, nn.Module) else part
    raise ConfigError(f"{type(net).__name__} has no encoder whose feature map could be explained")


class _Score(NamedTuple):
    """What is explained."""

    name: str
    logit: Tensor
    value: float  # its probability


def _score(raw: dict[str, Tensor], targets: Targets, score: str | None) -> _Score:
    places: dict[str, tuple[Tensor, Tensor]] = {}
    if (findings := raw.get("finding_logits")) is not None:
        places |= _places(findings[0], findings[0].sigmoid(), targets.findings)
    if (classes := raw.get("global_logits")) is not None:  # exclusive: as predictions have them
        places |= _places(classes[0], classes[0].softmax(dim=0), targets.classes)
    if (boxes := raw.get("class_logits")) is not None:
        places[BEST_BOX] = (boxes[0].max(), boxes[0].max().sigmoid())
    if not places:
        raise ConfigError("this network has no image score and no boxes: nothing to explain")
    if score is None:
        score = next((n for n in targets.positive if n in places), next(iter(places)))
    if score not in places:
        raise ConfigError(unknown("score", score, places))
    logit, value = places[score]
    return _Score(score, logit, float(value.detach()))


def _places(
    logit_C: Tensor, value_C: Tensor, names: tuple[str, ...]
) -> dict[str, tuple[Tensor, Tensor]]:
    return {name: (logit_C[i], value_C[i]) for i, name in enumerate(names)}
