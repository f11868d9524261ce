"""Prepared items -> batches. Sample i of a stage depends on (seed, i) alone, so a resumed run
sees exactly what an uninterrupted one would have."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import torch
from torch.utils.data import Dataset

from hilum.augment.policy import Policy
from hilum.core.prepare import Preprocessing, normalise
from hilum.models.model import Batch
from hilum.train.store import MASKS, Item

Groups: TypeAlias = dict[str, list[Item]]
Drawn: TypeAlias = tuple[Item, "np.ndarray", "np.ndarray", "np.ndarray"]


class MixedFeed(Dataset[Batch]):
    """Whole batches by index; each sample first draws a group by the stage's mix, then an item.

    Within a group, items with opacities are drawn at least 40 % of the time.
    """

    def __init__(
        self,
        groups: Groups,
        mix: dict[str, float],
        policy: Policy,
        spec: Preprocessing,
        *,
        batch: int,
        start: int,
        steps: int,
        seed: int,
    ):
        self.names = [name for name in mix if groups.get(name)]
        shares = np.array([mix[name] for name in self.names])
        self.shares = shares / shares.sum()
        self.groups, self.policy, self.spec = groups, policy, spec
        self.batch, self.start, self.steps, self.seed = batch, start, steps, seed
        self.weights = {name: _balanced(groups[name]) for name in self.names}

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, index: int) -> Batch:
        first = (self.start + index) * self.batch
        rngs = [np.random.default_rng((self.seed, first + i)) for i in range(self.batch)]
        return collate([self._draw(rng) for rng in rngs], self.spec)

    def _draw(self, rng: np.random.Generator) -> Drawn:
        name = self.names[int(rng.choice(len(self.names), p=self.shares))]
        item = self.groups[name][int(rng.choice(len(self.groups[name]), p=self.weights[name]))]
        moved = self.policy(item.sample(), rng)
        return item, moved.image, moved.boxes_px, np.stack([moved.masks[m] for m in MASKS])


def _balanced(items: list[Item]) -> np.ndarray:
    positive = np.array([item.label[2] == 1 for item in items])
    weights = np.ones(len(items))
    if 0 < positive.mean() < 0.4:
        weights[positive] = (~positive).sum() / positive.sum() * 2 / 3  # 40 % with opacity
    normed: np.ndarray = weights / weights.sum()
    return normed


def collate(drawn: list[Drawn], spec: Preprocessing) -> Batch:
    """Samples to tensors."""
    items = [one[0] for one in drawn]
    boxes = [torch.from_numpy(one[2]) if one[0].boxes is not None else None for one in drawn]
    image = normalise(np.stack([one[1] for one in drawn]), spec)[:, None]
    return Batch(
        torch.from_numpy(image).contiguous(memory_format=torch.channels_last),
        boxes,
        [None if b is None else torch.zeros(len(b), dtype=torch.int64) for b in boxes],
        torch.from_numpy(np.stack([one[3] for one in drawn])),
        torch.from_numpy(np.stack([item.label for item in items])),
        torch.from_numpy(np.stack([item.findings for item in items])),
    )
