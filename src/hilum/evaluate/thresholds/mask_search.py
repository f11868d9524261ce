"""Numbers of a pipeline's masks (a cut, a triplet, a size), chosen on validation folds only.

Knows no pipeline: the caller brings the masks of every combination of options.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import product
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from hilum.core.errors import ConfigError, DataError, InputRefused
from hilum.core.options import unknown
from hilum.data.catalog import Catalog
from hilum.data.frames import resized
from hilum.evaluate.metrics.masks import overlaps
from hilum.evaluate.thresholds.search import Searched, patient_folds, search
from hilum.evaluate.truth import truths_of

Bool = NDArray[np.bool_]
Metric = Literal["dice", "dice_positive", "iou", "f2_mask"]
Masks = Callable[[str], Iterable[Bool]]  # of a catalog's path: one of each combination, in order

# What is tried of each stage of masks, by its name in pipelines. Sizes are px at the stage's `at`.
GRIDS: dict[str, dict[str, Sequence[Any]]] = {
    "threshold": {"at": (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)},
    "triplet": {
        "top": (0.5, 0.6, 0.7, 0.8, 0.9),
        "min_pixels": (0, 500, 2000),
        "bottom": (0.1, 0.2, 0.3, 0.4, 0.5),
    },
    "remove-small": {"pixels": (0, 1000, 2000, 3500, 6000)},
}


def combinations(grid: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """All of them, in the order in which `searched` wants their masks."""
    return [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]


def searched(
    part: Catalog,
    masks: Masks,
    grid: Mapping[str, Sequence[Any]],
    *,
    finding: str,
    metric: str = "dice",
    folds: int = 5,
    advance: Callable[[], None] = lambda: None,
) -> tuple[Searched, dict[str, Any]]:
    """The best options and the document that says how they were found.

    Args:
        part: the validation images; those whose mask of the finding nobody knows are left out.
        masks: may raise InputRefused: the image is left out, and counted.
        metric: a mean over images; `dice_positive` over those that have the finding.

    Raises:
        ConfigError: an unknown metric, or nothing to try.
        DataError: no image with a known mask, too few patients, or a fold without a number.
    """
    if metric not in get_args(Metric):
        raise ConfigError(unknown("metric of masks", metric, get_args(Metric)))
    tried = [repr(one) for one in combinations(grid)]
    truths = truths_of(part)
    refused: dict[str, str] = {}
    rows, marks, columns = [], [], []
    for row, truth in enumerate(truths):
        advance()
        if finding not in truth.masks:
            continue
        try:
            made = iter(masks(str(part.table["path"].iat[row])))
            first = next(made)
        except InputRefused as error:
            refused[truth.image_id] = str(error)
            continue
        height, width = (truth.height, truth.width) if truth.size.known else first.shape
        true = truth.masks[finding](height, width)
        each = (resized(mask, height, width) for mask in (first, *made))
        columns.append([overlaps(true, mask)[metric] for mask in each])
        marks.append(float(true.any()))
        rows.append(row)
    if not rows:
        raise DataError(
            f"catalog {part.name!r}: none of {len(part)} images has a known mask {finding!r} and "
            "an answer; a search needs some"
        )
    table = np.array(columns, np.float64).T  # (tried, images)

    def score(options: Mapping[str, Any], some: NDArray[np.int64]) -> float:
        values = table[tried.index(repr(dict(options)))][some]
        known = values[~np.isnan(values)]
        return float(known.mean()) if len(known) else float("nan")

    keep = np.isin(np.arange(len(part)), rows)
    result = search(score, grid, patient_folds(part.where(keep), marks, folds))
    question = {"finding": finding, "metric": metric, "catalog": part.name, "folds": folds}
    counts = {"images": len(rows), "with_finding": int(sum(marks)), "refused": refused}
    return result, question | counts | result.to_json()
