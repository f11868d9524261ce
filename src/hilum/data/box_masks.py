"""Boxes of a catalog -> a mask column, as run lengths in the table (B6).

A pixel is set where its centre lies in a box; boxes drawn on one another are one region. Writes no
file.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from hilum.core.errors import DataError
from hilum.data.catalog import Catalog
from hilum.data.formats.runs import encode

ALL = "boxes"  # name of a mask of boxes of several labels


def mask_of_boxes(boxes_px: ArrayLike, height: int, width: int) -> NDArray[np.bool_]:
    """(height, width) union of (n, 4) boxes x1, y1, x2, y2 in pixel edges."""
    out = np.zeros((height, width), np.bool_)
    for x1, y1, x2, y2 in np.asarray(boxes_px, np.float64).reshape(-1, 4):
        # Centres lie at .5: pixel c is inside from x1 <= c + .5 on, up to c + .5 < x2.
        left, top = (max(0, int(np.ceil(v - 0.5))) for v in (x1, y1))
        right, bottom = (max(0, int(np.ceil(v - 0.5))) for v in (x2, y2))
        out[top:bottom, left:right] = True
    return out


def with_box_masks(catalog: Catalog, label: str = "") -> tuple[Catalog, str]:
    """The catalog with a mask column drawn from its boxes, and the column's name.

    It is called mask_<label>, in the place of a drawn mask of that name; nothing where nobody
    annotated boxes.

    Args:
        label: only boxes of it; "" all.

    Raises:
        DataError: no box has that label.
    """
    known = catalog.box_names
    if label and label not in known:
        raise DataError(f"no box is called {label!r}; name one of: {', '.join(known) or 'none'}")
    column = f"mask_{label or (known[0] if len(known) == 1 else ALL)}"
    masks = [_reference(catalog, row, label) for row in range(len(catalog.table))]
    drawn = pd.Series(masks, index=catalog.table.index, dtype=object)
    return replace(catalog, table=catalog.table.assign(**{column: drawn})), column


def _reference(catalog: Catalog, row: int, label: str) -> str | None:
    boxes = catalog.exact_boxes(row)
    if boxes is None:
        return None
    wanted = [not label or name == label for name in boxes[1]]
    width, height = catalog.frame(row)
    mask = mask_of_boxes(boxes[0][wanted], height, width)
    return f"rle:{height}x{width}:{encode(mask)}" if mask.any() else ""
