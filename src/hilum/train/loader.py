"""Prepared images -> samples in an order -> batches.

Sample i of a stage depends on (seed, i) alone, so a resumed run sees exactly what an uninterrupted
one would have. Knows no file and no network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
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
from hilum.data.sampling import negatives_for, repeat_factors
from hilum.models.model import Batch, Targets
from hilum.train.samples import PreparedImage

# (number of the sample, its generator) -> the image that it shows
Draw: TypeAlias = Callable[[int, np.random.Generator], PreparedImage]
POSITIVES = 0.4  # of a group with fewer, so many samples are positive


@dataclass(frozen=True, slots=True)
class Sampler:
    """Which image each sample shows, and how many samples make an epoch (None: none of its own)."""

    draw: Draw
    epoch: int | None = None


class Batches(Dataset[Batch]):
    """Batches by index, from batch `start` on; what the sampler picks is then augmented.

    Of `world` ranks each has its part of every batch: all together the batch of one.
    """

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
        rank: int = 0,
        world: int = 1,
    ):
        self.draw, self.policy, self.spec, self.targets = draw, policy, spec, targets
        self.batch, self.start, self.batches, self.seed = batch, start, batches, seed
        self.rank, self.world = rank, world

    def __len__(self) -> int:
        return self.batches

    def __getitem__(self, index: int) -> Batch:
        first = (self.start + index) * self.batch
        numbers = range(first, first + self.batch)[self.rank :: self.world]
        return collate([self.sample(number) for number in numbers], self.spec, self.targets)

    def sample(self, number: int) -> Sample:
        """One augmented sample; where the policy mixes, its further parts are any other images."""
        rng = np.random.default_rng((self.seed, number))
        numbers = chain((number,), iter(lambda: int(rng.integers(2**31)), None))

        def source() -> Sample:
            return self.draw(next(numbers), rng).sample(self.targets.masks)

        return self.policy.draw(source, rng)


def sampler(
    images: Sequence[PreparedImage],
    *,
    mix: Mapping[str, float] | None,
    positives: float | None,
    oversample: float | None = None,
    seed: int,
) -> Sampler:
    """The sampler that a stage's settings name.

    Args:
        mix: group -> its share of the samples; None: passes over all images.
        positives: share of positive images in a pass (E9); None: as they come.
        oversample: classes rarer than this share are shown more often (D12); None: as they come.

    Raises:
        DataError: no image to draw.
    """
    if mix is not None:
        groups: dict[str, list[PreparedImage]] = {}
        for one in images:
            groups.setdefault(one.group, []).append(one)
        return mixed(groups, mix)
    if positives is not None:
        return enriched(images, positives, seed)
    return passes(images, seed) if oversample is None else oversampled(images, oversample, seed)


def mixed(groups: Mapping[str, Sequence[PreparedImage]], mix: Mapping[str, float]) -> Sampler:
    """Draws a group by its share, then an image of it, positive at least 40 % of the time.

    Raises:
        DataError: a group that the mix names has no image to train on.
    """
    empty = [name for name, share in mix.items() if share > 0 and not groups.get(name)]
    if empty:
        raise DataError(f"mix: {', '.join(empty)}: no image is left to train on")
    names = [name for name, share in mix.items() if share > 0]
    shares = np.array([mix[name] for name in names])
    shares = shares / shares.sum()
    weights = {name: _balanced(groups[name]) for name in names}

    def draw(_: int, rng: np.random.Generator) -> PreparedImage:
        name = names[int(rng.choice(len(names), p=shares))]
        return groups[name][int(rng.choice(len(groups[name]), p=weights[name]))]

    return Sampler(draw)


def passes(images: Sequence[PreparedImage], seed: int) -> Sampler:
    """Passes over all images, each once a pass, in a new order every time."""
    return _in_passes(images, len(images), seed, lambda rng: rng.permutation(len(images)))


def _in_passes(
    images: Sequence[PreparedImage],
    length: int,
    seed: int,
    drawn: Callable[[np.random.Generator], NDArray[np.intp]],
) -> Sampler:
    """Passes of `length` images, of which `drawn` gives the places in the order of a pass."""

    @lru_cache(maxsize=2)
    def order(turn: int) -> NDArray[np.intp]:
        return drawn(np.random.default_rng((seed, turn, len(images))))

    def draw(number: int, _: np.random.Generator) -> PreparedImage:
        turn, place = divmod(number, length)
        return images[int(order(turn)[place])]

    return Sampler(draw, length)


def enriched(images: Sequence[PreparedImage], share: float, seed: int) -> Sampler:
    """Passes over all positive images and as many drawn others as leave them `share` of it (the
    sliding positive rate, E9).

    Raises:
        DataError: no positive image, or none without a finding where some are needed.
    """
    positive = np.array([one.positive for one in images])
    known, others = np.flatnonzero(positive), np.flatnonzero(~positive)
    wanted = negatives_for(len(known), share)
    if not len(known) or (wanted and not len(others)):
        raise DataError(
            f"positives: {share}: {len(known)} of {len(images)} training images are positive; "
            "needed: some of both"
        )

    def order(rng: np.random.Generator) -> NDArray[np.intp]:
        drawn = rng.choice(others, wanted) if wanted else others[:0]
        return rng.permutation(np.concatenate([known, drawn]))

    return _in_passes(images, len(known) + wanted, seed, order)


def oversampled(images: Sequence[PreparedImage], share: float, seed: int) -> Sampler:
    """Passes over all images, those of classes rarer than `share` as often as makes up for it.

    Classes are the exclusive ones, the findings and the labels of boxes. Each image comes once at
    least; a part of a repetition is drawn anew every pass (systematic sampling, so that every pass
    is equally long).
    """
    factors = repeat_factors(_presence(images), share)
    ends = np.cumsum(factors)
    length = int(np.ceil(ends[-1] - 1e-9))

    def order(rng: np.random.Generator) -> NDArray[np.intp]:
        at = (np.arange(length) + rng.random()) * ends[-1] / length
        return rng.permutation(np.searchsorted(ends, at, side="right").clip(max=len(images) - 1))

    return _in_passes(images, length, seed, order)


def _presence(images: Sequence[PreparedImage]) -> NDArray[np.float64]:
    """(images, classes) 1 present, 0 absent, NaN not annotated."""
    names = sorted({name for one in images for name in one.box_labels})
    unknown = np.full(len(names), np.nan)
    rows = []
    for one in images:
        boxes = unknown if one.boxes is None else np.array([n in one.box_labels for n in names])
        rows.append(np.concatenate([one.label, one.findings, boxes]))
    return np.stack(rows).astype(np.float64)


def _balanced(images: Sequence[PreparedImage]) -> NDArray[np.float64]:
    positive = np.array([one.positive_class for one in images])
    weights = np.ones(len(images))
    if 0 < positive.mean() < POSITIVES:
        odds = POSITIVES / (1 - POSITIVES)
        weights[positive] = (~positive).sum() / positive.sum() * odds
    normed: NDArray[np.float64] = weights / weights.sum()
    return normed


def collate(samples: Sequence[Sample], spec: Preprocessing, targets: Targets) -> Batch:
    """Samples as tensors."""
    image = normalise(np.stack([one.image for one in samples]), spec)[:, None]
    shape = len(samples), len(targets.masks), *image.shape[-2:]
    masks = np.array([[one.masks[m] for m in targets.masks] for one in samples], np.uint8)
    return Batch(
        image_B1SS=torch.from_numpy(image).contiguous(memory_format=torch.channels_last),
        boxes=[torch.from_numpy(one.boxes_px) if one.boxed else None for one in samples],
        classes=[_classes(one, targets) if one.boxed else None for one in samples],
        mask_BMSS=torch.from_numpy(masks.reshape(shape)),
        label_BC=torch.from_numpy(np.stack([one.classes for one in samples])),
        finding_BF=torch.from_numpy(np.stack([one.findings for one in samples])),
    )


def _classes(sample: Sample, targets: Targets) -> Tensor:
    return torch.tensor([targets.labels.index(n) for n in sample.labels], dtype=torch.int64)


def plain(
    images: Sequence[PreparedImage], spec: Preprocessing, targets: Targets, batch: int
) -> Iterator[Batch]:
    """All images in order and as they are, for an evaluation."""
    for start in range(0, len(images), batch):
        part = images[start : start + batch]
        yield collate([one.sample(targets.masks) for one in part], spec, targets)
