"""How well two masks agree. Masks are arrays of one shape; anything not 0 is set."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hilum.core.errors import ConfigError, GeometryError

Bool = NDArray[np.bool_]


def dice(a: ArrayLike, b: ArrayLike) -> float:
    """2|A∩B| / (|A| + |B|), 1 if both are empty. The same as F1 over pixels."""
    return f_beta(a, b, 1.0)


def iou(a: ArrayLike, b: ArrayLike) -> float:
    """|A∩B| / |A∪B|, 1 if both are empty."""
    first, second = _pair(a, b)
    union = int((first | second).sum())
    return int((first & second).sum()) / union if union else 1.0


def f_beta(truth: ArrayLike, prediction: ArrayLike, beta: float = 1.0) -> float:
    """F score over pixels, recall weighted beta times precision (F2: beta 2); 1 if both empty."""
    if beta <= 0:
        raise ConfigError(f"beta {beta}: needed: above 0")
    t, p = _pair(truth, prediction)
    hits, square = int((t & p).sum()), beta**2
    below = square * int(t.sum()) + int(p.sum())
    return (1 + square) * hits / below if below else 1.0


def overlaps(truth: ArrayLike, prediction: ArrayLike) -> dict[str, float]:
    """Dice, IoU and F2 of one image; `dice_positive` is Dice, NaN where nothing is true."""
    own = dice(truth, prediction)
    return {
        "dice": own,
        "dice_positive": own if np.any(truth) else float("nan"),
        "iou": iou(truth, prediction),
        "f2_mask": f_beta(truth, prediction, 2),
    }


def hausdorff(
    a: ArrayLike,
    b: ArrayLike,
    *,
    spacing: tuple[float, float] = (1.0, 1.0),
    percentile: float = 100.0,
) -> float:
    """Largest distance from the edge of one mask to the edge of the other.

    Args:
        a, b: (H, W).
        spacing: row and column spacing; in mm the distance is in mm, (1, 1) gives px.
        percentile: 95 gives the robust variant HD95.

    Returns:
        0 if both are empty, infinite if one is.
    """
    from scipy.ndimage import distance_transform_edt

    first, second = _pair(a, b)
    if first.ndim != 2:
        raise GeometryError(f"masks are {first.shape}; needed: (H, W)")
    if not first.any() or not second.any():
        return 0.0 if first.any() == second.any() else float("inf")
    edges = [_edge(first), _edge(second)]
    away = [distance_transform_edt(~edge, sampling=spacing) for edge in edges]
    distances = away[1][edges[0]], away[0][edges[1]]
    return float(max(np.percentile(d, percentile) for d in distances))


def _edge(mask: Bool) -> Bool:
    """Set pixels with an unset 4-neighbour; outside the image counts as unset."""
    padded = np.pad(mask, 1)
    inside = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return np.asarray(mask & ~inside, np.bool_)


def _pair(a: ArrayLike, b: ArrayLike) -> tuple[Bool, Bool]:
    first, second = _mask(a), _mask(b)
    if first.shape != second.shape:
        raise GeometryError(f"masks are {first.shape} and {second.shape}; needed: one shape")
    return first, second


def _mask(values: ArrayLike) -> Bool:
    array: NDArray[Any] = np.asarray(values)
    if (array != array).any():  # only NaN differs from itself
        raise GeometryError(f"mask {array.shape} holds NaN, which is neither set nor unset")
    return np.asarray(array != 0, np.bool_)
