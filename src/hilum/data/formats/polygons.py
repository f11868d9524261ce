"""Masks <-> polygons and COCO segmentations. Knows no file, no table and no image."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from hilum.core.errors import DataError
from hilum.core.extras import require
from hilum.data.formats import runs as rle

Bool = NDArray[np.bool_]
Float64 = NDArray[np.float64]

MOST_PIXELS = 2**28


def polygons(mask: Bool) -> list[Float64]:
    """(n, 2) x, y polygon of each connected piece, on pixel centres; holes are lost."""
    contours, _ = cv2.findContours(
        mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE
    )
    return [contour.reshape(-1, 2) + 0.5 for contour in contours]


def mask_of_polygons(pieces: list[Float64], height: int, width: int) -> Bool:
    """The (height, width) mask that `polygons` came from, holes filled."""
    image = np.zeros((height, width), np.uint8)
    for piece in pieces:
        cv2.fillPoly(image, [np.round(piece - 0.5).astype(np.int32)], 1)
    filled: Bool = image > 0
    return filled


def pieces(mask: Bool) -> list[Bool]:
    """One mask for each connected piece (corners connect)."""
    count, numbered = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    return [numbered == i for i in range(1, count)]


def coco_counts(mask: Bool) -> dict[str, Any]:
    """COCO's uncompressed run lengths: column-major, zeros first, up to the last pixel; exact."""
    pairs = [] if not mask.any() else [int(n) for n in rle.encode(mask).split()]
    rest = mask.size - sum(pairs)
    return {"size": list(mask.shape), "counts": [*pairs, rest] if rest else pairs}


def mask_of_coco(segmentation: Any, height: int, width: int) -> Bool:
    """The (height, width) mask of a COCO segmentation: polygons, or run lengths in either form.

    Polygons are filled as COCO's own tools do (edges count, five-fold oversampling).

    Raises:
        DataError: empty, damaged or of another size.
    """
    if min(height, width) < 1 or height * width > MOST_PIXELS:
        raise DataError(f"a mask of {height}×{width} px; needed: the size of an image")
    if isinstance(segmentation, dict):
        size = segmentation.get("size")
        if size is not None and size != [height, width]:
            raise DataError(f"segmentation is of size {size}, its image of {[height, width]}")
        return _of_counts(segmentation.get("counts"), height, width)
    if not isinstance(segmentation, list) or not segmentation:
        raise DataError("no segmentation")
    return _of_polygons(segmentation, height, width)


def extent_of_coco(segmentation: Any) -> Float64:
    """x1, y1, x2, y2 around a COCO segmentation, polygons or run lengths that hold their size.

    Raises:
        DataError: damaged, or empty.
    """
    if isinstance(segmentation, dict):
        size: Any = segmentation.get("size")
        two = isinstance(size, list) and len(size) == 2
        if not two or not all(isinstance(side, int) for side in size):
            raise DataError("run lengths without a size")
        rows, columns = np.nonzero(mask_of_coco(segmentation, *size))
        points = np.stack([columns, rows], axis=1)
        points = np.concatenate([points, points + 1])
    else:
        points = np.concatenate([p.reshape(-1, 2) for p in _points(segmentation)])
    if not len(points) or not np.isfinite(points).all():
        raise DataError("an empty segmentation")
    return np.concatenate([points.min(axis=0), points.max(axis=0)]).astype(np.float64)


def _points(polygons: list[Any]) -> list[Float64]:
    """Each polygon as x, y, x, y …

    Raises:
        DataError: no numbers, or fewer than three points.
    """
    try:
        points = [np.asarray(p, np.float64) for p in polygons]
    except (TypeError, ValueError) as error:
        raise DataError("a polygon is not a list of numbers") from error
    if any(p.ndim != 1 or p.size < 6 or p.size % 2 for p in points):
        raise DataError("a polygon needs at least three points")
    return points


def _of_counts(counts: Any, height: int, width: int) -> Bool:
    numbers = _uncompressed(counts) if isinstance(counts, str) else counts
    whole = isinstance(numbers, list) and all(isinstance(n, int) and n >= 0 for n in numbers)
    if not whole or sum(numbers) != height * width:
        raise DataError(f"run lengths do not fill {height}×{width} px")
    values = np.arange(len(numbers)) % 2 == 1
    mask: Bool = np.repeat(values, numbers).reshape(width, height).T
    return np.ascontiguousarray(mask)


def _uncompressed(text: str) -> list[int]:
    """COCO's text: six bits a character, differences to the count before last from the third."""
    counts: list[int] = []
    number = shift = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64 or shift > 60:
            raise DataError("compressed run lengths are damaged")
        number |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            number -= 1 << shift
        counts.append(number + (counts[-2] if len(counts) > 2 else 0))
        number = shift = 0
    return counts


def _of_polygons(polygons: list[Any], height: int, width: int) -> Bool:
    points = _points(polygons)
    limit = 10 * max(height, width)  # far outside the library's arithmetic overflows
    if not all((np.abs(p) < limit).all() for p in points):
        raise DataError("a polygon lies far outside its image")
    require("eval", "faster_coco_eval")
    from faster_coco_eval.core import mask as coco

    runs = coco.frPyObjects([p.tolist() for p in points], height, width)
    filled: Bool = np.asarray(coco.decode(coco.merge(runs))) > 0
    return filled
