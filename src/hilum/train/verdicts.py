"""Variants of a sweep beside the first: over the seeds or folds of their trainings, or where each
ran once, over the patients of the part that all share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pandas as pd
from scipy import stats

from hilum.evaluate.kept_cases import Kept, read_kept, shared
from hilum.evaluate.statistics.bootstrap import (
    FINE,
    Comparison,
    Reweighted,
    bootstrap,
    holm,
    paired_bootstrap,
)

NO_DIFFERENCE = "no difference shown"


def compare(runs: pd.DataFrame, metric: str, level: float = 0.95) -> pd.DataFrame:
    """Per variant the mean over its runs with Student's interval, and the paired difference to the
    first.

    Columns: variant, runs, value, low, high, difference, difference_low, difference_high, verdict.
    With one run a variant there is no interval, and nothing is tested. Runs on folds share
    training images, so their interval is too narrow (Nadeau and Bengio 2003).
    """
    first = str(runs["variant"].iloc[0])
    base = runs[runs["variant"] == first].set_index("repeat")[metric]
    rows = []
    for variant in runs["variant"].unique():
        own = runs[runs["variant"] == variant].set_index("repeat")[metric]
        paired = (own - base).dropna().to_numpy(float)
        mean = _interval(own.dropna().to_numpy(float), level)
        row = {"variant": variant, "runs": len(own), **mean._asdict()}
        if variant != first:
            apart = _interval(paired, level)
            sure = apart.low > 0 or apart.high < 0
            row |= {"difference": apart.value}
            row |= {"difference_low": apart.low, "difference_high": apart.high}
            higher = "higher" if apart.value > 0 else "lower"
            row["verdict"] = higher if sure else NO_DIFFERENCE
            if not len(paired):
                row["verdict"] = f"has no {metric}"
            elif len(paired) == 1:
                row["verdict"] = "not tested: one run"
        rows.append(row)
    return pd.DataFrame(rows)


class _Mean(NamedTuple):
    value: float
    low: float
    high: float


def _interval(values: np.ndarray, level: float) -> _Mean:
    mean = float(values.mean()) if len(values) else float("nan")
    if len(values) < 2:
        return _Mean(value=mean, low=float("nan"), high=float("nan"))
    half = float(stats.t.ppf(0.5 + level / 2, len(values) - 1) * stats.sem(values))
    return _Mean(value=mean, low=mean - half, high=mean + half)


Measure: TypeAlias = Callable[[Kept], Reweighted | None]  # a number of how often an image counts


def compare_by_patients(
    table: pd.DataFrame, measure: Measure, files: Mapping[str, Path], *, repeats: int = 1000
) -> pd.DataFrame:
    """A table of `compare` of one run a variant, with intervals over the patients of the part.

    A bootstrap draws the same patients for the first and the other, among the images that both
    answered: of those is the difference. p values are corrected for the number of variants (Holm).
    What another seed would change is in none of the intervals. A variant whose answers were not
    kept stays as it was, and so do all where the number is none of images, as a loss is not.

    Args:
        files: variant -> what its run kept of the part (`evaluate.kept_cases`).
    """
    read = {name: read_kept(file) for name, file in files.items() if file.is_file()}
    known = {name: one for name, one in read.items() if measure(one) is not None}
    first = str(table["variant"].iloc[0])
    repeats = max(repeats, FINE * len(table))
    rows: list[dict[Any, Any]] = table.to_dict("records")
    compared: dict[str, Comparison] = {}
    for row in rows:
        name = row["variant"]
        if name not in known:
            continue
        own = bootstrap(*_measured(known[name], measure), repeats=repeats)
        row |= {"low": own.low, "high": own.high}
        if name != first and first in known:
            pair = shared(known[name], known[first])
            if not len(pair[0]):
                row["verdict"] = "not tested: no image in common"
                continue
            (one, patients), (other, _) = (_measured(kept, measure) for kept in pair)
            compared[name] = paired_bootstrap(one, other, patients, repeats=repeats)
    corrected = holm([one.p_value for one in compared.values()])
    for name, p in zip(compared, corrected, strict=True):
        apart = compared[name].difference
        row = next(one for one in rows if one["variant"] == name)
        row |= {"difference": apart.value}
        row |= {"difference_low": apart.low, "difference_high": apart.high}
        sure = p < 1 - apart.level and (apart.low > 0 or apart.high < 0)
        row["verdict"] = ("higher" if apart.value > 0 else "lower") if sure else NO_DIFFERENCE
        if apart.value != apart.value:
            row["verdict"] = "not tested: undefined for the images in common"
    return pd.DataFrame(rows)


def _measured(kept: Kept, measure: Measure) -> tuple[Reweighted, np.ndarray]:
    """A number that these have, and the patient of each image."""
    value = measure(kept)
    # Images in common may lack what it needs, as an AUC needs both kinds.
    nothing = Reweighted(lambda counts: float("nan"))
    return value or nothing, kept.rows["patient"].to_numpy()
