"""Which images look the same, whatever their file, size, compression and contrast: copies of one
radiograph that leak from training into test where nobody sees that they are equal.

Knows arrays of grey; no catalog and no file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]

THUMB = 24  # px
COPY = 0.99  # images whose thumbnails correlate more are the same image
BLOCK = 1 << 24  # numbers at once
FLAT = 1e-3  # of the range: spread of a blank image, which is like any other

# What was done to one of two copies; each takes (..., H, W).
TURNS: dict[str, Callable[[Float32], Float32]] = {
    "": lambda grey: grey,
    "mirrored": lambda grey: grey[..., ::-1],
    "upside down": lambda grey: grey[..., ::-1, :],
    "turned by 180°": lambda grey: grey[..., ::-1, ::-1],
    "turned by 90°": lambda grey: np.rot90(grey, 1, (-2, -1)),
    "turned by 270°": lambda grey: np.rot90(grey, 3, (-2, -1)),
    "turned by 90° and mirrored": lambda grey: np.rot90(grey[..., ::-1], 1, (-2, -1)),
    "turned by 270° and mirrored": lambda grey: np.rot90(grey[..., ::-1], 3, (-2, -1)),
}
NEGATIVE = "with black and white exchanged"


class Copies(NamedTuple):
    """Places of two images that are copies of each other."""

    first: int
    second: int
    how: str  # what was done to one: of `TURNS`, `NEGATIVE`, or both


def thumbnail(grey: Float32) -> Float32:
    """(THUMB, THUMB) of an image (H, W), stretched to a square: sets squash images."""
    small: Float32 = cv2.resize(grey, (THUMB, THUMB), interpolation=cv2.INTER_AREA)
    return small


def vectors(thumbnails: Float32) -> Float32:
    """(n, THUMB²) zero-mean unit vectors of (n, THUMB, THUMB): equal images have a product near
    1, blank ones (all zero) with nothing."""
    flat = thumbnails.reshape(len(thumbnails), -1).astype(np.float32)
    flat = flat - flat.mean(axis=1, keepdims=True)
    length = np.linalg.norm(flat, axis=1, keepdims=True)
    out: Float32 = np.where(length > FLAT * THUMB, flat / np.maximum(length, 1e-6), 0)
    return out.astype(np.float32)


def shown_by(thumbnails: Float32, others: Float32) -> NDArray[np.bool_]:
    """(n,) which pictures are copies of one of the others, turned, mirrored or negative, too.

    Args:
        thumbnails, others: (n, THUMB, THUMB) and (m, THUMB, THUMB), of whatever range.
    """
    own, out = vectors(thumbnails), np.zeros(len(thumbnails), np.bool_)
    rows = max(1, BLOCK // max(len(others), 1))
    for turned in TURNS.values():
        there = vectors(turned(others)).T
        for start in range(0, len(own), rows):
            part = slice(start, start + rows)
            out[part] |= (np.abs(own[part] @ there) >= COPY).any(axis=1)
    return out


def alike(thumbnails: Float32) -> Iterator[Copies]:
    """Images that are copies of each other, the first place before the second. Each pair once.

    Args:
        thumbnails: (n, THUMB, THUMB), of whatever range.
    """
    own, count = vectors(thumbnails), len(thumbnails)
    seen: set[tuple[int, int]] = set()
    rows = max(1, BLOCK // max(count, 1))
    for turn, turned in TURNS.items():
        others = vectors(turned(thumbnails))
        for start in range(0, count, rows):
            products = own[start : start + rows] @ others[start:].T  # j < i was seen with its twin
            for i, j in np.argwhere(np.abs(products) >= COPY).tolist():
                pair = start + i, start + j
                if pair[0] < pair[1] and pair not in seen:
                    seen.add(pair)
                    negative = NEGATIVE if products[i, j] < 0 else ""
                    yield Copies(*pair, " and ".join(filter(None, (turn, negative))))
