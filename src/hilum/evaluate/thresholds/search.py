"""Search over the options of a fusion or a filter, on validation folds only.

The best of many settings looks better than it is. So beside the score of the chosen options
stands the nested one: options chosen on the other folds, evaluated on the fold left out. Knows no
fusion and no mask: the caller brings a function that scores options on rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hilum.core.errors import ConfigError, DataError
from hilum.data import split as splitting
from hilum.data.catalog import Catalog

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Score = Callable[[Mapping[str, Any], Int], float]


@dataclass(frozen=True, slots=True, eq=False)
class Searched:
    """What a search found."""

    options: Mapping[str, Any]  # the best mean over folds; of equals the first
    score: float  # its mean over folds: optimistic, it was chosen by it
    nested: float  # mean over folds of what the other folds chose: not optimistic
    tried: tuple[Mapping[str, Any], ...]
    table: Float  # (tried, folds) scores

    def to_json(self) -> dict[str, Any]:
        """What was tried, with the score of every fold."""
        best = self.tried.index(self.options)
        return {
            "options": dict(self.options),
            "score": self.score,
            "nested": self.nested,
            "fold_scores": self.table[best].tolist(),
            "tried": [
                {"options": dict(options), "fold_scores": row.tolist()}
                for options, row in zip(self.tried, self.table, strict=True)
            ],
        }


def search(score: Score, grid: Mapping[str, Sequence[Any]], folds: ArrayLike) -> Searched:
    """Try all combinations of a grid on every fold.

    Args:
        score: of options and the row indices of one fold -> number, higher is better.
        grid: values to try of each option.
        folds: (n,) validation fold of each row, two or more; keep patients together.

    Raises:
        ConfigError: an empty grid.
        DataError: fewer than two folds, or a score that is NaN.
    """
    tried = tuple(dict(zip(grid, values, strict=True)) for values in product(*grid.values()))
    if not grid or not tried:
        raise ConfigError("nothing to search: the grid has no values")
    numbers = np.asarray(folds).reshape(-1)
    names = np.unique(numbers)
    if len(names) < 2:
        raise DataError(f"{len(names)} folds; needed: two or more, one to be evaluated on")
    rows = [np.flatnonzero(numbers == name) for name in names]
    table = np.array([[score(options, part) for part in rows] for options in tried], np.float64)
    if np.isnan(table).any():
        raise DataError("a fold has no score: are there truths in every fold?")
    means = table.mean(axis=1)
    best = int(np.argmax(means))
    return Searched(
        options=tried[best],
        score=float(means[best]),
        nested=_nested(table),
        tried=tried,
        table=table,
    )


def patient_folds(catalog: Catalog, marks: ArrayLike, count: int) -> NDArray[Any]:
    """(n,) fold of each row: whole patients, the rows whose mark is not 0 spread evenly.

    Raises:
        DataError: fewer patients than folds.
    """
    marked = (np.asarray(marks) > 0).astype(np.float64)
    whole = replace(catalog, table=catalog.table.assign(**{"label_marked": marked}))
    return splitting.folds(whole, count).table["part"].to_numpy(object)


def _nested(table: Float) -> float:
    others = (table.sum(axis=1, keepdims=True) - table) / (table.shape[1] - 1)
    return float(table[others.argmax(axis=0), np.arange(table.shape[1])].mean())
