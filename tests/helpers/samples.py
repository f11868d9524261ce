"""Samples whose truth is known: discs, their boxes and their masks."""

from __future__ import annotations

import numpy as np

from hilum.augment.sample import Sample

SIZE = 128


def disc_sample(x: float = 40, y: float = 70, r: float = 14, size: int = SIZE) -> Sample:
    yy, xx = np.mgrid[:size, :size] + 0.5
    disc = ((xx - x) ** 2 + (yy - y) ** 2 <= r * r).astype(np.uint8)
    box = np.array([[x - r, y - r, x + r, y + r]], np.float32)
    return Sample(
        disc.astype(np.float32),
        box,
        ("opacity",),
        {"opacity": disc},
        np.array([0, 0, 1], np.float32),
        np.array([1, 0, np.nan], np.float32),
    )


def extent(mask: np.ndarray) -> list[int]:
    """x1, y1, x2, y2 of what is not zero."""
    ys, xs = np.nonzero(mask)
    return [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
