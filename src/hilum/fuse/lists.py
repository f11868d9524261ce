"""Checks the boxes of several models and pools them. Knows no way of fusing them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hilum.core.errors import ConfigError, GeometryError
from hilum.core.geometry import check_boxes

Float = NDArray[np.float64]
Int = NDArray[np.int64]


class Fused(NamedTuple):
    """The boxes that a fusion leaves, in the unit of those it was given."""

    boxes: Float  # (n, 4)
    scores: Float  # (n,)
    labels: NDArray[Any]  # (n,)


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """All boxes of all models in one list, in the order they came."""

    boxes: Float  # (n, 4) x1, y1, x2, y2 in any unit
    scores: Float  # (n,) in [0, 1]
    labels: NDArray[Any]  # (n,)
    models: Int  # (n,) index of the model
    weights: Float  # (models,)

    def __len__(self) -> int:
        return len(self.scores)

    def at(self, keep: NDArray[Any]) -> Pool:
        """The boxes of a mask or of indices."""
        return Pool(
            boxes=self.boxes[keep],
            scores=self.scores[keep],
            labels=self.labels[keep],
            models=self.models[keep],
            weights=self.weights,
        )

    def with_area(self) -> Pool:
        """Without boxes of zero area, which overlap nothing."""
        sides = self.boxes[:, 2:] - self.boxes[:, :2]
        return self.at(np.flatnonzero((sides > 0).all(axis=1)))

    def by_label(self) -> Iterator[Pool]:
        """One pool for each label, in the order in which labels first appear."""
        values, first, codes = np.unique(self.labels, return_index=True, return_inverse=True)
        for code in np.argsort(first):
            yield self if len(values) == 1 else self.at(codes.reshape(-1) == code)


def pool(
    boxes: Sequence[ArrayLike],
    scores: Sequence[ArrayLike],
    labels: Sequence[ArrayLike],
    weights: ArrayLike | None = None,
) -> Pool:
    """Check lists per model and join them.

    Raises:
        GeometryError: bad boxes, scores outside [0, 1] or NaN, unequal lengths.
        ConfigError: weights that are negative, all zero, or not one per model.
    """
    if not len(boxes) == len(scores) == len(labels):
        raise GeometryError(
            f"boxes of {len(boxes)} models came with scores of {len(scores)} and labels of "
            f"{len(labels)}"
        )
    box_lists = [_box_list(b) for b in boxes]
    score_lists = [np.asarray(s, np.float64).reshape(-1) for s in scores]
    label_lists = [np.asarray(value).reshape(-1) for value in labels]
    for i, (b, s, n) in enumerate(zip(box_lists, score_lists, label_lists, strict=True)):
        if not len(b) == len(s) == len(n):
            raise GeometryError(
                f"model {i} has {len(b)} boxes, {len(s)} scores and {len(n)} labels; needed: one "
                "score and one label a box"
            )
    every_score = np.concatenate([np.zeros(0), *score_lists])
    check_scores(every_score)
    return Pool(
        boxes=check_boxes(np.concatenate([np.zeros((0, 4)), *box_lists])).astype(
            np.float64, copy=False
        ),
        scores=every_score,
        labels=np.concatenate([n for n in label_lists if len(n)] or [np.zeros(0, np.int64)]),
        models=np.repeat(np.arange(len(boxes)), [len(b) for b in box_lists]),
        weights=check_weights(weights, len(boxes)),
    )


def check_scores(scores: Float) -> None:
    """Raises GeometryError unless all scores lie in [0, 1]."""
    if len(scores) and not (scores.min() >= 0 and scores.max() <= 1):  # also false for NaN
        raise GeometryError(
            "box scores must lie in [0, 1] and not be NaN; calibrate raw scores first"
        )


def check_weights(weights: ArrayLike | None, models: int) -> Float:
    """(models,) weights; all 1 if None."""
    if weights is None:
        return np.ones(models)
    w = np.asarray(weights, np.float64).reshape(-1)
    if len(w) != models or not np.isfinite(w).all() or (w < 0).any() or (models and not w.any()):
        raise ConfigError(
            f"weights are {w.tolist()}; needed: one for each of {models} models, not negative "
            "and not all zero"
        )
    return w


def check_fraction(name: str, value: float) -> None:
    """Raises ConfigError unless an option lies in [0, 1]."""
    if not 0 <= value <= 1:
        raise ConfigError(f"{name} is {value}; needed: a number in [0, 1]")


def best_first(boxes: Float, scores: Float, labels: NDArray[Any]) -> Fused:
    """Fused boxes, highest score first."""
    order = np.argsort(scores)[::-1]
    return Fused(boxes[order], scores[order], labels[order])


def _box_list(boxes: ArrayLike) -> Float:
    array = np.asarray(boxes, np.float64)
    if array.size == 0:
        return np.zeros((0, 4))
    if array.ndim != 2 or array.shape[1] != 4:
        raise GeometryError(f"boxes have shape {array.shape}; needed: (n, 4) x1, y1, x2, y2")
    return array
