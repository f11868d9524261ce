"""Bootstrap intervals over patients, and comparisons of two models on the same patients.

Images of one patient are alike, so patients are drawn, never images. Knows metrics as functions
only: of row indices, or faster, of how often each row was drawn (`Reweighted`, see
`hilum.evaluate.statistics.reweighted`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hilum.core.errors import ConfigError, DataError
from hilum.evaluate.metrics.curves import checked, placements

Float = NDArray[np.float64]
Int = NDArray[np.int64]

# Replicates a comparison at least: the smallest p value of a bootstrap, 2 / (replicates + 1), must
# survive Holm's factor, or no difference could ever be shown.
FINE = 100


@dataclass(frozen=True, slots=True)
class Reweighted:
    """A metric of how often each row counts.

    `value` takes (n,) counts as float64 and returns a number, NaN where it has no meaning; all
    ones give the metric of the data itself.
    """

    value: Callable[[Float], float]


Metric = Callable[[Int], float] | Reweighted


@dataclass(frozen=True, slots=True)
class Interval:
    """A value and the percentile interval of its bootstrap."""

    value: float
    low: float
    high: float
    level: float
    repeats: int  # replicates in which the metric had a meaning
    patients: int

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"

    def to_json(self) -> dict[str, float | None]:
        """NaN, which JSON lacks, becomes null."""
        return {name: None if v != v else v for name, v in asdict(self).items()}


@dataclass(frozen=True, slots=True)
class Comparison:
    """The difference of two models, first minus second."""

    difference: Interval
    p_value: float  # two-sided

    @property
    def verdict(self) -> str:
        """In words; an interval that holds 0 shows no difference, which is not equality."""
        level = f"{self.difference.level:.0%} interval {self.difference.low:.3f} to "
        level += f"{self.difference.high:.3f}, p = {self.p_value:.3f}"
        if not self.difference.low <= self.difference.high:  # NaN
            return "no difference shown: it could not be estimated"
        if self.difference.low <= 0 <= self.difference.high:
            return f"no difference shown ({level})"
        better = "first" if self.difference.value > 0 else "second"
        return f"the {better} model is higher ({level})"


def bootstrap(
    metric: Metric,
    groups: ArrayLike,
    *,
    repeats: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Percentile interval of a metric over patients drawn with replacement.

    Args:
        metric: of (k,) row indices -> number (a row drawn twice stands twice), or `Reweighted`.
            NaN results, such as an AUC without positives, are left out and counted.
        groups: (n,) patient of each row.
        repeats: number of replicates.
        level: of the interval.
        seed: the same seed gives the same interval.

    Raises:
        DataError: no rows, or rows without patient.
        ConfigError: repeats or level out of range.
    """
    counted = _counted(metric)
    patients, codes = _patients(groups)
    _check_options(repeats, level)
    ones = np.ones(len(codes))
    values = np.array([counted(c) for c in _draws(patients, codes, repeats, seed)])
    return _interval(counted(ones), values, level, patients)


def paired_bootstrap(
    first: Metric,
    second: Metric,
    groups: ArrayLike,
    *,
    repeats: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Comparison:
    """Difference of two metrics over the same draws of patients.

    Returns:
        The interval of first - second, and twice the smaller share of replicates on one side of
        0 (with one added to both, so it is never 0).
    """
    a, b = _counted(first), _counted(second)
    patients, codes = _patients(groups)
    _check_options(repeats, level)
    ones = np.ones(len(codes))
    values = np.array([a(c) - b(c) for c in _draws(patients, codes, repeats, seed)])
    interval = _interval(a(ones) - b(ones), values, level, patients)
    known = values[~np.isnan(values)]
    tail = min((known <= 0).sum(), (known >= 0).sum())
    return Comparison(interval, float(min(2 * (tail + 1) / (len(known) + 1), 1.0)))


def delong(
    y_true: ArrayLike, first: ArrayLike, second: ArrayLike, *, level: float = 0.95
) -> Comparison:
    """Difference of the AUCs of two models on the same cases (DeLong et al. 1988).

    Takes rows as independent: use it for one image a patient, else `paired_bootstrap`.
    """
    truth, a = checked(y_true, first)
    _, b = checked(y_true, second)
    _check_options(1, level)
    if truth.all() or not truth.any():
        raise DataError("DeLong's test needs positives and negatives")
    pa, pb = placements(truth, a), placements(truth, b)
    parts = (pa.positives - pb.positives, pa.negatives - pb.negatives)
    error = float(np.sqrt(sum(d.var(ddof=1) / len(d) for d in parts if len(d) > 1)))
    difference = pa.auc - pb.auc
    normal = NormalDist()
    half = normal.inv_cdf((1 + level) / 2) * error
    if error > 0:
        p_value = 2 * normal.cdf(-abs(difference) / error)
    else:
        p_value = 1.0 if difference == 0 else 0.0
    interval = Interval(
        value=difference,
        low=difference - half,
        high=difference + half,
        level=level,
        repeats=0,
        patients=len(truth),
    )
    return Comparison(interval, p_value)


def holm(p_values: Sequence[float]) -> list[float]:
    """p values corrected for their number (Holm 1979), in the order given."""
    p = np.asarray(p_values, np.float64)
    if p.ndim != 1 or not ((p >= 0) & (p <= 1)).all():
        raise DataError("p values must lie in [0, 1]")
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    out = np.empty(len(p))
    out[order] = np.minimum(stepped, 1.0)
    return [float(value) for value in out]


def _counted(metric: Metric) -> Callable[[Float], float]:
    if isinstance(metric, Reweighted):
        return metric.value

    def by_rows(counts: Float) -> float:
        return float(metric(np.repeat(np.arange(len(counts)), counts.astype(np.int64))))

    return by_rows


def _patients(groups: ArrayLike) -> tuple[int, Int]:
    """Number of patients and (n,) code of each row's patient."""
    raw = np.asarray(groups).reshape(-1)
    if not len(raw):
        raise DataError("no rows to draw from")
    missing = [g is None or g == "" or g != g for g in raw.tolist()]
    if any(missing):
        raise DataError(
            f"{sum(missing)} rows have no patient; needed: one each (a row of its own if unknown)"
        )
    names, codes = np.unique(raw, return_inverse=True)
    return len(names), codes.reshape(-1)


def _draws(patients: int, codes: Int, repeats: int, seed: int) -> Iterator[Float]:
    """For each replicate (n,) how often each row was drawn."""
    rng = np.random.default_rng(seed)
    alone = patients == len(codes)
    for _ in range(repeats):
        drawn = np.bincount(rng.integers(0, patients, patients), minlength=patients)
        yield (drawn if alone else drawn[codes]).astype(np.float64)


def _interval(value: float, values: Float, level: float, patients: int) -> Interval:
    known = values[~np.isnan(values)]
    low, high = (
        np.quantile(known, [(1 - level) / 2, (1 + level) / 2]) if len(known) else (np.nan, np.nan)
    )
    return Interval(
        value=float(value),
        low=float(low),
        high=float(high),
        level=level,
        repeats=len(known),
        patients=patients,
    )


def _check_options(repeats: int, level: float) -> None:
    if repeats < 1 or not 0 < level < 1:
        raise ConfigError(f"repeats {repeats}, level {level}: needed: at least 1, in (0, 1)")
