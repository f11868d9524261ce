"""Raw outputs of folds and checkpoints -> one raw output, before suppression; and box sizes.

Knows deltas and scores per anchor, not anchors: decode with `hilum.core.anchors` afterwards.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hilum.core.errors import GeometryError
from hilum.core.geometry import check_boxes

Float = NDArray[np.floating[Any]]


def percentile_shrink(deltas: ArrayLike, k: float = 1.6) -> Float:
    """Box deltas of several runs -> one, smaller where the runs disagree (A12).

    dw, dh = p20 + k * (p20 - p80) over the runs, dx, dy = mean: the RSNA test boxes were the
    intersection of three readers, so a box should shrink by its own uncertainty.

    Args:
        deltas: (runs, n, 4) dx, dy, dw, dh of folds × checkpoints.

    Returns:
        (n, 4) deltas.
    """
    d = _stack(deltas, 3)
    p20, p80 = np.percentile(d[..., 2:], [20, 80], axis=0)
    return np.concatenate([d[..., :2].mean(axis=0), p20 + k * (p20 - p80)], axis=1)


def average_outputs(
    deltas: ArrayLike, scores: ArrayLike, *, shrink: float | None = None
) -> tuple[Float, Float]:
    """Mean of raw outputs over folds and checkpoints, to be decoded and suppressed once (A11).

    Args:
        deltas: (runs, n, 4).
        scores: (runs, n, classes) probabilities.
        shrink: k of `percentile_shrink`; None takes the mean of the sizes as well.

    Returns:
        deltas (n, 4), scores (n, classes).
    """
    d, s = _stack(deltas, 3), np.asarray(scores)
    if s.ndim != 3 or s.shape[:2] != d.shape[:2]:
        raise GeometryError(f"deltas {d.shape} came with scores {s.shape}; needed: (runs, n, c)")
    mean: Float = s.mean(axis=0)
    return (d.mean(axis=0) if shrink is None else percentile_shrink(d, shrink)), mean


def scale_boxes(boxes: ArrayLike, factor: float | tuple[float, float] = 0.875) -> Float:
    """Boxes with each side (width, height) times `factor`, about their centres."""
    b = check_boxes(boxes)
    if not (np.isfinite(factor).all() and np.min(factor) >= 0):
        raise GeometryError(f"scale factor {factor}: needed: finite, not negative")
    centre, half = (b[:, :2] + b[:, 2:]) / 2, (b[:, 2:] - b[:, :2]) / 2 * np.asarray(factor)
    return np.concatenate([centre - half, centre + half], axis=1)


def _stack(values: ArrayLike, ndim: int) -> Float:
    array = np.asarray(values)
    if array.ndim != ndim or not len(array) or array.shape[-1] != 4:
        raise GeometryError(f"deltas are {array.shape}; needed: (runs, n, 4) of at least one run")
    if not np.isfinite(array).all():
        raise GeometryError("deltas hold NaN or infinite values")
    return array
