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
Places = NDArray[np.int64]

THUMB = 24  # px
COPY = 0.99  # images whose thumbnails correlate more are the same image
BLOCK = 1 << 20  # products of strengths at once: they stay in a core's cache
PAIRS = 1 << 14  # pairs whose thumbnails are compared at once
WAVES = 8  # frequencies of a side; one pair in 70,000 of radiographs is a candidate by them
ROUNDING = 1e-4
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
    flat = thumbnails.reshape(len(thumbnails), THUMB * THUMB).astype(np.float32)
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
    turns = [vectors(turned(others)) for turned in TURNS.values()]
    for first, second in _candidates(own, turns[0]):
        for there in turns:
            out[first[np.abs(_products(own, there, first, second)) >= COPY]] = True
    return out


def alike(thumbnails: Float32) -> Iterator[Copies]:
    """Images that are copies of each other, the first place before the second. Each pair once.

    Args:
        thumbnails: (n, THUMB, THUMB), of whatever range.
    """
    own = vectors(thumbnails)
    pairs = [np.stack(pair) for pair in _candidates(own, own)]
    first, second = np.concatenate(pairs, axis=1) if pairs else np.zeros((2, 0), np.int64)
    left = first < second
    for turn, turned in TURNS.items():
        first, second, left = first[left], second[left], left[left]
        products = _products(own, vectors(turned(thumbnails)), first, second)
        for at in np.flatnonzero(np.abs(products) >= COPY).tolist():
            left[at] = False
            negative = NEGATIVE if products[at] < 0 else ""
            how = " and ".join(filter(None, (turn, negative)))
            yield Copies(int(first[at]), int(second[at]), how)


def _candidates(own: Float32, others: Float32) -> Iterator[tuple[Places, Places]]:
    """Places of pairs, in order, among which are all copies and little else; some at a time."""
    a, b = _strengths(own), _strengths(others).T
    rows = max(1, BLOCK // max(len(others), 1))
    for start in range(0, len(a), rows):
        first, second = np.nonzero(a[start : start + rows] @ b >= COPY - ROUNDING)
        for part in range(0, len(first), PAIRS):
            yield start + first[part : part + PAIRS], second[part : part + PAIRS]


def _strengths(units: Float32) -> Float32:
    """(n, k) how strong each spatial frequency is in (n, THUMB²) vectors, and all finer ones.

    Turning and mirroring an image changes signs of its cosine transform and swaps rows with
    columns, so none of them changes these. By Cauchy and Schwarz the product of two is at least
    that of the vectors, however one is turned.
    """
    middles = (np.arange(THUMB) + 0.5) * np.pi / THUMB
    waves = np.cos(np.arange(WAVES)[:, None] * middles) * np.sqrt(2 / THUMB)
    waves = waves.astype(np.float32)
    power = (waves @ units.reshape(-1, THUMB, THUMB) @ waves.T) ** 2
    power[:, 0] /= 2  # the first wave is constant: half as high
    power[:, :, 0] /= 2
    power = np.triu(power) + np.tril(power, -1).swapaxes(1, 2)
    coarse = power[:, *np.triu_indices(WAVES)]
    fine = np.maximum((units * units).sum(axis=1) - coarse.sum(axis=1), 0)
    out: Float32 = np.sqrt(np.column_stack([coarse, fine])).astype(np.float32)
    return out


def _products(own: Float32, others: Float32, first: Places, second: Places) -> Float32:
    """(p,) products of some of the vectors with some of the others."""
    parts = range(0, len(first), PAIRS)
    cuts = [(first[part : part + PAIRS], second[part : part + PAIRS]) for part in parts]
    products = [np.einsum("ij,ij->i", own[i], others[j]) for i, j in cuts]
    return np.concatenate(products) if products else np.zeros(0, np.float32)
