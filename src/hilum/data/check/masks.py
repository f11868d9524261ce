"""What is wrong with masks that a catalog holds as run lengths, each alone and all of a set.

Knows the catalog, no file: masks that are files are read by `files`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hilum.core.errors import DataError
from hilum.data.catalog import Catalog
from hilum.data.check.boxes import Problem, shared
from hilum.data.formats.runs import runs

FILLED = 0.95  # of the image
_RLE = re.compile(r"rle:(\d+)x(\d+):(.*)", re.DOTALL)


def mask_problems(catalog: Catalog) -> Iterator[Problem]:
    """image_id, code, text of each problem."""
    for column in (c for c in map(str, catalog.table) if c.startswith("mask_")):
        own = catalog.table[["image_id", column]].dropna()
        drawn = own[own[column].str.startswith("rle:")]
        yield from _of_column(drawn.rename(columns={column: "mask"}), column)


def _of_column(drawn: pd.DataFrame, column: str) -> Iterator[Problem]:
    images, extents, frames = [], [], []
    for image, reference in drawn.itertuples(index=False):
        match = _RLE.fullmatch(reference)
        try:
            pieces = [runs(row) for row in match[3].split(";")] if match else []
        except DataError:  # whoever opens it says so
            continue
        if match is None or not any(map(len, pieces)):
            continue
        height, width = int(match[1]), int(match[2])
        if words := _background(pieces, height * width):
            yield str(image), "mask-odd", f"{column}: {words}"
        images.append(str(image))
        extents.append(_extent(np.concatenate(pieces), height))
        frames.append((width, height, width, height))
    if images:
        code, text = shared(np.array(extents, float), np.array(frames, float), f"{column}: masks")
        yield from ((image, code, text) for image in images if code)


def _background(pieces: list[NDArray[np.int64]], pixels: int) -> str:
    """Nothing that is drawn in a chest fills the image, or its first and last corner and most
    of it."""
    area = sum(int((own[:, 1] - own[:, 0]).sum()) for own in pieces)
    ends = min(own[0, 0] for own in pieces) == 0, max(own[-1, 1] for own in pieces) == pixels
    if area > FILLED * pixels or (area > pixels / 2 and all(ends)):
        return f"it covers {area / pixels:.0%} of the image: is it the background that is drawn?"
    return ""


def _extent(pieces: NDArray[np.int64], height: int) -> tuple[int, int, int, int]:
    """x1, y1, x2, y2 around runs in column-major order."""
    start, last = pieces[:, 0], pieces[:, 1] - 1
    over = last // height > start // height  # a run that goes on in the next column
    top = np.where(over, 0, start % height).min()
    bottom = np.where(over, height, last % height + 1).max()
    return int((start // height).min()), int(top), int((last // height).max()) + 1, int(bottom)
