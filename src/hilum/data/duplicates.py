"""Which rows of a catalog show the same picture.

Two pictures are the same where their decoded greys are, whatever the file format, size of the
header or photometric interpretation. A file that cannot be read has no key.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import pandas as pd

from hilum.core.errors import DataError, InputRefused
from hilum.core.radiograph import Radiograph
from hilum.data.catalog import Catalog
from hilum.data.pixels import open_radiograph


def picture_keys(catalog: Catalog, workers: int = 2) -> Iterator[str | None]:
    """One key a row, equal for equal pictures; None without a readable file."""

    def key(path: str) -> str | None:
        if not path:
            return None
        try:
            return picture_key(open_radiograph(catalog.root, path))
        except (InputRefused, DataError):
            return None

    with ThreadPoolExecutor(workers) as pool:
        yield from pool.map(key, catalog.table["path"])


class Compared(NamedTuple):
    """A catalog whose pictures were read."""

    catalog: Catalog  # without files that cannot be read
    keys: pd.Series[str]  # of its pictures: equal ones have one key
    unreadable: list[str]  # files


def compared(
    catalog: Catalog, workers: int = 2, advance: Callable[[], None] = lambda: None
) -> Compared:
    """Read every picture.

    Args:
        advance: called after each image.

    Raises:
        DataError: the folder of the catalog is not there.
    """
    catalog.need_files()
    found = []
    for key in picture_keys(catalog, workers):
        found.append(key)
        advance()
    keys = pd.Series(found, dtype=object)
    unread = (keys.isna() & (catalog.table["path"] != "")).to_numpy(bool)
    left = catalog.table.loc[unread, "path"].tolist()
    kept = catalog.without(unread, "unreadable", "images cannot be read: in no part")
    return Compared(kept, keys[~unread].reset_index(drop=True), left)


def picture_key(radiograph: Radiograph) -> str:
    """SHA-256 of size and greys, at the file's own depth: float noise does not count."""
    levels = 2**radiograph.decoding.bits_stored - 1
    greys = np.round(radiograph.pixels.astype(np.float64) * levels).astype("<u2")
    digest = hashlib.sha256(f"{greys.shape}".encode())
    digest.update(greys.tobytes())
    return digest.hexdigest()
