"""How often an epoch shows an image, and which rows to enrich by.

Copies no file, opens none (`enrich` does), and knows no order: `train.loader` draws by these
numbers.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hilum.core.errors import DataError
from hilum.data.catalog import Catalog

Int64 = NDArray[np.int64]


def negatives_for(positives: int, rate: float) -> int:
    """How many negatives make `positives` the share `rate` of an epoch: the sliding positive rate
    of the pneumothorax winner (E9), .8 over .6 to .4 as training goes."""
    return int(positives * (1 - rate) / rate)


def repeat_factors(present: NDArray[np.floating], share: float) -> NDArray[np.float64]:
    """(images,) how often an epoch shows each image, 1 or more, so that rare classes come oftener.

    share / f of the rarest class that it shows, f that class's share of the images annotated for
    it: repeat-factor sampling (Gupta et al. 2019, LVIS) without the root, so that a class is shown
    as often as one of frequency `share` is.

    Args:
        present: (images, classes) 1 present, 0 absent, NaN not annotated.
        share: classes rarer than it are shown more often.
    """
    shown = present == 1
    known = np.isfinite(present).sum(axis=0)
    frequency = shown.sum(axis=0) / np.maximum(known, 1)
    factors = np.where(frequency > 0, share / np.maximum(frequency, 1e-12), 1.0)
    most: NDArray[np.float64] = np.where(shown, factors, 1.0).max(axis=1, initial=1.0)
    return most


def enrichment(catalog: Catalog, label: str, augmentations: int, seed: int = 0) -> list[Int64]:
    """For each of so many augmentations the rows to copy by it, to make both classes equal.

    (negatives − positives) / augmentations copies each (E3), the first ones one more where this
    is no whole number. The smaller class is copied, each row as often as possible alike.

    Raises:
        DataError: no such label, no positives or no negatives.
    """
    if label not in catalog.label_names:
        raise DataError(f"no label {label!r}; known: {', '.join(catalog.label_names)}")
    values = catalog.table[f"label_{label}"].to_numpy(np.float64)
    few, many = sorted((np.flatnonzero(values == v) for v in (1, 0)), key=len)
    if not len(few):
        raise DataError(f"label {label!r}: needed: both positives and negatives")
    order = np.random.default_rng(seed).permutation(few)
    return np.array_split(np.resize(order, len(many) - len(few)), augmentations)
