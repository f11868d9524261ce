"""What a row of a source says of its image, by the names that the recipe has for it.

The same for what is learnt (`source.lessons`) and for what is true (`source.catalog`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hilum.data.catalog import Catalog
from hilum.data.pixels import open_mask
from hilum.train.sources import Source, label_columns

Bool = NDArray[np.bool_]


def label_of(record: pd.Series[Any], name: str) -> float:
    """Of the image, or else of its study; NaN where neither is annotated."""
    own, study = label_columns(name)
    return float(record.get(own, record.get(study, np.nan)))


def boxes_of(
    source: Source, catalog: Catalog, row: int, size: tuple[int, int]
) -> tuple[NDArray[np.float64], tuple[str, ...]] | None:
    """(n, 4) in the pixels of the image, and their labels, those of the targets alone; None where
    nobody looked.

    Args:
        size: width and height of the image, px.

    Raises:
        DataError: the image is of another shape than the frame the boxes were drawn in.
    """
    everything = catalog.boxes_in(row, *size)
    if everything is None:
        return None
    names = source.target_labels(everything[1])
    keep = [name is not None for name in names]
    return everything[0][keep].reshape(-1, 4), tuple(n for n in names if n is not None)


def mask_of(source: Source, record: pd.Series[Any], name: str) -> Callable[[int, int], Bool] | None:
    """Opens the union of the masks that make up a target's, by height and width; None where one of
    them is not annotated."""
    references = [record.get(column) for column in source.mask_columns(name)]
    if not references or any(one is None or pd.isna(one) for one in references):
        return None
    return partial(_union, source, [str(one) for one in references])


def _union(source: Source, references: list[str], height: int, width: int) -> Bool:
    parts = [open_mask(source.catalog.root, one, height, width) for one in references]
    out: Bool = np.logical_or.reduce(parts)
    return out
