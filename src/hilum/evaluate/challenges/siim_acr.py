"""The score of the SIIM-ACR pneumothorax challenge: mean Dice over run-length tables.

Works on the runs themselves, no mask is built. Several rows of an image are a union; `-1` and a
blank are empty; two empty masks agree fully.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from hilum.core.errors import DataError
from hilum.data.formats import runs as rle
from hilum.evaluate.challenges.tables import Table, read_table, same_ids

Int = NDArray[np.int64]

PIXELS = 1024 * 1024  # every image of the challenge


def siim_acr_score(truth: Table, submission: Table) -> float:
    """Mean Dice over the images of the truth.

    Args:
        truth, submission: paths or data frames with columns `ImageId,EncodedPixels` (blanks in
            the names are accepted), one or more rows an image.

    Raises:
        DataError: malformed runs, runs past the end, missing or unknown images.
    """
    scores = siim_acr_per_image(truth, submission)
    return float(np.mean(list(scores.values()))) if scores else float("nan")


def siim_acr_per_image(truth: Table, submission: Table) -> dict[str, float]:
    """Dice of each image. Arguments as in `siim_acr_score`."""
    wanted, given = masks_of(truth, "truth"), masks_of(submission, "submission")
    same_ids(wanted, given)
    return {name: _dice(runs, given[name]) for name, runs in wanted.items()}


def masks_of(source: Table, name: str) -> dict[str, Int]:
    """Disjoint runs (n, 2) start, end of each image of a table.

    Raises:
        DataError: malformed runs, or runs past the end of the image.
    """
    table = read_table(source, ("ImageId", "EncodedPixels"), name)
    if rle.are_starts(table["EncodedPixels"]):
        raise DataError(f"{name}: {rle.STARTS}")
    rows: dict[str, list[str]] = {}
    for image, text in zip(table["ImageId"], table["EncodedPixels"], strict=True):
        rows.setdefault(image.strip(), []).append(text)
    return {image: _merged([_runs(text, image) for text in texts]) for image, texts in rows.items()}


def _runs(text: str, image: str) -> Int:
    try:
        runs = rle.runs(text if text.strip() else rle.EMPTY)
    except DataError as error:
        raise DataError(f"{image}: {error}") from None
    if len(runs) and runs[-1, 1] > PIXELS:
        raise DataError(f"{image}: runs end at pixel {runs[-1, 1]}; images have {PIXELS}")
    return runs


def _merged(parts: Iterable[Int]) -> Int:
    """The union of runs as disjoint runs, by start."""
    runs = np.concatenate([np.zeros((0, 2), np.int64), *parts])
    runs = runs[runs[:, 1] > runs[:, 0]]
    if len(runs) < 2:
        return runs
    runs = runs[np.argsort(runs[:, 0], kind="stable")]
    reach = np.maximum.accumulate(runs[:, 1])
    opens = np.flatnonzero(np.append(True, runs[1:, 0] > reach[:-1]))
    closes = np.append(opens[1:] - 1, len(runs) - 1)
    return np.stack([runs[opens, 0], reach[closes]], axis=1)


def _dice(a: Int, b: Int) -> float:
    size_a, size_b = _size(a), _size(b)
    if size_a + size_b == 0:
        return 1.0
    overlap = size_a + size_b - _size(_merged([a, b]))
    return 2 * overlap / (size_a + size_b)


def _size(runs: Int) -> int:
    return int((runs[:, 1] - runs[:, 0]).sum())
