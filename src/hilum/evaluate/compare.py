"""Several models on the same images: paired differences, corrected for their number.

A difference that is not shown is not equality; the verdict says so in words. Knows no file and
draws nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from hilum.core.errors import ConfigError, DataError
from hilum.core.options import unknown
from hilum.evaluate.cases import Cases
from hilum.evaluate.finding_metrics import FindingMetric, Thresholds, finding_metrics
from hilum.evaluate.statistics.bootstrap import FINE, Comparison, delong, holm, paired_bootstrap

COMPARED = (
    *("auc", "sensitivity", "specificity", "rsna_score", "ap50", "fp_per_normal_image"),
    "dice",
)


@dataclass(frozen=True, slots=True)
class Compared:
    """One number of two models, first minus second."""

    metric: str
    first: str
    second: str
    test: str  # how it was compared
    comparison: Comparison
    corrected: float  # p value after Holm's correction over all comparisons made

    @property
    def shown(self) -> bool:
        """Whether a difference is shown: after correction, and by its own interval."""
        d = self.comparison.difference
        return self.corrected < 1 - d.level and not d.low <= 0 <= d.high

    @property
    def verdict(self) -> str:
        d = self.comparison.difference
        if not d.low <= d.high:  # NaN
            return "no difference shown: it could not be estimated"
        if not self.shown:
            return "no difference shown"
        return f"higher for {self.first if d.value > 0 else self.second}"

    def to_json(self) -> dict[str, Any]:
        d, p = self.comparison.difference, self.comparison.p_value
        values = {"difference": d.value, "low": d.low, "high": d.high, "p_value": p}
        return {
            **{"metric": self.metric, "first": self.first, "second": self.second},
            **{name: None if v != v else v for name, v in values.items()},
            **{"p_holm": self.corrected, "test": self.test, "verdict": self.verdict},
        }


def answered_by_all(models: Sequence[Cases]) -> list[Cases]:
    """Each model's cases of the images that all of them answered.

    Raises:
        DataError: there is no such image.
    """
    ids = [model.rows["image_id"].to_numpy() for model in models]
    shared = reduce(np.intersect1d, ids)
    if not len(shared):
        raise DataError(f"{len(models)} models have no answered image in common")
    return [model.where(np.isin(own, shared)) for model, own in zip(models, ids, strict=True)]


def compare(
    models: Mapping[str, Cases],
    thresholds: Sequence[float | Thresholds],
    *,
    metrics: Sequence[str] = (),
    masks: Mapping[str, Mapping[str, FindingMetric]] | None = None,
    repeats: int = 1000,
    seed: int = 0,
) -> tuple[Compared, ...]:
    """All pairs of models, number by number.

    AUCs are compared by DeLong's test where each patient has one image, everything else by a
    bootstrap that draws the same patients for both.

    Args:
        models: cases by name, of the same images in the same order (see `answered_by_all`).
        thresholds: operating point of each model.
        metrics: names of the numbers that are compared; () is `COMPARED`. The fewer were named
            beforehand, the less their number costs.
        masks: numbers of masks of each model, on the same images.
        repeats: replicates; more are drawn where the number of comparisons asks for it.

    Raises:
        ConfigError: a named number that these models do not have.
        DataError: different images.
    """
    first_ids = next(iter(models.values())).rows["image_id"].tolist() if models else []
    if any(cases.rows["image_id"].tolist() != first_ids for cases in models.values()):
        raise DataError("models are compared on the same images only; see `answered_by_all`")
    own = [
        _Model(name, cases, {**finding_metrics(cases, threshold), **(masks or {}).get(name, {})})
        for (name, cases), threshold in zip(models.items(), thresholds, strict=True)
    ]
    for metric in metrics:
        for one in own:
            if metric not in one.known:
                text = unknown("number", metric, one.known)
                raise ConfigError(f"to compare, model {one.name!r}: {text}")
    pairs = [
        (metric, a, b)
        for a, b in combinations(own, 2)
        for metric in metrics or COMPARED
        if metric in a.known and metric in b.known
    ]
    repeats = max(repeats, FINE * len(pairs))
    comparisons = [_pair(metric, a, b, repeats=repeats, seed=seed) for metric, a, b in pairs]
    corrected = holm([pair.comparison.p_value for pair in comparisons])
    return tuple(replace(pair, corrected=p) for pair, p in zip(comparisons, corrected, strict=True))


class _Model(NamedTuple):
    name: str
    cases: Cases
    known: dict[str, FindingMetric]


def _pair(metric: str, a: _Model, b: _Model, *, repeats: int, seed: int) -> Compared:
    one, two = a.known[metric], b.known[metric]
    rows = one.rows
    patients = a.cases.rows["patient"].to_numpy()[rows]
    if metric == "auc" and len(set(patients)) == len(patients):
        test = "DeLong"
        comparison = delong(a.cases.label[rows] == 1, a.cases.score[rows], b.cases.score[rows])
    else:
        test = "paired bootstrap"
        comparison = paired_bootstrap(one.metric, two.metric, patients, repeats=repeats, seed=seed)
    return Compared(
        metric=metric,
        first=a.name,
        second=b.name,
        test=test,
        comparison=comparison,
        corrected=1.0,
    )
