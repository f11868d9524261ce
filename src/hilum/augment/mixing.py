"""Several samples -> one: mix-up and mosaic. A mixture asks its source for as many as it needs.

What a mixture shows is the union of what its parts show. Where the parts' classes differ it has
none, because exactly one class is true of an image; what one part leaves unknown, and no other part
affirms, is unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from hilum.augment.geometry import Matrix, move
from hilum.augment.sample import UNKNOWN, Float32, Sample

Source: TypeAlias = Callable[[], Sample]
Mix: TypeAlias = Callable[[Source, np.random.Generator], Sample]


@dataclass(frozen=True, slots=True)
class MixUp:
    """With probability `p`, a weighted mean of two images; both keep their boxes whole.

    The weight is Beta(even, even): the larger `even`, the nearer to one half (detectors, D5).
    """

    p: float = 0.5
    even: float = 32.0

    def __call__(self, source: Source, rng: np.random.Generator) -> Sample:
        first = source()
        if rng.random() >= self.p:
            return first
        second, weight = source(), np.float32(rng.beta(self.even, self.even))
        boxed = first.boxed and second.boxed
        return Sample(
            image=first.image * weight + second.image * (1 - weight),
            boxes_px=np.concatenate([first.boxes_px, second.boxes_px]) if boxed else _no_boxes(),
            labels=first.labels + second.labels if boxed else (),
            masks={name: _either(mask, second.masks[name]) for name, mask in first.masks.items()},
            classes=_same([first.classes, second.classes]),
            findings=_any([first.findings, second.findings]),
            boxed=boxed,
        )


@dataclass(frozen=True, slots=True)
class Mosaic:
    """With probability `p`, four samples around a point in the middle half of the square.

    Each is shrunk until it just covers its quarter, its inner corner at the point, so that most
    of an image stays visible.
    """

    p: float = 1.0

    def __call__(self, source: Source, rng: np.random.Generator) -> Sample:
        first = source()
        if rng.random() >= self.p:
            return first
        parts = [first, source(), source(), source()]
        size = first.image.shape[0]
        x, y = (int(v) for v in np.round(rng.uniform(0.25, 0.75, 2) * size))
        image = np.empty_like(first.image)
        masks = {name: np.empty_like(mask) for name, mask in first.masks.items()}
        boxes: list[Float32] = []
        labels: list[str] = []
        for part, (left, top) in zip(parts, ((0, 0), (1, 0), (0, 1), (1, 1)), strict=True):
            w, h = (size - x if left else x), (size - y if top else y)
            scale = max(w, h) / size
            dx, dy = (0 if left else w - scale * size), (0 if top else h - scale * size)
            tile = move(
                part,
                Matrix(np.array([[scale, 0, dx], [0, scale, dy], [0, 0, 1.0]])),
                frame=(w, h),
            )
            corner = (x if left else 0), (y if top else 0)
            window = np.s_[corner[1] : corner[1] + h, corner[0] : corner[0] + w]
            image[window] = tile.image
            for name, mask in masks.items():
                mask[window] = tile.masks[name]
            boxes.append(tile.boxes_px + np.array([*corner, *corner], np.float32))
            labels += tile.labels
        boxed = all(part.boxed for part in parts)
        return Sample(
            image=image,
            boxes_px=np.concatenate(boxes) if boxed else _no_boxes(),
            labels=tuple(labels) if boxed else (),
            masks=masks,
            classes=_same([part.classes for part in parts]),
            findings=_any([part.findings for part in parts]),
            boxed=boxed,
        )


def _no_boxes() -> Float32:
    return np.zeros((0, 4), np.float32)


def _either(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> NDArray[np.uint8]:
    unknown = (a == UNKNOWN) | (b == UNKNOWN)
    known = ((a == 1) | (b == 1)).astype(np.uint8)
    return np.where(unknown & (known == 0), np.uint8(UNKNOWN), known)


def _same(classes: Sequence[Float32]) -> Float32:
    """The classes if all parts agree, else unknown."""
    first = classes[0]
    if all(np.array_equal(first, other, equal_nan=True) for other in classes):
        return first
    return np.full_like(first, np.nan)


def _any(findings: Sequence[Float32]) -> Float32:
    """1 where a part has it, NaN where one may have it, else 0."""
    stack = np.stack(findings)
    some = (stack == 1).any(axis=0)
    out: Float32 = np.where(some, 1, np.where(np.isnan(stack).any(axis=0), np.nan, 0))
    return out.astype(np.float32)
