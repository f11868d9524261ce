"""Variants of a sweep beside the first: over the seeds or folds of their trainings, or where each
ran once, over the patients of the part that all share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pandas as pd
from scipy import stats

from hilum.evaluate.kept_cases import Kept, read_kept, shared
from hilum.evaluate.statistics.bootstrap import (
    FINE,
    Comparison,
    Interval,
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


@dataclass(slots=True)
class ByPatients:
    """Variants that ran once, over the patients of the part; the first one added is the baseline.

    A bootstrap draws the same patients for it and another, among the images that both answered: of
    those is the difference. p values are corrected for the number of variants (Holm). What another
    seed would change is in none of the intervals.
    """

    variants: int  # of the whole sweep
    _first: Kept | None = None
    _own: dict[str, Interval] = field(default_factory=dict)
    _apart: dict[str, Comparison | None] = field(default_factory=dict)  # None: no image in common

    @property
    def _repeats(self) -> int:
        return max(1000, FINE * self.variants)

    def add(self, variant: str, file: Path, measure: Measure) -> None:
        """What a run kept of the part (`evaluate.kept_cases`); nothing, where it has no such file
        or the number is none of images, as a loss is not."""
        kept = read_kept(file) if file.is_file() else None
        if kept is None or measure(kept) is None:
            return
        self._own[variant] = bootstrap(*_measured(kept, measure), repeats=self._repeats)
        if self._first is None:
            self._first = kept
            return
        pair = shared(kept, self._first)
        self._apart[variant] = None
        if len(pair[0]):
            (one, patients), (other, _) = (_measured(part, measure) for part in pair)
            comparison = paired_bootstrap(one, other, patients, repeats=self._repeats)
            self._apart[variant] = comparison

    def table(self, table: pd.DataFrame) -> pd.DataFrame:
        """One of `compare`, with these intervals, differences and verdicts; other rows stay."""
        rows: list[dict[Any, Any]] = table.to_dict("records")
        if str(rows[0]["variant"]) not in self._own:
            return table  # nothing to compare with
        tested = {name: one for name, one in self._apart.items() if one is not None}
        corrected = holm([one.p_value for one in tested.values()])
        p_values = dict(zip(tested, corrected, strict=True))
        for row in rows:
            name = row["variant"]
            if name in self._own:
                row |= {"low": self._own[name].low, "high": self._own[name].high}
            if name in tested:
                row |= _told(tested[name].difference, p_values[name])
            elif name in self._apart:
                row["verdict"] = "not tested: no image in common"
        return pd.DataFrame(rows)


def _told(apart: Interval, p: float) -> dict[str, Any]:
    """A row's difference and verdict."""
    sure = p < 1 - apart.level and (apart.low > 0 or apart.high < 0)
    verdict = ("higher" if apart.value > 0 else "lower") if sure else NO_DIFFERENCE
    if apart.value != apart.value:
        verdict = "not tested: undefined for the images in common"
    out: dict[str, Any] = {"difference": apart.value, "verdict": verdict}
    return out | {"difference_low": apart.low, "difference_high": apart.high}


def _measured(kept: Kept, measure: Measure) -> tuple[Reweighted, np.ndarray]:
    """A number that these have, and the patient of each image."""
    value = measure(kept)
    # Images in common may lack what it needs, as an AUC needs both kinds.
    nothing = Reweighted(lambda counts: float("nan"))
    return value or nothing, kept.rows["patient"].to_numpy()
