"""Exclusive classes, of images or of studies: which of K is it. Every class is once the positive.

Classes are exclusive where each case has exactly one of them, as the four appearances of a study
(negative, typical, indeterminate, atypical) or normal, not normal and opacity.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hilum.evaluate.finding_metrics import ap_of_scores
from hilum.evaluate.metrics.classification import multiclass
from hilum.evaluate.statistics.bootstrap import Interval, Reweighted, bootstrap

Float = NDArray[np.float64]
Int = NDArray[np.int64]
FEWEST = 3  # two classes are one finding and its absence


@dataclass(frozen=True, slots=True, eq=False)
class ClassCases:
    """Cases of exactly one class, with a score of every class."""

    classes: tuple[str, ...]
    patients: NDArray[Any]  # (n,)
    truth: Int  # (n,) index of the class
    scores: Float  # (n, K)
    left_out: int  # cases whose class or scores are not known

    @property
    def matrix(self) -> Int:
        """(K, K) counts; rows are the truth, columns the class of the highest score."""
        return self.weighted(np.ones(len(self.truth))).astype(np.int64)

    def weighted(self, counts: Float) -> Float:
        k = len(self.classes)
        flat = self.truth * k + self.scores.argmax(axis=1)
        out: Float = np.bincount(flat, counts, k * k).astype(np.float64).reshape(k, k)
        return out


@dataclass(frozen=True, slots=True, eq=False)
class ClassEvaluation:
    """Numbers over exclusive classes."""

    level: str  # "image" or "study"
    classes: tuple[str, ...]
    cases: int
    left_out: int
    matrix: Int  # (K, K) rows are the truth
    numbers: dict[str, Interval]  # class_accuracy, class_precision, ...

    def to_json(self) -> dict[str, Any]:
        return {
            **{"level": self.level, "classes": list(self.classes), "cases": self.cases},
            **{"left_out": self.left_out, "confusion": self.matrix.tolist()},
            "numbers": {name: value.to_json() for name, value in self.numbers.items()},
        }


def class_cases(
    labels: Mapping[str, Float],
    scores: Mapping[str, Float],
    patients: Sequence[Any],
    classes: Sequence[str] = (),
) -> ClassCases | None:
    """Cases of exclusive classes; None where the labels are not of that kind.

    Args:
        labels: name -> (n,) 1, 0 or NaN.
        scores: name -> (n,) or NaN where the model gives none.
        classes: in their order; () takes all names that have labels and scores, if every known
            case has exactly one of them.
    """
    names = tuple(classes) or tuple(name for name in labels if name in scores)
    if len(names) < (2 if classes else FEWEST) or not {*names} <= {*labels} & {*scores}:
        return None
    truth = np.stack([labels[name] for name in names], axis=1)
    score = np.stack([scores[name] for name in names], axis=1)
    known = ~np.isnan(truth).any(axis=1)
    one = known & (np.nansum(truth, axis=1) == 1)
    if not one.any() or (not classes and (one != known).any()):
        return None
    rows = one & ~np.isnan(score).any(axis=1)
    if not rows.any():
        return None
    return ClassCases(
        classes=names,
        patients=np.asarray(patients)[rows],
        truth=truth[rows].argmax(axis=1),
        scores=score[rows],
        left_out=int((~rows).sum()),
    )


def class_numbers(cases: ClassCases) -> dict[str, Reweighted]:
    """Accuracy, macro precision, recall, F1, and mean average precision of scores and of calls."""

    def of_matrix(name: str) -> Reweighted:
        return Reweighted(lambda counts: multiclass(cases.weighted(counts))[name])

    out = {f"class_{n}": of_matrix(n) for n in ("accuracy", "precision", "recall", "f1")}
    each = [ap_of_scores(cases.truth == k, cases.scores[:, k]) for k in range(len(cases.classes))]

    def mean_ap(counts: Float) -> float:
        values = np.array([one.value(counts) for one in each])
        known = values[~np.isnan(values)]
        return float(known.mean()) if len(known) else float("nan")

    return {**out, "class_map": Reweighted(mean_ap), "class_map_hard": of_matrix("map")}


def evaluate_classes(
    cases: ClassCases, level: str, *, repeats: int = 1000, seed: int = 0
) -> ClassEvaluation:
    """The numbers with intervals over patients."""
    return ClassEvaluation(
        level=level,
        classes=cases.classes,
        cases=len(cases.truth),
        left_out=cases.left_out,
        matrix=cases.matrix,
        numbers={
            name: bootstrap(metric, cases.patients, repeats=repeats, seed=seed)
            for name, metric in class_numbers(cases).items()
        },
    )
