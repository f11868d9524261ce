"""What the readers of `$HILUM_DATA` share: a table beside its archive, labels, boxes, patients."""

from __future__ import annotations

import json
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pandas as pd

from hilum.core.errors import DataError


def table_of(folder: Path, name: str) -> tuple[pd.DataFrame, set[str]]:
    """NAME.csv, ids and patients as text, and the members of NAME.zip.

    Raises:
        DataError: one of the two is not there.
    """
    csv, archive = folder / f"{name}.csv", folder / f"{name}.zip"
    for file in (csv, archive):
        if not file.is_file():
            raise DataError(f"set {name!r} needs {file}, which is not there")
    with ZipFile(archive) as opened:
        members = set(opened.namelist())
    text = ("id", "patient", "patientid", "split_group", "siim_covid_id", "nih_id", "rsna_id")
    return pd.read_csv(csv, dtype=dict.fromkeys(text, str)), members


def image_reference(name: str, ids: pd.Series[str]) -> pd.Series[str]:
    """The reference of each image in the archive."""
    return f"{name}.zip!images/" + ids.str.removesuffix(".png") + ".webp"


def one_hot(names: pd.Series[str], classes: dict[str, str], prefix: str = "label") -> pd.DataFrame:
    """<prefix>_<class> columns: 1 / 0 where the class is known, NaN elsewhere."""
    known = names.isin(list(classes))
    columns = {
        f"{prefix}_{short}": np.where(known, names == text, np.nan)
        for text, short in classes.items()
    }
    return pd.DataFrame(columns, index=names.index, dtype="float32")


def corners(text: object, scale: float = 1.0) -> list[float]:
    """JSON [[x, y, w, h], ...] as flat x1, y1, x2, y2; what is no text holds no box."""
    xywh = np.array(json.loads(text) if isinstance(text, str) else [], float).reshape(-1, 4)
    flat: list[float] = (
        (np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1) * scale).ravel().tolist()
    )
    return flat


def with_boxes(table: pd.DataFrame, boxes: list[list[float] | None]) -> pd.DataFrame:
    """The columns `boxes` and `box_labels`; None where nobody looked for opacities."""
    table["boxes"] = pd.Series(boxes, index=table.index, dtype=object)
    labels = [None if flat is None else ["opacity"] * (len(flat) // 4) for flat in boxes]
    table["box_labels"] = pd.Series(labels, index=table.index, dtype=object)
    return table
