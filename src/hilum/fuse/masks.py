"""Probability maps -> masks: triplet threshold, small components, means over models."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from hilum.core.errors import GeometryError
from hilum.fuse.lists import check_weights

Bool = NDArray[np.bool_]
Float64 = NDArray[np.float64]


def triplet_mask(
    prob: ArrayLike, top: float = 0.75, min_area: float = 2000, bottom: float = 0.3
) -> Bool:
    """Pixels with p > bottom, if at least `min_area` pixels have p > top; else nothing (E9).

    A sure core decides whether there is a finding at all, a lower threshold how far it reaches.

    Args:
        prob: (H, W) or (n, H, W) probabilities, each image by itself.
        min_area: in px of this map; the default belongs to 1024 px.

    Returns:
        A mask of the same shape.

    Raises:
        GeometryError: another shape, or values that are no probabilities (NaN, logits, 0 to 255).
    """
    p = np.asarray(prob, np.float32)
    if p.ndim not in (2, 3) or not ((p >= 0) & (p <= 1)).all():
        raise GeometryError(f"map is {p.shape}; needed: (H, W) or (n, H, W) in [0, 1], no NaN")
    enough = np.count_nonzero(p > np.float32(top), axis=(-2, -1), keepdims=True) >= min_area
    return np.asarray((p > np.float32(bottom)) & enough, np.bool_)


def remove_small(mask: ArrayLike, min_area: float) -> Bool:
    """Without the 8-connected components of fewer than `min_area` pixels (E6).

    Args:
        mask: (H, W), anything not 0 is set.
    """
    m = np.asarray(mask) != 0
    if m.ndim != 2:
        raise GeometryError(f"mask is {m.shape}; needed: (H, W)")
    _, regions, stats, _ = cv2.connectedComponentsWithStats(m.astype(np.uint8), connectivity=8)
    keep = stats[:, cv2.CC_STAT_AREA] >= min_area
    keep[0] = False  # the background
    return np.asarray(keep[regions], np.bool_)


def mean_map(maps: Sequence[ArrayLike], weights: ArrayLike | None = None) -> Float64:
    """Weighted mean of the probability maps of several models, all of one shape."""
    arrays = [np.asarray(m, np.float64) for m in maps]
    if not arrays or any(m.shape != arrays[0].shape for m in arrays):
        raise GeometryError(f"maps are {[m.shape for m in arrays]}; needed: some, of one shape")
    out: Float64 = np.average(np.stack(arrays), axis=0, weights=check_weights(weights, len(arrays)))
    return out
