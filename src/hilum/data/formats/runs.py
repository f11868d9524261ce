"""Run-length masks of the SIIM-ACR challenge: text <-> boolean mask.

Column-major, pairs of (gap since the end of the previous run, run length), `-1` for an empty
mask. Knows no table, no file and no image: the caller brings text, height and width.

The organisers' own encoder forgets a run that touches the last pixel; this one writes it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from hilum.core.errors import DataError

Bool = NDArray[np.bool_]

EMPTY = "-1"
TELLING = 4  # pairs, from which on their order shows what they are
ROWS = 2  # of so many pairs
STARTS = (
    "the first number of each pair is its start, as it seems; needed: the gap since the end of the "
    "run before (SIIM-ACR)"
)


def decode(text: str, height: int, width: int) -> Bool:
    """The (height, width) mask of one row.

    Args:
        text: `"gap length gap length …"` or `-1`; blanks around it are ignored (the stage-1
            file writes ` -1`).
        height, width: size of the image the row belongs to, px. The text does not hold it.

    Raises:
        DataError: not text, not whole numbers, an odd count, a negative number, or a run past
            the end.

    >>> decode("1 2", 2, 2).astype(int).tolist()
    [[0, 1], [1, 0]]
    """
    if height < 1 or width < 1:
        raise DataError(f"mask size {height}×{width}: needed: at least 1×1 px")
    columns = np.zeros((width, height), np.bool_)
    if not _is_empty(text):
        columns = _expand(_numbers(text), height * width).reshape(width, height)
    return np.ascontiguousarray(columns.T)


def encode(mask: NDArray[np.generic]) -> str:
    """The text of a (height, width) mask; every value other than 0 counts as set.

    Raises:
        DataError: the mask is not two-dimensional or has no pixels.
    """
    if mask.ndim != 2 or mask.size == 0:
        raise DataError(f"mask is {mask.shape}; needed: (height, width), not empty")
    flat = np.zeros(mask.size + 2, np.int8)
    flat[1:-1] = (mask.T != 0).ravel()
    steps = np.diff(flat)
    starts, ends = np.flatnonzero(steps == 1), np.flatnonzero(steps == -1)
    if not starts.size:
        return EMPTY
    gaps = starts - np.concatenate([[0], ends[:-1]])
    return " ".join(map(str, np.stack([gaps, ends - starts], axis=1).ravel().tolist()))


def union(rows: Iterable[str], height: int, width: int) -> Bool:
    """The mask of an image that has several rows; no row at all is an empty mask.

    Raises:
        DataError: as `decode`.
    """
    mask = np.zeros((height, width), np.bool_)
    for text in rows:
        mask |= decode(text, height, width)
    return mask


def union_of(reference: str) -> Bool:
    """The mask of a catalog's "rle:HEIGHTxWIDTH:rows", the rows joined by ";".

    Raises:
        DataError: of another form, or as `decode`.
    """
    match = re.fullmatch(r"rle:(\d{1,5})x(\d{1,5}):(.*)", reference, re.DOTALL)
    if not match:
        raise DataError(f"{_shown(reference)}; needed: rle:HEIGHTxWIDTH:run lengths")
    return union(match[3].split(";"), int(match[1]), int(match[2]))


def runs(text: str) -> NDArray[np.int64]:
    """(n, 2) start and end of each run in column-major order, without building the mask.

    Raises:
        DataError: not whole numbers, an odd count or a negative number.
    """
    if _is_empty(text):
        return np.zeros((0, 2), np.int64)
    edges = np.cumsum(_numbers(text))
    if (edges[1:] < edges[:-1]).any():  # a sum that wrapped around
        raise DataError(f"run lengths {_shown(text)} are too large for any image")
    return edges.reshape(-1, 2)


def are_starts(rows: Iterable[str]) -> bool:
    """Whether a table's pairs look like (start, length) instead of (gap, length): starts rise, gaps
    between the columns of one shape do not. Of 3,576 masks of SIIM-ACR not one is like that. Rows
    that are no run lengths tell nothing here.
    """
    telling = [own for text in rows if len(own := _pairs(text)) >= TELLING]
    rising = ((own[1:, 0] >= own[:-1].sum(axis=1)).all() for own in telling)
    return len(telling) >= ROWS and all(rising)


def _pairs(text: str) -> NDArray[np.int64]:
    """(n, 2) as they stand there, none of what is no run lengths."""
    try:
        numbers = _numbers(text)
    except DataError:
        numbers = np.zeros(0, np.int64)
    return numbers.reshape(-1, 2)


def area(text: str) -> int:
    """Number of set pixels, without building the mask."""
    return 0 if _is_empty(text) else int(_numbers(text)[1::2].sum())


def _is_empty(text: str) -> bool:
    # A table read without dtype=str gives NaN for a blank, and numbers for a column of -1.
    if not isinstance(text, str):
        raise DataError(f"run lengths {text!r}: needed: text; read the table with dtype=str")
    return text.strip() == EMPTY


def _numbers(text: str) -> NDArray[np.int64]:
    words = text.split()
    try:
        numbers = np.array(words, np.int64)
    except (ValueError, OverflowError):
        raise DataError(
            f"run lengths {_shown(text)}: needed: whole numbers separated by blanks, or -1"
        ) from None
    if numbers.size == 0 or numbers.size % 2:
        raise DataError(
            f"run lengths {_shown(text)} hold {numbers.size} numbers; needed: pairs of gap and "
            "length (an empty mask is -1). Is the cell cut off?"
        )
    if numbers.min() < 0:
        raise DataError(
            f"run lengths {_shown(text)} hold the negative number {numbers.min()}; only a row "
            "that is nothing but -1 may be negative"
        )
    return numbers


def _expand(numbers: NDArray[np.int64], pixels: int) -> Bool:
    # A sum in Python integers cannot wrap around, whatever the file says.
    end = sum(numbers.tolist())
    if end > pixels:
        raise DataError(
            f"run lengths end at pixel {end}, but the image has {pixels}; is the size right "
            "(SIIM-ACR masks are 1024×1024), and are the gaps relative?"
        )
    flat = np.zeros(pixels, np.bool_)
    values = np.resize(np.array([False, True]), numbers.size)
    flat[:end] = np.repeat(values, numbers)
    return flat


def _shown(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:37] + "…")
