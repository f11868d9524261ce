"""A network on validation images -> numbers, in the square. For choosing, never for reporting.

What is reported goes through the bundle's own decoding (`train.judge`, `hilum evaluate`).
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from hilum.core.prepare import Preprocessing
from hilum.evaluate import classification, detection_ap
from hilum.models.model import Model, Prediction, Targets, evaluating
from hilum.train.feed import plain
from hilum.train.store import Item


def validate(
    net: Model, items: list[Item], spec: Preprocessing, targets: Targets, batch: int
) -> dict[str, float]:
    """val_loss and its components, and what the network's heads allow of AP@.5, AUC, accuracy,
    MCC and Dice. Numbers that cannot be had of these images are left out."""
    totals: dict[str, list[float]] = {}
    said: list[Prediction] = []
    device = next(net.parameters()).device
    for one in plain(items, spec, targets, batch):
        moved = one.to(device)
        with torch.no_grad(), evaluating(net):
            parts = net.loss(moved)
        for name, value in parts.items():
            totals.setdefault(f"val_{name}", []).append(float(value) * len(one.boxes))
        said += net.predict(moved.image_B1SS)
    out = {name: sum(values) / len(items) for name, values in totals.items()}
    out["val_loss"] = sum(out.values())
    return out | measured(items, said, targets)


def measured(items: list[Item], said: list[Prediction], targets: Targets) -> dict[str, float]:
    """AP@.5, AUC, accuracy, MCC and Dice, as far as predictions and annotations allow."""
    boxes, classes = _boxes(items, said), _classes(items, said, targets)
    return boxes | classes | _masks(items, said, targets)


def _boxes(items: list[Item], said: list[Prediction]) -> dict[str, float]:
    pairs = [
        (item.boxes, _numpy(one))
        for item, one in zip(items, said, strict=True)
        if item.boxes is not None and one.boxes is not None
    ]
    if not any(len(truth) for truth, _ in pairs):
        return {}
    truth, found = [t for t, _ in pairs], [f for _, f in pairs]
    return {"ap50": float(detection_ap(truth, found, iou=0.5))}


def _numpy(one: Prediction) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    assert one.boxes is not None
    assert one.scores is not None
    return one.boxes.cpu().numpy().astype(np.float32), one.scores.cpu().numpy().clip(0, 1)


def _classes(items: list[Item], said: list[Prediction], targets: Targets) -> dict[str, float]:
    out = {}
    if said[0].classes is not None:
        known = [i for i, item in enumerate(items) if np.nanmax([*item.label, 0]) == 1]
        truth = np.array([int(np.nanargmax(items[i].label)) for i in known])
        score = np.array([_probabilities(said[i].classes) for i in known])
        if len(known):
            out["accuracy"] = float((score.argmax(1) == truth).mean())
            columns = targets.positive_columns
            out |= _auc(np.isin(truth, columns), score[:, columns].sum(axis=1))
    if said[0].findings is not None:
        values = np.stack([_probabilities(one.findings) for one in said])
        labels = np.stack([item.findings for item in items])
        each = [_finding(labels[:, k], values[:, k]) for k in range(labels.shape[1])]
        areas = [found["auc"] for found in each if found]
        if areas:
            out["auc"] = float(np.mean(areas))  # over findings that occur
            out["mcc"] = float(np.mean([found["mcc"] for found in each if found]))
    return out


def _finding(label: NDArray[np.float32], value: NDArray[np.float32]) -> dict[str, float]:
    known = ~np.isnan(label)
    return _auc(label[known] == 1, value[known])


def _auc(truth: NDArray[np.bool_], score: NDArray[np.float32]) -> dict[str, float]:
    if not 0 < truth.sum() < len(truth):
        return {}
    found = classification(truth.astype(int), score.clip(0, 1))
    return {"auc": float(found["auc"]), "mcc": float(found["mcc"])}


def _probabilities(values: torch.Tensor | None) -> NDArray[np.float32]:
    assert values is not None
    return values.cpu().numpy().astype(np.float32)


def _masks(items: list[Item], said: list[Prediction], targets: Targets) -> dict[str, float]:
    """Mean Dice an image, the mask cut at .5, unannotated pixels left out; both empty is 1."""
    out = {}
    for channel, name in enumerate(targets.masks):
        values = []
        for item, one in zip(items, said, strict=True):
            if one.masks is None or name not in item.masks or one.masks[channel].isnan().any():
                continue
            known = item.masks[name] != 255
            truth = (item.masks[name] == 1) & known
            mask = (one.masks[channel].cpu().numpy() >= 0.5) & known
            both = truth.sum() + mask.sum()
            values.append(2 * (truth & mask).sum() / both if both else 1.0)
        if values:
            out[f"dice_{name}"] = float(np.mean(values))
    return out
