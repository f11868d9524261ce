"""Prepared items -> batches. Sample i of a stage depends on (seed, i) alone, so a resumed run
sees exactly what an uninterrupted one would have."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import chain
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from hilum.augment.policy import Policy
from hilum.augment.sample import Sample
from hilum.core.errors import DataError
from hilum.core.prepare import Preprocessing, normalise
from hilum.data.sampling import negatives_for
from hilum.models.model import Batch, Targets
from hilum.train.store import Item

Groups: TypeAlias = dict[str, list[Item]]
Draw: TypeAlias = Callable[[int, np.random.Generator], Item]  # (number of the sample, its rng)


class Feed(Dataset[Batch]):
    """Whole batches by index, from batch `start` on; what `draw` picks is then augmented."""

    def __init__(
        self,
        draw: Draw,
        policy: Policy,
        spec: Preprocessing,
        targets: Targets,
        *,
        batch: int,
        start: int,
        batches: int,
        seed: int,
    ):
        self.draw, self.policy, self.spec, self.targets = draw, policy, spec, targets
        self.batch, self.start, self.batches, self.seed = batch, start, batches, seed

    def __len__(self) -> int:
        return self.batches

    def __getitem__(self, index: int) -> Batch:
        first = (self.start + index) * self.batch
        numbers = range(first, first + self.batch)
        return collate([self.sample(number) for number in numbers], self.spec, self.targets)

    def sample(self, number: int) -> Sample:
        """One augmented sample; where the policy mixes, its further parts are any other items."""
        rng = np.random.default_rng((self.seed, number))
        numbers = chain((number,), iter(lambda: int(rng.integers(2**31)), None))

        def source() -> Sample:
            return self.draw(next(numbers), rng).sample(self.targets.masks)

        return self.policy.draw(source, rng)


def mixed(groups: Groups, mix: dict[str, float]) -> Draw:
    """Draws a group by its share, then an item of it, with opacity at least 40 % of the time."""
    names = [name for name in mix if groups.get(name)]
    shares = np.array([mix[name] for name in names])
    shares = shares / shares.sum()
    weights = {name: _balanced(groups[name]) for name in names}

    def draw(_: int, rng: np.random.Generator) -> Item:
        name = names[int(rng.choice(len(names), p=shares))]
        return groups[name][int(rng.choice(len(groups[name]), p=weights[name]))]

    return draw


def passes(items: list[Item], seed: int) -> Draw:
    """Passes over all items, each once a pass, in a new order every time."""

    @lru_cache(maxsize=2)
    def order(turn: int) -> NDArray[np.intp]:
        return np.random.default_rng((seed, turn, len(items))).permutation(len(items))

    def draw(number: int, _: np.random.Generator) -> Item:
        turn, place = divmod(number, len(items))
        return items[int(order(turn)[place])]

    return draw


def enriched(items: list[Item], share: float, seed: int) -> tuple[Draw, int]:
    """Passes over all items with a finding and as many drawn others as leave them `share` of it
    (the sliding positive rate, E9), and the length of a pass.

    Raises:
        DataError: no item with a finding, or none without where some are needed.
    """
    positive = np.array([item.positive for item in items])
    known, others = np.flatnonzero(positive), np.flatnonzero(~positive)
    wanted = negatives_for(len(known), share)
    if not len(known) or (wanted and not len(others)):
        raise DataError(
            f"positives: {share}: {len(known)} of {len(items)} training images are positive; "
            "needed: some of both"
        )

    @lru_cache(maxsize=2)
    def order(turn: int) -> NDArray[np.intp]:
        rng = np.random.default_rng((seed, turn, len(items)))
        drawn = rng.choice(others, wanted) if wanted else others[:0]
        return rng.permutation(np.concatenate([known, drawn]))

    def draw(number: int, _: np.random.Generator) -> Item:
        turn, place = divmod(number, len(known) + wanted)
        return items[int(order(turn)[place])]

    return draw, len(known) + wanted


def _balanced(items: list[Item]) -> np.ndarray:
    positive = np.array([item.called for item in items])
    weights = np.ones(len(items))
    if 0 < positive.mean() < 0.4:
        weights[positive] = (~positive).sum() / positive.sum() * 2 / 3  # 40 % with opacity
    normed: np.ndarray = weights / weights.sum()
    return normed


def collate(samples: Sequence[Sample], spec: Preprocessing, targets: Targets) -> Batch:
    """Samples as tensors."""
    image = normalise(np.stack([one.image for one in samples]), spec)[:, None]
    shape = len(samples), len(targets.masks), *image.shape[-2:]
    masks = np.array([[one.masks[m] for m in targets.masks] for one in samples], np.uint8)
    return Batch(
        torch.from_numpy(image).contiguous(memory_format=torch.channels_last),
        [torch.from_numpy(one.boxes_px) if one.boxed else None for one in samples],
        [_classes(one, targets) if one.boxed else None for one in samples],
        torch.from_numpy(masks.reshape(shape)),
        torch.from_numpy(np.stack([one.classes for one in samples])),
        torch.from_numpy(np.stack([one.findings for one in samples])),
    )


def _classes(sample: Sample, targets: Targets) -> Tensor:
    return torch.tensor([targets.labels.index(n) for n in sample.labels], dtype=torch.int64)


def plain(items: list[Item], spec: Preprocessing, targets: Targets, batch: int) -> Iterator[Batch]:
    """All items in order and as they are, for judging."""
    for start in range(0, len(items), batch):
        part = items[start : start + batch]
        yield collate([item.sample(targets.masks) for item in part], spec, targets)
