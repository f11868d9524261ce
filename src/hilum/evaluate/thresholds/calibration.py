"""Scores -> probabilities, and thresholds with a guarantee. Fitted on validation data only.

Detectors and classifiers are calibrated before they are fused: raw scores of different models
are not comparable. The maps are values of `hilum.core.calibration` that travel in a bundle.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize
from scipy.special import logsumexp

from hilum.core.calibration import (
    LEAST_SLOPE,
    Isotonic,
    Logistic,
    ScoreMap,
    Temperature,
    checked_scores,
    logits,
)
from hilum.core.errors import ConfigError, DataError, GeometryError
from hilum.core.geometry import iou_matrix
from hilum.core.manifest import OperatingPoint
from hilum.evaluate.metrics.boxes import Predictions, Truth, box_table
from hilum.evaluate.metrics.curves import checked
from hilum.evaluate.metrics.matching import TRUE, match

Float = NDArray[np.float64]

COLDEST = 20.0  # temperatures from its inverse to itself are tried
NOT_RISING = "scores do not rise with the truth: there is nothing to calibrate"
GOLDEN = (5**0.5 - 1) / 2
EXCHANGEABLE = (
    "The new patient is exchangeable with those the threshold was chosen on: the same kind of "
    "hospital, devices and mix of patients. It holds on average over such choices, not for each "
    "of them, and says nothing of another hospital"
)


def fit_temperature(y_true: ArrayLike, y_score: ArrayLike) -> Temperature:
    """The temperature of the lowest log loss, from 1/20 to 20.

    Raises:
        DataError: scores outside [0, 1], unequal lengths, one kind of case only, or scores that
            do not rise with the truth.
    """
    truth, score = _both_kinds(y_true, y_score)
    logit, sign = logits(score), np.where(truth, 1.0, -1.0)

    def loss(log_temperature: float) -> float:
        return float(np.logaddexp(0, -sign * logit / np.exp(log_temperature)).mean())

    temperature = float(np.exp(_minimum(loss, -np.log(COLDEST), np.log(COLDEST))))
    if temperature > 0.99 * COLDEST:  # the flattest map there is
        raise DataError(NOT_RISING)
    return Temperature(temperature=temperature)


def fit_logistic(y_true: ArrayLike, y_score: ArrayLike) -> Logistic:
    """Slope and shift of the lowest log loss against Platt's smoothed truths.

    Raises:
        DataError: as `fit_temperature`, or scores that do not rise with the truth.
    """
    truth, score = _both_kinds(y_true, y_score)
    positives, negatives = int(truth.sum()), int((~truth).sum())
    target = np.where(truth, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    x = np.stack([logits(score), np.ones(len(score))], axis=1)
    w = np.array([1.0, 0.0])
    for _ in range(100):
        p = 1 / (1 + np.exp(-np.clip(x @ w, -30, 30)))
        curvature = (x * (p * (1 - p))[:, None]).T @ x + 1e-9 * np.eye(2)
        step = np.linalg.solve(curvature, x.T @ (target - p))
        longest = float(np.abs(step).max())
        w = w + step * (2.0 / longest if longest > 2.0 else 1.0)  # no leaps far from the valley
        if longest < 1e-10:
            break
    if not w[0] >= LEAST_SLOPE:
        raise DataError(NOT_RISING)
    return Logistic(slope=float(w[0]), shift=float(w[1]))


def fit_isotonic(y_true: ArrayLike, y_score: ArrayLike) -> Isotonic:
    """Pool adjacent violators: the rising function of the least squared error.

    Raises:
        DataError: as `fit_temperature`.
    """
    truth, score = _both_kinds(y_true, y_score)
    knots, place = np.unique(score, return_inverse=True)
    weight = np.bincount(place).astype(np.float64)
    values = np.bincount(place, truth) / weight
    level = np.clip(_pool_adjacent(values, weight), 0, 1)
    if level[0] == level[-1]:
        raise DataError(NOT_RISING)
    # Inside a flat stretch only its ends matter.
    ends = np.append(True, np.diff(level) != 0) | np.append(np.diff(level) != 0, True)
    return Isotonic(scores=tuple(knots[ends].tolist()), probabilities=tuple(level[ends].tolist()))


def fit_exclusive(logits_NC: ArrayLike, labels_NC: ArrayLike) -> tuple[float, tuple[float, ...]]:
    """(temperature, bias of each class) of the lowest log loss, where classes exclude one another.

    One temperature for all leaves the likeliest class the likeliest and the classes a sum of 1,
    where a map of each class by itself would change both. Biases are taken where they lower the
    loss by more than their number costs (Bayesian information criterion); otherwise there are none.

    Args:
        logits_NC: the network's.
        labels_NC: 1, 0 or NaN (unknown). A case counts by the classes that it leaves possible, as
            in training (`partial_class_loss`); one that rules out all or none says nothing.

    Raises:
        DataError: no case says anything, shapes differ, or logits do not rise with the truth.
    """
    x, y = np.asarray(logits_NC, np.float64), np.asarray(labels_NC, np.float64)
    if x.ndim != 2 or x.shape != y.shape:
        raise DataError(f"logits {x.shape} and labels {y.shape}; needed: both (N, C)")
    possible = np.where((y == 1).any(axis=1, keepdims=True), y == 1, y != 0)
    rows = possible.any(axis=1) & ~possible.all(axis=1)
    if not rows.any():
        raise DataError("calibration needs cases whose class is known")
    x, possible = x[rows], possible[rows]

    def loss(values: Float) -> float:
        """Of a slope, the inverse of the temperature, and the biases after the first class."""
        scaled = x * values[0] + np.concatenate([[0.0], values[1:] if len(values) > 1 else free])
        allowed = logsumexp(np.where(possible, scaled, -np.inf), axis=1)
        return float((logsumexp(scaled, axis=1) - allowed).sum())

    free = np.zeros(x.shape[1] - 1)
    slopes = (1 / COLDEST, COLDEST)
    alone = minimize(loss, [1.0], bounds=[slopes])
    biased = minimize(loss, [1.0, *free], bounds=[slopes, *[(-COLDEST, COLDEST)] * len(free)])
    pays = alone.fun - biased.fun > len(free) * np.log(len(x)) / 2
    best = biased.x if pays else alone.x
    if best[0] < 1.01 / COLDEST:
        raise DataError(NOT_RISING)
    shifts = np.concatenate([[0.0], best[1:]])
    return float(1 / best[0]), tuple((shifts - shifts.mean()).tolist()) if pays else ()


FITS: dict[str, Callable[[ArrayLike, ArrayLike], ScoreMap]] = {
    "temperature": fit_temperature,
    "logistic": fit_logistic,
    "isotonic": fit_isotonic,
}


def box_hits(truth: Truth, predictions: Predictions, *, iou: float = 0.5) -> tuple[Any, Float]:
    """(n,) whether each predicted box finds a true one, and (n,) its score: what boxes are
    calibrated on. A second box on a found truth is a miss."""
    matches = match(box_table(truth, predictions), np.array([iou]))
    return matches.verdict[0, 0] == TRUE, matches.scores


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
    scores = checked_scores(positive_scores).reshape(-1)
    if not 0 < least < 1:
        raise ConfigError(f"target {least}: needed: a share in (0, 1)")
    if patients is not None:
        scores = _lowest_of_each(scores, np.asarray(patients).reshape(-1))
    rank = int(np.floor((len(scores) + 1) * (1 - least) + 1e-9))
    if rank < 1:
        needed = int(np.ceil(least / (1 - least) - 1e-9))
        raise DataError(f"{len(scores)} positive patients; {least:g} needs at least {needed}")
    threshold = float(np.sort(scores)[rank - 1])
    return OperatingPoint(
        threshold=threshold,
        reason=f"finds a new positive with probability >= {least:g} (conformal)",
        score="image",
        achieved={"sensitivity": float((scores >= threshold).mean()), "positives": len(scores)},
        assumes=EXCHANGEABLE,
    )


def conformal_risk(
    losses: ArrayLike,
    thresholds: ArrayLike,
    most: float,
    *,
    bound: float = 1.0,
    risk: str = "expected loss",
) -> OperatingPoint:
    """The highest threshold whose expected loss of a new patient is <= `most` (conformal risk
    control, Angelopoulos et al. 2022).

    Args:
        losses: (n, k) loss of each patient at each threshold, in [0, bound]; it must not fall
            when the threshold rises.
        thresholds: (k,) rising.
        most: the allowed expected loss.
        risk: what the loss is, in words.

    Raises:
        GeometryError: shapes that do not fit.
        DataError: losses that fall, leave [0, bound], or too many even at the lowest threshold.
    """
    loss, at = np.asarray(losses, np.float64), np.asarray(thresholds, np.float64).reshape(-1)
    if loss.ndim != 2 or loss.shape[1] != len(at) or not loss.size:
        raise GeometryError(f"losses are {loss.shape} for {len(at)} thresholds; needed: (n, k)")
    if not (loss.min() >= 0 and loss.max() <= bound) or (np.diff(loss, axis=1) < 0).any():
        raise DataError(f"losses must lie in [0, {bound:g}] and not fall with the threshold")
    if (np.diff(at) <= 0).any():
        raise DataError("thresholds must rise")
    n = len(loss)
    allowed = (loss.sum(axis=0) + bound) / (n + 1) <= most + 1e-12
    if not allowed[0]:
        least = (
            f"at least {int(np.ceil(bound / most - 1e-9)) - 1}" if most > 0 else "endlessly many"
        )
        raise DataError(
            f"{n} patients: no threshold keeps the {risk} of a new one at or under {most:g}; "
            f"needed: {least} patients even without a single error, or a higher target"
        )
    k = int(allowed.sum()) - 1
    return OperatingPoint(
        threshold=float(at[k]),
        reason=f"{risk} of a new patient <= {most:g} (conformal)",
        achieved={"risk": float(loss[:, k].mean()), "patients": n},
        assumes=EXCHANGEABLE,
    )


def conformal_missed_boxes(
    truth: Truth,
    predictions: Predictions,
    most: float = 0.1,
    *,
    patients: ArrayLike | None = None,
    iou: float = 0.5,
) -> OperatingPoint:
    """The highest box threshold that misses, on average over new patients with a finding, at
    most this share of a patient's true boxes.

    Args:
        patients: (n,) of each image, None = one image each. Patients without a true box say
            nothing here and are left out.

    Raises:
        DataError: too few patients, or boxes that no threshold finds.
    """
    table = box_table(truth, predictions)
    names = np.arange(len(table)) if patients is None else np.asarray(patients).reshape(-1)
    if len(names) != len(table):
        raise DataError(f"{len(table)} images came with {len(names)} patients")
    best = _best_hits(truth, predictions, iou)
    owner = np.unique(np.repeat(names, table.truths_per_image), return_inverse=True)[1]
    if not len(best):
        raise DataError("no true box: there is nothing to miss")
    at = np.unique(np.append(0.0, best))
    missed = best[:, None] < at[None, :]
    count = np.bincount(owner).astype(np.float64)
    losses = np.stack([np.bincount(owner, column) / count for column in missed.T], axis=1)
    return conformal_risk(losses, at, most, risk="share of missed boxes")


def _best_hits(truth: Truth, predictions: Predictions, iou: float) -> Float:
    """(t,) for each true box the highest score of a box on it, -1 where none is."""
    out = []
    for true, (boxes, scores) in zip(truth, predictions, strict=True):
        if not len(np.asarray(true)):
            continue
        on = iou_matrix(true, boxes) >= iou
        values = np.where(on, np.asarray(scores, np.float64)[None, :], -1.0)
        out.append(values.max(axis=1, initial=-1.0))
    return np.concatenate([np.zeros(0), *out])


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


def _minimum(loss: Callable[[float], float], low: float, high: float) -> float:
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


def _both_kinds(y_true: ArrayLike, y_score: ArrayLike) -> tuple[NDArray[np.bool_], Float]:
    truth, score = checked(y_true, y_score)
    if truth.all() or not truth.any():
        raise DataError("calibration needs positives and negatives")
    return truth, score
