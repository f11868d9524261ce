"""`hilum-images.csv`: what no annotation format holds of an image, beside an export of hilum.

Written by `hilum data convert`; every reader of such a folder fills it in, so that an image keeps
its id, its patient, its split and its labels on the way out and back.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from hilum.core.files import write_text
from hilum.data.adapters.source import Source
from hilum.data.adapters.values import numbers
from hilum.data.catalog import Catalog
from hilum.data.cells import to_csv
from hilum.data.columns import NUMBERS, TEXT

FILE = "hilum-images.csv"
NAME = "name"  # what the export calls the image
PATH = "path"  # where the file was, below the catalog's own root
KEPT = tuple(c for c in TEXT if c != PATH)
LABELS = ("label_", "study_")


def write(catalog: Catalog, names: dict[str, str], folder: Path) -> None:
    """Write the table; `names` says what the export calls each image id."""
    own = [c for c in map(str, catalog.table) if c.startswith(LABELS)]
    table = catalog.table[[PATH, *KEPT, *NUMBERS, *own]].copy()
    table.insert(0, NAME, table["image_id"].map(names))
    write_text(folder / FILE, to_csv(table))


def fill(table: pd.DataFrame, names: pd.Series[str], source: Source) -> pd.DataFrame:
    """`table` as it left hilum, where the folder holds the file; else as it is.

    Args:
        names: what the annotations call each row.
    """
    file = source.find(FILE)
    if file is None:
        return table
    stored = source.table(file, [NAME, PATH, *KEPT, *NUMBERS]).drop(columns=PATH)
    stored = stored.drop_duplicates(NAME).set_index(NAME)
    here = names.isin(stored.index)
    own = stored.reindex(names[here])
    out = table.copy()
    for column in stored:
        values = own[column]
        if column not in KEPT:
            values = numbers(values)
        if column not in out:
            out[column] = np.nan if column not in KEPT else ""
        out[column] = out[column].astype(object)
        out.loc[here, column] = values.to_numpy(object)
        if column not in KEPT:
            out[column] = out[column].astype("float64")
    return out


def paths(source: Source) -> dict[str, str]:
    """What the export calls an image -> its file, of those that are here where they were."""
    file = source.find(FILE)
    if file is None:
        return {}
    stored = source.table(file, [NAME, PATH])
    pairs = zip(stored[NAME], stored[PATH], strict=True)
    return {name: path for name, path in pairs if path and (source.root / path).is_file()}
