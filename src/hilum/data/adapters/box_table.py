"""A table with a row a box, whatever form its boxes have -> columns of the catalog.

Knows cells and sizes of images; no set and no file.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from hilum.core.errors import DataError
from hilum.data.adapters.boxes import (
    CORNERS,
    UNNAMED,
    group_boxes,
    labels_of_boxes,
    tell_unnamed,
)
from hilum.data.adapters.source import Source
from hilum.data.adapters.turned import upright
from hilum.data.adapters.values import NOTHING, numbers, plain, texts

# What four columns may be: two corners; the upper left one and the size; the centre and the size.
FORMS = (CORNERS, ("x", "y", "w", "h"), ("xc", "yc", "w", "h"))
LABEL = "box_label"
KEYS = {*FORMS[0], *FORMS[1], *FORMS[2], LABEL}
# Unit -> what the whole side of an image is in it; 0: as many as it has pixels.
UNITS = {"pixels": 0.0, "parts": 1.0, "percent": 100.0}


def read_boxes(
    cells: pd.DataFrame, columns: Mapping[str, str], unit: str, source: Source
) -> pd.DataFrame:
    """x1, y1, x2, y2 in `unit`, label, and blank (no box: its image has none); index of `cells`.

    Blank are rows whose numbers are blank, or all 0, and those that say "no finding" of a pixel.

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
    out["label"] = texts(cells[columns[LABEL]]) if LABEL in columns else UNNAMED
    zero = np.all([numbers(column) == 0 for column in text], axis=0)
    source.note(int(zero.sum()), "rows have a box of 0, 0, 0, 0: their images have none")
    nothing = out["label"].map(plain).isin(NOTHING) & (out[list(CORNERS)].max(axis=1) <= 1)
    out["blank"] = np.all([texts(column) == "" for column in text], axis=0) | zero | nothing
    tell_unnamed((out["label"] == "") & ~out["blank"], source)
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
    rows: pd.DataFrame, images: pd.DataFrame, facts: pd.DataFrame, unit: str, *, source: Source
) -> pd.DataFrame:
    """width, height, boxes, box_labels and label_<name> for each of `images`, as they are shown.

    An image with a row is annotated: a blank one says that it has no box.

    Args:
        rows: as `read_boxes`, with image_id.
        images: image_id, and width and height where the table states them.
        facts: of their files, as `headers.read_headers`.
    """
    drawn = rows[~rows["blank"]].copy()
    stated = images.reindex(columns=["image_id", "width", "height"])
    frame = upright(stated, facts, drawn, source)
    if UNITS[unit]:
        sides = frame.sizes.set_index(images["image_id"]).loc[drawn["image_id"]]
        scale = sides.where(sides > 0).to_numpy(np.float64) / UNITS[unit]
        drawn[list(CORNERS)] = drawn[list(CORNERS)].to_numpy() * np.tile(scale, 2)
    else:
        drawn = frame.boxes
    ids = images["image_id"]
    annotated = ids.isin(rows["image_id"])
    both = set(drawn["image_id"]) & set(rows.loc[rows["blank"], "image_id"])
    source.note(len(both), "images have rows with a box and a row without: the boxes count")
    boxes = group_boxes(drawn, ids, source, annotated)
    boxes[frame.unclear] = None
    labels = labels_of_boxes(drawn, ids, sorted(drawn["label"].unique()), annotated)
    return pd.concat([frame.sizes, boxes, labels], axis=1)
