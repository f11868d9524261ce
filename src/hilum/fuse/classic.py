"""Other ways to join the boxes of several models: suppression, union, vote.

Same lists per model and same checks as `weighted_boxes`. Suppression throws boxes away, soft
suppression lowers their scores, the weighted forms average them. Knows no files and no labels'
meaning.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hilum.core.errors import ConfigError
from hilum.core.geometry import iou_matrix
from hilum.fuse.lists import (
    Float,
    Fused,
    Int,
    Pool,
    check_fraction,
    check_weights,
    pool,
)
from hilum.fuse.suppress import keep_best

Lists = Sequence[ArrayLike]


def nms(
    boxes: Lists,
    scores: Lists,
    labels: Lists,
    *,
    weights: ArrayLike | None = None,
    iou: float = 0.5,
) -> Fused:
    """Non-maximum suppression over the pooled boxes: of boxes with IoU > `iou` the best stays.

    Args:
        boxes, scores, labels: lists per model, as in `weighted_boxes`.
        weights: if given, scores become score * weight / sum of weights.

    Returns:
        boxes, scores, labels, highest score first.
    """
    check_fraction("iou", iou)
    everything = _scaled(pool(boxes, scores, labels, weights), weights is not None)
    keep = keep_best(everything.boxes, everything.scores, everything.labels, iou=iou)
    return _result(everything, keep, everything.scores[keep])


def soft_nms(
    boxes: Lists,
    scores: Lists,
    labels: Lists,
    *,
    weights: ArrayLike | None = None,
    iou: float = 0.5,
    method: Literal["gaussian", "linear"] = "gaussian",
    sigma: float = 0.5,
    floor: float = 0.001,
    rescore: bool = True,
) -> Fused:
    """Soft-NMS (Bodla et al. 2017): overlapped boxes lose score instead of vanishing.

    Args:
        iou: overlap from which `linear` lowers scores.
        sigma: width of the `gaussian`.
        floor: boxes whose lowered score is not above it are dropped.
        rescore: return the lowered scores; False returns the original ones (ensemble-boxes).
    """
    if method not in ("gaussian", "linear") or sigma <= 0:
        raise ConfigError(f"method {method!r}, sigma {sigma}: needed: gaussian or linear, > 0")
    check_fraction("iou", iou)
    everything = _scaled(pool(boxes, scores, labels, weights), weights is not None)
    lowered = everything.scores.copy()
    for name in np.unique(everything.labels):
        rows = np.flatnonzero(everything.labels == name)
        overlap = iou_matrix(everything.boxes[rows], everything.boxes[rows])
        gaussian = np.exp(-(overlap**2) / sigma)
        factor = gaussian if method == "gaussian" else np.where(overlap > iou, 1 - overlap, 1.0)
        lowered[rows] = _decay(lowered[rows], factor)
    keep = np.flatnonzero(lowered > floor)
    keep = keep[np.argsort(-lowered[keep], kind="stable")]
    return _result(everything, keep, (lowered if rescore else everything.scores)[keep])


def _decay(scores: Float, factor: Float) -> Float:
    """Scores after each box, best first, multiplied those still waiting by its factors."""
    waiting = np.ones(len(scores), np.bool_)
    out = scores.copy()
    for _ in range(len(scores)):
        best = int(np.argmax(np.where(waiting, out, -1)))
        waiting[best] = False
        out[waiting] *= factor[best, waiting]
    return out


def nmw(
    boxes: Lists,
    scores: Lists,
    labels: Lists,
    *,
    weights: ArrayLike | None = None,
    iou: float = 0.55,
    skip: float = 0.0,
) -> Fused:
    """Non-maximum weighted (Zhou et al. 2017): the best box keeps its score and moves.

    Boxes are gathered round the best box with IoU > `iou`; the new corners are the mean weighted
    by score times IoU with that best box.
    """
    check_fraction("iou", iou)
    check_fraction("skip", skip)
    p = pool(boxes, scores, labels, weights)
    p = p.at(p.scores >= skip).with_area()
    scored = p.scores * p.weights[p.models] / p.weights.max(initial=0.0) if len(p) else p.scores
    order = np.argsort(scored)[::-1]
    p, scored = p.at(order), scored[order]
    owner = _gather(p, iou)
    mains = np.unique(owner)
    own_iou = np.array([iou_matrix(p.boxes[[i]], p.boxes[[m]])[0, 0] for i, m in enumerate(owner)])
    # Boxes of score 0 carry no weight: the best box of the group stands for them.
    weight = np.where(scored[owner] > 0, scored, np.arange(len(p)) == owner) * own_iou
    total = np.bincount(owner, weight, len(p))[mains]
    moved = [np.bincount(owner, weight * p.boxes[:, c], len(p))[mains] / total for c in range(4)]
    return Fused(np.stack(moved, axis=1), scored[mains], p.labels[mains])


def _gather(p: Pool, iou: float) -> Int:
    """(n,) for each box the index of the earlier box that it joins, or its own."""
    owner = np.arange(len(p))
    mains: list[int] = []
    for i in range(len(p)):
        if mains:
            overlap = iou_matrix(p.boxes[[i]], p.boxes[mains])[0]
            overlap[p.labels[mains] != p.labels[i]] = 0
            best = int(np.argmax(overlap))
            if overlap[best] > iou:
                owner[i] = mains[best]
                continue
        mains.append(i)
    return owner


def union(
    boxes: Lists,
    scores: Lists,
    labels: Lists,
    *,
    thresholds: float | Sequence[float] = 0.5,
    iou: float = 0.5,
) -> Fused:
    """Every box of which its own detector is confident, doubles removed (B9).

    Args:
        thresholds: the score from which a detector counts as confident, one or one a model.
    """
    check_fraction("iou", iou)
    p = pool(boxes, scores, labels)
    limits = np.broadcast_to(np.asarray(thresholds, np.float64), (len(boxes),))
    p = p.at(p.scores >= limits[p.models])
    keep = keep_best(p.boxes, p.scores, p.labels, iou=iou)
    return _result(p, keep, p.scores[keep])


class Voted(NamedTuple):
    """Boxes in the order they were found; score times vote is the vote-weighted score."""

    boxes: Float  # (n, 4)
    scores: Float  # (n,)
    labels: NDArray[Any]  # (n,)
    votes: Float  # (n,) in (0, 1]


def vote_average(
    boxes: Lists,
    scores: Lists,
    labels: Lists,
    *,
    weights: ArrayLike | None = None,
    iou: float = 0.5,
) -> Voted:
    """Means over models, with the share of the models that voted (RSNA 1st place).

    Model by model, each box not yet used takes from every other model its unused box of the same
    label with the highest IoU > `iou`; corners and score become means by model weight."""
    check_fraction("iou", iou)
    p = pool(boxes, scores, labels)
    share = check_weights(weights, len(boxes))
    share = share / max(share.sum(), 1e-300)
    overlap = iou_matrix(p.boxes, p.boxes)
    overlap[p.labels[:, None] != p.labels[None, :]] = 0
    free = np.ones(len(p), np.bool_)
    near = np.where(overlap > iou, overlap, 0)
    groups = [_voters(p, i, near[i], free) for i in range(len(p)) if free[i]]
    votes = np.array([share[p.models[g]].sum() for g in groups])
    parts = [share[p.models[g]] / v if v > 0 else None for g, v in zip(groups, votes, strict=True)]
    means = [
        np.average(np.c_[p.boxes[g], p.scores[g]], axis=0, weights=w)
        for g, w in zip(groups, parts, strict=True)
    ]
    table = np.array(means).reshape(-1, 5)
    return Voted(table[:, :4], table[:, 4], p.labels[[g[0] for g in groups]], votes)


def _voters(p: Pool, first: int, near: Float, free: NDArray[np.bool_]) -> list[int]:
    """The box and the boxes of other models that agree with it; marks them as used.

    Args:
        near: (n,) IoU with each box, 0 where too little.
    """
    group = [first]
    free[first] = False
    for model in range(len(p.weights)):
        rivals = np.where(free & (p.models == model), near, 0)
        if model != p.models[first] and rivals.any():
            group.append(int(np.argmax(rivals)))
            free[group[-1]] = False
    return group


def _scaled(p: Pool, weighted: bool) -> Pool:
    """The boxes that have an area, their scores by weight where weights were given."""
    p = p.with_area()
    return replace(p, scores=p.scores * p.weights[p.models] / p.weights.sum()) if weighted else p


def _result(p: Pool, keep: NDArray[Any], scores: Float) -> Fused:
    order = np.argsort(-scores, kind="stable")
    rows = keep[order]
    return Fused(p.boxes[rows], scores[order], p.labels[rows])
