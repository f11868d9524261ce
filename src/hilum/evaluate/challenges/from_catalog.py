"""A catalog in a challenge's own form: the truth of a part that was held out of its training set.

The table holds the columns of the challenge's truth and of its sample submission. Images whose
annotation the challenge needs and nobody made are left out, studies without a class too.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from hilum.core.errors import ConfigError, DataError
from hilum.data.catalog import Catalog, open_catalog
from hilum.data.formats import runs
from hilum.data.frames import same_shape
from hilum.data.pixels import open_mask
from hilum.evaluate.challenges.siim_covid import STUDY_COLUMNS

SUFFIX = ".parquet"
SIDE = 1024  # px of every RSNA image and every SIIM-ACR mask
FINDING, MASK = "opacity", "mask_pneumothorax"
NOTHING = "none 1 0 0 1 1"


def challenge_table(challenge: str, source: str | Path) -> pd.DataFrame:
    """A catalog file as the challenge's truth and sample: one table.

    RSNA boxes are scaled to the challenge's 1024 px, SIIM-COVID boxes stay in the pixels of the
    catalog's files, pneumothorax masks are run lengths at 1024.

    Raises:
        ConfigError: an unknown challenge.
        DataError: no catalog, nothing annotated of what the challenge asks, or images of another
            shape than the challenge's.
    """
    if challenge not in TABLES:
        raise ConfigError(f"unknown challenge {challenge!r}; known: {', '.join(TABLES)}")
    table = TABLES[challenge](open_catalog(source))
    if not len(table):
        raise DataError(f"{source}: no image is annotated as {challenge} needs it")
    return table.astype(str)


def _rsna(catalog: Catalog) -> pd.DataFrame:
    rows: list[dict[str, object]] = []
    for name, boxes, size in _boxes(catalog):
        if not same_shape(size, (SIDE, SIDE)):
            raise DataError(
                f"{name}: {size[0]} × {size[1]} px; needed: {SIDE} × {SIDE} or square copies of it"
            )
        blank = {"patientId": name, "x": "", "y": "", "width": "", "height": "", "Target": 0}
        corners = boxes * (SIDE / size[0])
        rows += [
            {"patientId": name, "x": x1, "y": y1, "width": x2 - x1, "height": y2 - y1, "Target": 1}
            for x1, y1, x2, y2 in corners.tolist()
        ] or [blank]
    return pd.DataFrame(rows).assign(PredictionString="")


def _siim_covid(catalog: Catalog) -> pd.DataFrame:
    rows = {}
    for name in STUDY_COLUMNS:
        column = f"study_{name}"
        if column not in catalog.table:
            raise DataError(f"catalog {catalog.name!r} has no {column}; siim-covid needs it")
        for study in catalog.table.loc[catalog.table[column] == 1, "study"].unique():
            rows[f"{study}_study"] = f"{name} 1 0 0 1 1"
    for name, boxes, _ in _boxes(catalog):
        drawn = (f"{FINDING} 1 " + " ".join(f"{v:.3f}" for v in box) for box in boxes)
        rows[f"{name}_image"] = " ".join(drawn) or NOTHING
    return pd.DataFrame({"id": list(rows), "PredictionString": list(rows.values())})


def _siim_acr(catalog: Catalog) -> pd.DataFrame:
    if MASK not in catalog.table:
        raise DataError(f"catalog {catalog.name!r} has no {MASK}; siim-acr needs it")
    known = catalog.table[catalog.table[MASK].notna()]
    coded = [runs.encode(open_mask(catalog.root, one, SIDE, SIDE)) for one in known[MASK]]
    return pd.DataFrame({"ImageId": known["image_id"], "EncodedPixels": coded})


TABLES: dict[str, Callable[[Catalog], pd.DataFrame]] = {
    "rsna": _rsna,
    "siim-covid": _siim_covid,
    "siim-acr": _siim_acr,
}


class _Boxed(NamedTuple):
    image_id: str
    boxes: np.ndarray  # (n, 4) of opacities
    size: tuple[int, int]  # width and height


def _boxes(catalog: Catalog) -> list[_Boxed]:
    """Every image whose boxes are known."""
    out = []
    columns = (catalog.table[name] for name in ("image_id", "width", "height"))
    for row, (name, width, height) in enumerate(zip(*columns, strict=True)):
        boxes = catalog.boxes(row)
        if boxes is not None:
            keep = np.array([label == FINDING for label in boxes[1]], np.bool_)
            out.append(_Boxed(str(name), boxes[0][keep].reshape(-1, 4), (int(width), int(height))))
    return out
