"""A table with a row a box, whatever form its boxes have -> columns of the catalog.

Knows cells and sizes of images; no set and no file.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from hilum.core.errors import DataError
from hilum.data.adapters.boxes import CORNERS, group_boxes, labels_of_boxes
from hilum.data.adapters.source import Source
from hilum.data.adapters.values import numbers, texts

# What four columns may be: two corners; the upper left one and the size; the centre and the size.
FORMS = (CORNERS, ("x", "y", "w", "h"), ("xc", "yc", "w", "h"))
LABEL = "box_label"
KEYS = {*FORMS[0], *FORMS[1], *FORMS[2], LABEL}
# Unit -> what the whole side of an image is in it; 0: as many as it has pixels.
UNITS = {"pixels": 0.0, "parts": 1.0, "percent": 100.0}
UNNAMED = "box"


def read_boxes(cells: pd.DataFrame, columns: Mapping[str, str], unit: str) -> pd.DataFrame:
    """x1, y1, x2, y2 in `unit`, label, and blank (no box: its image has none); index of `cells`.

    Args:
        columns: all keys of one of `FORMS`, and perhaps `LABEL` -> columns of `cells`.

    Raises:
        DataError: no whole form, or numbers that are not in that unit.
    """
    own = {*columns} & KEYS - {LABEL}
    form = next((form for form in FORMS if own == {*form}), None)
    if form is None or unit not in UNITS:
        raise DataError(
            f"boxes: columns {', '.join(sorted(own)) or 'none'}, unit={unit!r}; needed: columns "
            f"{', or '.join(' '.join(form) for form in FORMS)}; unit {', '.join(UNITS)}"
        )
    text = [cells[columns[key]] for key in form]
    a, b, c, d = (numbers(column) for column in text)
    if form == FORMS[1]:
        c, d = a + c, b + d
    elif form == FORMS[2]:
        a, b, c, d = a - c / 2, b - d / 2, a + c / 2, b + d / 2
    out = pd.DataFrame(dict(zip(CORNERS, (a, b, c, d), strict=True)))
    _check_unit(out, unit)
    out["blank"] = np.all([texts(column) == "" for column in text], axis=0)
    out["label"] = texts(cells[columns[LABEL]]) if LABEL in columns else UNNAMED
    out.loc[out["label"] == "", "label"] = UNNAMED
    return out


def _check_unit(corners: pd.DataFrame, unit: str) -> None:
    """Raises DataError where the numbers cannot be meant so."""
    values = corners.to_numpy()
    largest = float(np.nanmax(values)) if np.isfinite(values).any() else 0.0
    whole = UNITS[unit]
    if whole and largest > 1.5 * whole:
        raise DataError(
            f"boxes: {largest:g} is no number in {unit}, which end at {whole:g}; are they pixels?"
        )
    if largest and unit != "parts" and largest <= 1:
        raise DataError(f"boxes: all numbers are up to {largest:g}; needed for parts: unit=parts")


def box_columns(
    rows: pd.DataFrame, images: pd.DataFrame, unit: str, source: Source
) -> pd.DataFrame:
    """boxes, box_labels and label_<name> for each of `images` (image_id, width, height).

    An image with a row is annotated: a blank one says that it has no box.

    Args:
        rows: as `read_boxes`, with image_id.
    """
    drawn = rows[~rows["blank"]].copy()
    if UNITS[unit]:
        sides = images.set_index("image_id")[["width", "height"]].loc[drawn["image_id"]]
        scale = sides.where(sides > 0).to_numpy(np.float64) / UNITS[unit]
        drawn[list(CORNERS)] = drawn[list(CORNERS)].to_numpy() * np.tile(scale, 2)
    ids = images["image_id"]
    annotated = ids.isin(rows["image_id"])
    boxes = group_boxes(drawn, ids, source, annotated)
    names = sorted(drawn["label"].unique())
    return pd.concat([boxes, labels_of_boxes(drawn, ids, names, annotated)], axis=1)
