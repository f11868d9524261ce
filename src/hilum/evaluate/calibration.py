"""Scores -> probabilities, and thresholds with a guarantee. Fitted on validation data only.

Detectors and classifiers are calibrated before they are fused: raw scores of different models
are not comparable. Calibrators are values that travel as JSON in a bundle.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hilum.core.errors import ConfigError, DataError
from hilum.evaluate.curves import checked
from hilum.evaluate.points import OperatingPoint

Float = NDArray[np.float64]

EDGE = 1e-7  # scores of exactly 0 or 1 have no logit
GOLDEN = (5**0.5 - 1) / 2


@dataclass(frozen=True, slots=True)
class Temperature:
    """Logits divided by one number (Guo et al. 2017); keeps every ranking."""

    temperature: float

    def __post_init__(self) -> None:
        if not 0 < self.temperature < np.inf:
            raise ConfigError(f"temperature {self.temperature}: needed: above 0")

    @classmethod
    def fit(cls, y_true: ArrayLike, y_score: ArrayLike) -> Temperature:
        """The temperature of the lowest log loss, from 1/20 to 20."""
        truth, score = _both_kinds(y_true, y_score)
        logit, sign = _logit(score), np.where(truth, 1.0, -1.0)

        def loss(log_temperature: float) -> float:
            return float(np.logaddexp(0, -sign * logit / np.exp(log_temperature)).mean())

        return cls(float(np.exp(_minimum(loss, -np.log(20), np.log(20)))))

    def apply(self, scores: ArrayLike) -> Float:
        """Calibrated scores of the same shape."""
        out: Float = 1 / (1 + np.exp(-_logit(_scores(scores)) / self.temperature))
        return out

    def to_json(self) -> dict[str, Any]:
        return {"kind": "temperature", "temperature": self.temperature}


@dataclass(frozen=True, slots=True)
class Isotonic:
    """A rising step-wise line through knots; needs more cases than a temperature."""

    scores: tuple[float, ...]  # rising
    probabilities: tuple[float, ...]  # not falling, in [0, 1]

    def __post_init__(self) -> None:
        s, p = np.asarray(self.scores), np.asarray(self.probabilities)
        rising = len(s) > 0 and (np.diff(s) > 0).all()
        proper = len(s) == len(p) and (np.diff(p) >= 0).all()
        if not (rising and proper and p[0] >= 0 and p[-1] <= 1):
            raise ConfigError("isotonic knots must rise and stay in [0, 1]")

    @classmethod
    def fit(cls, y_true: ArrayLike, y_score: ArrayLike) -> Isotonic:
        """Pool adjacent violators: the rising function of the least squared error."""
        truth, score = _both_kinds(y_true, y_score)
        knots, place = np.unique(score, return_inverse=True)
        weight = np.bincount(place).astype(np.float64)
        values = np.bincount(place, truth) / weight
        level = _pool_adjacent(values, weight)
        # Inside a flat stretch only its ends matter.
        ends = np.append(True, np.diff(level) != 0) | np.append(np.diff(level) != 0, True)
        return cls(tuple(knots[ends].tolist()), tuple(level[ends].tolist()))

    def apply(self, scores: ArrayLike) -> Float:
        """Calibrated scores of the same shape, flat beyond the first and last knot."""
        return np.interp(_scores(scores), self.scores, self.probabilities)

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": "isotonic",
            "scores": list(self.scores),
            "probabilities": list(self.probabilities),
        }


Calibrator = Temperature | Isotonic


def calibrator_from_json(value: Mapping[str, Any]) -> Calibrator:
    """The inverse of `to_json`."""
    if value.get("kind") == "temperature":
        return Temperature(float(value["temperature"]))
    if value.get("kind") == "isotonic":
        return Isotonic(tuple(value["scores"]), tuple(value["probabilities"]))
    raise ConfigError(f"unknown calibration {value.get('kind')!r}; known: temperature, isotonic")


def conformal_sensitivity(
    positive_scores: ArrayLike, least: float = 0.95, *, patients: ArrayLike | None = None
) -> OperatingPoint:
    """A threshold that finds a new positive with probability >= `least` (split conformal).

    The guarantee holds on average over validation sets, for any model, if the new patient is
    exchangeable with those of the validation set: same hospital mix, devices and prevalence of
    kinds. It says nothing of false positives, nor of another hospital.

    Args:
        positive_scores: (n,) scores of true positives only.
        patients: (n,) of each score; a patient counts once, with the lowest score.

    Raises:
        DataError: too few patients for the guarantee: n >= least / (1 - least) are needed.
    """
    scores = _scores(positive_scores).reshape(-1)
    if not 0 < least < 1:
        raise ConfigError(f"target {least}: needed: a share in (0, 1)")
    if patients is not None:
        scores = _lowest_of_each(scores, np.asarray(patients).reshape(-1))
    rank = int(np.floor((len(scores) + 1) * (1 - least) + 1e-9))
    if rank < 1:
        needed = int(np.ceil(least / (1 - least) - 1e-9))
        raise DataError(f"{len(scores)} positive patients; {least:g} needs at least {needed}")
    threshold = float(np.sort(scores)[rank - 1])
    aim = f"conformal: finds a new positive with probability >= {least:g}, if exchangeable"
    achieved = {"sensitivity": float((scores >= threshold).mean()), "positives": len(scores)}
    return OperatingPoint(threshold, aim, achieved)


def _lowest_of_each(scores: Float, patients: NDArray[Any]) -> Float:
    if len(patients) != len(scores):
        raise DataError(f"{len(scores)} scores came with {len(patients)} patients")
    names, codes = np.unique(patients, return_inverse=True)
    lowest = np.ones(len(names))
    np.minimum.at(lowest, codes.reshape(-1), scores)
    return lowest


def _pool_adjacent(values: Float, weight: Float) -> Float:
    """Means of the blocks that make `values` rise."""
    means: list[float] = []
    weights: list[float] = []
    sizes: list[int] = []
    for value, w in zip(values.tolist(), weight.tolist(), strict=True):
        means.append(value)
        weights.append(w)
        sizes.append(1)
        while len(means) > 1 and means[-2] >= means[-1]:
            m, v, n = means.pop(), weights.pop(), sizes.pop()
            means[-1] = (means[-1] * weights[-1] + m * v) / (weights[-1] + v)
            weights[-1] += v
            sizes[-1] += n
    return np.repeat(means, sizes)


def _minimum(loss: Any, low: float, high: float) -> float:
    """Golden section search of a function with one valley."""
    a, b = low, high
    c, d = b - GOLDEN * (b - a), a + GOLDEN * (b - a)
    at_c, at_d = loss(c), loss(d)
    for _ in range(60):
        if at_c < at_d:
            b, d, at_d = d, c, at_c
            c = b - GOLDEN * (b - a)
            at_c = loss(c)
        else:
            a, c, at_c = c, d, at_d
            d = a + GOLDEN * (b - a)
            at_d = loss(d)
    return (a + b) / 2


def _logit(scores: Float) -> Float:
    s = np.clip(scores, EDGE, 1 - EDGE)
    out: Float = np.log(s / (1 - s))
    return out


def _scores(scores: ArrayLike) -> Float:
    s = np.asarray(scores, np.float64)
    if s.size and not (s.min() >= 0 and s.max() <= 1):
        raise DataError("scores must lie in [0, 1] and not be NaN")
    return s


def _both_kinds(y_true: ArrayLike, y_score: ArrayLike) -> tuple[NDArray[np.bool_], Float]:
    truth, score = checked(y_true, y_score)
    if truth.all() or not truth.any():
        raise DataError("calibration needs positives and negatives")
    return truth, score
