"""Anchors and box coding of dense detectors, in NumPy: the contract between training and bundle.

Follows A5: centres at (i + .5) * stride, nothing rounded (torchvision's anchors are rounded and
have no half-cell offset). Order of the flat axis: level, row, column, then ratio-major shape.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hilum.core.errors import ConfigError, GeometryError

Float32 = NDArray[np.float32]

MAX_LOG_RATIO = float(np.log(1000 / 16))  # exp() of a wild delta must not overflow


@dataclass(frozen=True, slots=True)
class AnchorGrid:
    """Shapes per cell on pyramid levels. Level l has stride 2**l and base size 4 * 2**l px."""

    levels: tuple[int, ...] = (2, 3, 4, 5, 6, 7)
    ratios: tuple[float, ...] = (0.5, 1.0, 2.0)  # height / width
    scales: tuple[float, ...] = (1.0, 2 ** (1 / 3), 2 ** (2 / 3))
    box_weights: tuple[float, float, float, float] = (0.1, 0.1, 0.2, 0.2)

    def __post_init__(self) -> None:
        complete = self.levels and self.ratios and self.scales
        if not complete or min(*self.ratios, *self.scales) <= 0:
            raise ConfigError(f"anchor grid {self}: needs levels, positive ratios and scales")

    @property
    def per_cell(self) -> int:
        return len(self.ratios) * len(self.scales)

    def count(self, size: int) -> int:
        """How many anchors there are over a square input of `size` px."""
        cells: int = sum((-(-size // 2**level)) ** 2 for level in self.levels)
        return cells * self.per_cell

    def anchors(self, size: int) -> Float32:
        """(n, 4) x1, y1, x2, y2 over a square input of `size` px."""
        return np.concatenate([self._level(level, size) for level in self.levels])

    def _level(self, level: int, size: int) -> Float32:
        stride, base = 2**level, 4 * 2**level
        cells = -(-size // stride)
        ratios = np.repeat(self.ratios, len(self.scales))
        scales = np.tile(self.scales, len(self.ratios))
        widths = base * scales / np.sqrt(ratios)
        heights = widths * ratios
        centres = (np.arange(cells) + 0.5) * stride
        y, x = np.meshgrid(centres, centres, indexing="ij")
        half = np.stack([-widths, -heights, widths, heights], axis=1) / 2
        cell = np.stack([x, y, x, y], axis=2).reshape(-1, 1, 4)
        return (cell + half).reshape(-1, 4).astype(np.float32)

    def decode(self, deltas: ArrayLike, anchors: ArrayLike) -> Float32:
        """(n, 4) deltas dx, dy, dw, dh on (n, 4) anchors -> (n, 4) boxes."""
        d = np.asarray(deltas, np.float32) * np.asarray(self.box_weights, np.float32)
        a = np.asarray(anchors, np.float32)
        if d.shape != a.shape:
            raise GeometryError(f"{d.shape} deltas for {a.shape} anchors")
        wh = a[:, 2:] - a[:, :2]
        centre = a[:, :2] + wh / 2 + d[:, :2] * wh
        half = np.exp(np.minimum(d[:, 2:], MAX_LOG_RATIO)) * wh / 2
        return np.concatenate([centre - half, centre + half], axis=1)

    def encode(self, boxes: ArrayLike, anchors: ArrayLike) -> Float32:
        """The inverse of `decode`."""
        b, a = np.asarray(boxes, np.float32), np.asarray(anchors, np.float32)
        wh_a, wh_b = a[:, 2:] - a[:, :2], np.maximum(b[:, 2:] - b[:, :2], 1e-6)
        shift = (b[:, :2] + wh_b / 2 - a[:, :2] - wh_a / 2) / wh_a
        d = np.concatenate([shift, np.log(wh_b / wh_a)], axis=1)
        out: Float32 = (d / np.asarray(self.box_weights)).astype(np.float32)
        return out

    def to_json(self) -> dict[str, Any]:
        return {
            "levels": list(self.levels),
            "ratios": list(self.ratios),
            "scales": list(self.scales),
            "box_weights": list(self.box_weights),
        }

    @classmethod
    def from_json(cls, value: dict[str, Sequence[Any]]) -> AnchorGrid:
        return cls(**{key: tuple(item) for key, item in value.items()})
