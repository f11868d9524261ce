"""What one network says of one radiograph, before any threshold. Knows no network and no file.

Boxes are in source pixels; maps stay on the network's grid, with the way back to the source.
Legend: s cells of a map's side, H, W the source.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Self

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from hilum.core.geometry import (
    Letterbox,
    check_scored,
    clip_boxes,
    compose,
    invert,
    reaches,
    resample,
    transform_boxes,
)

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Bool = NDArray[np.bool_]

SLIVER_PX = 0.5  # a box thinner than this is none
FAR = 1e6  # cells: beyond every image


def sigmoid(x: ArrayLike) -> Float32:
    """Without overflow for any finite input."""
    clipped = np.clip(np.asarray(x, np.float32), -80, 80)
    return (1 / (1 + np.exp(-clipped))).astype(np.float32)


def logit(p: float) -> float:
    return math.log(p / (1 - p))


def logits_of(probabilities: ArrayLike) -> Float32:
    """The logits of probabilities, finite at 0 and 1."""
    p = np.clip(np.asarray(probabilities, np.float64), 1e-12, 1 - 1e-12)
    out: Float32 = np.log(p / (1 - p)).astype(np.float32)
    return out


@dataclass(frozen=True, slots=True, eq=False)
class Boxes:
    """Boxes in source pixels, best first."""

    boxes_px: Float32  # (n, 4) x1, y1, x2, y2
    scores: Float32  # (n,) in [0, 1]
    labels: tuple[str, ...]  # (n,)

    def __post_init__(self) -> None:
        check_scored(self.boxes_px, self.scores, self.labels)

    def __len__(self) -> int:
        return len(self.scores)

    @classmethod
    def of(cls, boxes: ArrayLike, scores: ArrayLike, labels: Iterable[object]) -> Self:
        """Of any lists, as float32."""
        return cls(
            boxes_px=np.asarray(boxes, np.float32).reshape(-1, 4),
            scores=np.asarray(scores, np.float32).reshape(-1),
            labels=tuple(str(label) for label in labels),
        )

    @classmethod
    def none(cls) -> Self:
        return cls.of((), (), ())

    def at(self, keep: NDArray[np.bool_] | NDArray[np.int64]) -> Self:
        """The boxes of a mask or of indices."""
        rows = np.arange(len(self))[keep]
        return replace(
            self,
            boxes_px=self.boxes_px[rows],
            scores=self.scores[rows],
            labels=tuple(self.labels[row] for row in rows),
        )

    def moved(self, matrix: ArrayLike, width: int, height: int) -> Self:
        """Through a (3, 3) map, cut to an image of that size; what lies outside is dropped."""
        boxes = clip_boxes(transform_boxes(self.boxes_px, matrix), width, height)
        alive = np.flatnonzero(((boxes[:, 2:] - boxes[:, :2]) > SLIVER_PX).all(axis=1))
        return replace(self, boxes_px=boxes.astype(np.float32).reshape(-1, 4)).at(alive)


@dataclass(frozen=True, slots=True, eq=False)
class ProbabilityMap:
    """A probability for each cell of a network's grid, and where its model cuts it.

    Kept as logits: they lose nothing near 0 and 1, and an outline between cells that are
    interpolated as logits is smoother.
    """

    logits: Float32  # (s, s)
    to_cells: Float64  # (3, 3) from source pixels to cells, both counted by edges
    width: int  # of the source
    height: int
    threshold: float = 0.5
    least_part: float = 0.0  # of the largest connected part; smaller ones are specks

    @classmethod
    def of(
        cls, logits: Float32, box: Letterbox, *, threshold: float = 0.5, least_part: float = 0.0
    ) -> Self:
        """A map over the square of a letterbox."""
        return cls(
            logits=logits,
            to_cells=box.to_cells(len(logits)),
            width=box.width,
            height=box.height,
            threshold=threshold,
            least_part=least_part,
        )

    @property
    def probabilities(self) -> Float32:
        """(s, s) on the network's grid."""
        return sigmoid(self.logits)

    def at_source(self) -> Float32:
        """(H, W) probabilities."""
        return sigmoid(resample(self.logits, self.to_cells, (self.height, self.width)))

    def cut(self, threshold: float | None = None, least_part: float | None = None) -> Bool:
        """(H, W) pixels of at least the threshold, without specks; None takes the model's own."""
        at = logit(self.threshold if threshold is None else threshold)
        part = self.least_part if least_part is None else least_part
        cells = without_specks(self.logits, at, part)
        out = np.zeros((self.height, self.width), np.bool_)
        # Only where a cell of the four around a pixel is above can the pixel be.
        x1, y1, x2, y2 = self._reach(cells >= at)
        if x1 < x2 and y1 < y2:
            to_cells = compose([[1, 0, x1], [0, 1, y1]], self.to_cells)
            out[y1:y2, x1:x2] = reaches(cells, to_cells, (y2 - y1, x2 - x1), at)
        return out

    def _reach(self, inside: Bool) -> tuple[int, int, int, int]:
        """x1, y1, x2, y2 in whole source pixels around all that some cells have a part in."""
        rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
        if not len(rows):
            return 0, 0, 0, 0
        last = len(inside) - 1
        ends = [(columns[0], columns[-1]), (rows[0], rows[-1])]
        # A cell counts as far as the middle of the next; the outermost ones go on for ever.
        low = [first - 0.5 if first > 0 else -FAR for first, _ in ends]
        high = [end + 1.5 if end < last else FAR for _, end in ends]
        box = transform_boxes([[*low, *high]], invert(self.to_cells))
        x1, y1, x2, y2 = clip_boxes(box, self.width, self.height)[0]
        return math.floor(x1), math.floor(y1), math.ceil(x2), math.ceil(y2)

    def seen_through(self, matrix: ArrayLike, width: int, height: int) -> Self:
        """The same map of a source that `matrix` (3, 3) maps onto the one it was made of."""
        to_cells = compose(matrix, self.to_cells)
        return replace(self, to_cells=to_cells, width=width, height=height)

    def probabilities_on(self, grid: ProbabilityMap) -> Float64:
        """(s, s) probabilities on another map's grid of the same source."""
        if self.logits.shape == grid.logits.shape and np.allclose(
            self.to_cells, grid.to_cells, atol=1e-9
        ):
            return self.probabilities.astype(np.float64)
        between = compose(invert(grid.to_cells), self.to_cells)
        shape = grid.logits.shape[0], grid.logits.shape[1]
        return resample(self.probabilities, between, shape).astype(np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """What one model says of one image; a stage's input. Nothing is cut yet.

    `boxes` is None where the model has no boxes at all: it then has no voice in a fusion, which
    is not the same as a detector that found nothing.
    """

    width: int
    height: int
    boxes: Boxes | None = None
    image_scores: Mapping[str, float] = field(default_factory=dict)  # e.g. {"opacity": 0.93}
    maps: Mapping[str, ProbabilityMap] = field(default_factory=dict)  # name -> map

    def seen_through(self, matrix: ArrayLike, width: int, height: int) -> Self:
        """The same prediction of a source that `matrix` (3, 3) maps onto the one it was made of."""
        back = invert(matrix)
        return replace(
            self,
            width=width,
            height=height,
            boxes=None if self.boxes is None else self.boxes.moved(back, width, height),
            maps={n: one.seen_through(matrix, width, height) for n, one in self.maps.items()},
        )


def without_specks(logits: Float32, cut: float, least_part: float) -> Float32:
    """(s, s) logits with connected parts smaller than a part of the largest pushed below `cut`."""
    if not least_part:
        return logits
    count, which, stats, _ = cv2.connectedComponentsWithStats(
        (logits >= cut).astype(np.uint8), connectivity=8
    )
    area = stats[:, cv2.CC_STAT_AREA]
    if count < 3:  # the background and at most one part
        return logits
    small = np.flatnonzero(area < least_part * area[1:].max())
    mirrored = 2 * np.float32(cut) - logits
    out: Float32 = np.where(np.isin(which, small[small > 0]), mirrored, logits)
    return out
