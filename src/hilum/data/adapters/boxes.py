"""Rows of boxes -> the columns of a catalog. Knows no set and no file.

A damaged box (NaN, text, infinite, reversed, parts of the image among pixels) says that something
is there and not where: its image is unknown, neither without boxes nor with the others only.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hilum.core.errors import DataError
from hilum.data.adapters.source import Source

CORNERS = ("x1", "y1", "x2", "y2")
UNNAMED = "box"  # what boxes without a label are called


def group_boxes(
    rows: pd.DataFrame, images: pd.Series[str], source: Source, annotated: pd.Series[bool]
) -> pd.DataFrame:
    """Columns boxes and box_labels for each image, in the order of the rows.

    Boxes outside the image or without area stay: they are the set's truth, and `hilum data check`
    reports them.

    Raises:
        DataError: all boxes end within the first pixel: they are parts of the image.

    Args:
        rows: image_id, x1, y1, x2, y2 (px), label.
        images: the catalog's image ids.
        annotated: for each of `images`, whether "no box" means that there is none.
    """
    rows = rows.copy()
    good = proper(rows)
    _say_damaged(rows[~good], "boxes with NaN or reversed corners", source)
    _check_pixels(rows.loc[good, list(CORNERS)].to_numpy(np.float64), source)
    parts = good & _in_parts(rows)
    _say_damaged(rows[parts], "boxes end within the first pixel, as parts of the image", source)
    rows.loc[parts, list(CORNERS)] = np.nan
    good &= ~parts
    unknown = images.isin(rows.loc[~good, "image_id"])
    rows = rows[good & rows["image_id"].isin(images)]
    position = pd.Index(images).get_indexer(pd.Index(rows["image_id"]))
    order = np.argsort(position, kind="stable")
    counts = np.bincount(position, minlength=len(images))
    ends = np.cumsum(counts)
    flat = rows[list(CORNERS)].to_numpy(np.float64)[order]
    labels = rows["label"].to_numpy(object)[order]
    boxes = np.empty(len(images), object)
    names = np.empty(len(images), object)
    for i in np.flatnonzero((counts > 0) & ~unknown.to_numpy(bool)):
        part = slice(ends[i] - counts[i], ends[i])
        boxes[i], names[i] = flat[part].ravel().tolist(), labels[part].tolist()
    for i in np.flatnonzero((counts == 0) & (annotated & ~unknown).to_numpy(bool)):
        boxes[i], names[i] = [], []
    return pd.DataFrame({"boxes": boxes, "box_labels": names}, index=images.index)


def tell_unnamed(rows: pd.Series[bool], source: Source) -> None:
    """Say how many boxes have no label of their own."""
    source.note(int(rows.sum()), f"boxes have no label: they are called {UNNAMED!r}")


def _say_damaged(rows: pd.DataFrame, what: str, source: Source) -> None:
    first = next(iter(rows["image_id"]), "")
    source.skip("damaged-box", len(rows), f"{what}: no box of their images is known", first)


def _in_parts(rows: pd.DataFrame) -> pd.Series[bool]:
    """A true box of the first pixel has whole corners, parts of an image have not."""
    corners = rows[list(CORNERS)]
    return (corners <= 1).all(axis=1) & (corners % 1 != 0).any(axis=1) & (corners >= 0).all(axis=1)


def _check_pixels(corners: NDArray[np.float64], source: Source) -> None:
    if len(corners) and corners.max() <= 1 and (corners % 1).any():
        raise DataError(
            f"set {source.name!r}: no box reaches beyond {corners.max():.3g}: they are parts of "
            "the image (0 to 1); needed: pixels"
        )


def proper(rows: pd.DataFrame) -> pd.Series[bool]:
    """Which rows have finite corners in their order."""
    corners = rows[list(CORNERS)].to_numpy(np.float64)
    good = np.isfinite(corners).all(axis=1)
    good &= (corners[:, 2] >= corners[:, 0]) & (corners[:, 3] >= corners[:, 1])
    return pd.Series(good, rows.index)


def labels_of_boxes(
    rows: pd.DataFrame, images: pd.Series[str], names: Iterable[str], annotated: pd.Series[bool]
) -> pd.DataFrame:
    """label_<name>: 1 where a box of it is, 0 where none is, NaN where that is not known.

    Args:
        rows, images, annotated: as `group_boxes`; a damaged box without label may be of any.
    """
    good = proper(rows)
    out = {}
    for name in names:
        own = rows["label"] == name
        present = images.isin(rows.loc[own & good, "image_id"])
        damaged = images.isin(rows.loc[(own | rows["label"].isna()) & ~good, "image_id"])
        known = annotated & (present | ~damaged)
        out[f"label_{name}"] = present.astype("float32").where(known)
    return pd.DataFrame(out, index=images.index)
