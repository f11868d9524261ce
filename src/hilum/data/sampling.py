"""Samplers over a catalog: which rows an epoch sees, and how often; which rows to enrich by.

Copies no file, opens none (`enrich` does). Each gives (n,) row numbers, shuffled; the same seed
and epoch give the same rows.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hilum.core.errors import ConfigError, DataError
from hilum.data.catalog import Catalog

Int64 = NDArray[np.int64]


def sliding_rate(catalog: Catalog, label: str, rate: float, seed: int = 0, epoch: int = 0) -> Int64:
    """All positives once, and int(n_pos · (1 − rate) / rate) negatives drawn with replacement.

    The pneumothorax winner's sampler (E9); lower `rate` from .8 over .6 to .4 as training goes.

    Raises:
        ConfigError: rate outside (0, 1].
        DataError: no positives, or negatives are wanted and there are none.
    """
    if not 0 < rate <= 1:
        raise ConfigError(f"positive rate {rate}: needed: above 0, at most 1")
    values = _label(catalog, label)
    positive, negative = np.flatnonzero(values == 1), np.flatnonzero(values == 0)
    wanted = negatives_for(len(positive), rate)
    if not len(positive) or (wanted and not len(negative)):
        raise DataError(
            f"label {label!r}: {len(positive)} positives and {len(negative)} negatives; "
            "needed: some of both"
        )
    rng = np.random.default_rng([seed, epoch])
    drawn = rng.choice(negative, wanted) if wanted else negative[:0]
    return rng.permutation(np.concatenate([positive, drawn]))


def negatives_for(positives: int, rate: float) -> int:
    """How many negatives make `positives` the share `rate` of an epoch."""
    return int(positives * (1 - rate) / rate)


def weighted(
    catalog: Catalog, labels: Sequence[str], count: int, seed: int = 0, epoch: int = 0
) -> Int64:
    """`count` rows with replacement, every class (each of `labels`, and none) equally likely.

    A row with several of the labels counts for its rarest.
    """
    kinds = _kinds(catalog, labels)
    sizes = np.bincount(kinds[kinds >= 0], minlength=len(labels) + 1)
    weights = np.where(kinds >= 0, 1 / np.maximum(sizes, 1)[kinds], 0.0)
    rng = np.random.default_rng([seed, epoch])
    return rng.choice(len(catalog), count, p=weights / weights.sum())


def equalised(catalog: Catalog, labels: Sequence[str], seed: int = 0, epoch: int = 0) -> Int64:
    """Enrichment: every row once, and rows of the smaller classes again until all are as large.

    The repeats are what augmentation makes different; a repeated row stands behind the others of
    its class as evenly as possible (each k or k + 1 times).
    """
    kinds = _kinds(catalog, labels)
    members = [np.flatnonzero(kinds == k) for k in range(len(labels) + 1)]
    members = [m for m in members if len(m)]
    target = max(len(m) for m in members)
    rng = np.random.default_rng([seed, epoch])
    rows = [np.resize(rng.permutation(m), target) for m in members]
    return rng.permutation(np.concatenate(rows))


def enrichment(catalog: Catalog, label: str, augmentations: int, seed: int = 0) -> list[Int64]:
    """For each of so many augmentations the rows to copy by it, to make both classes equal.

    (negatives − positives) / augmentations copies each (E3), the first ones one more where this
    is no whole number. The smaller class is copied, each row as often as possible alike.

    Raises:
        DataError: no positives or no negatives.
    """
    values = _label(catalog, label)
    few, many = sorted((np.flatnonzero(values == v) for v in (1, 0)), key=len)
    if not len(few):
        raise DataError(f"label {label!r}: needed: both positives and negatives")
    order = np.random.default_rng(seed).permutation(few)
    return np.array_split(np.resize(order, len(many) - len(few)), augmentations)


def _kinds(catalog: Catalog, labels: Sequence[str]) -> Int64:
    """(images,) index of the rarest label present, len(labels) for none, -1 not annotated."""
    values = np.stack([_label(catalog, name) for name in labels], axis=1)
    kinds = np.where((values == 0).all(axis=1), len(labels), -1).astype(np.int64)
    for k in np.argsort(-(values == 1).sum(axis=0), kind="stable").tolist():
        kinds[values[:, k] == 1] = k
    if (kinds < 0).all():
        raise DataError(f"no image is annotated for {', '.join(labels)}")
    return kinds


def _label(catalog: Catalog, name: str) -> NDArray[np.float64]:
    if f"label_{name}" not in catalog.table:
        raise DataError(f"no label {name!r}; known: {', '.join(catalog.label_names)}")
    return catalog.table[f"label_{name}"].to_numpy(np.float64)
