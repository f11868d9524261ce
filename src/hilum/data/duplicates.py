"""Which rows of a catalog show the same picture.

Two pictures are the same where their decoded greys are, whatever the file format, size of the
header or photometric interpretation. A file that cannot be read has no key.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from hilum.core.errors import DataError, InputRefused
from hilum.core.radiograph import Radiograph
from hilum.data.catalog import Catalog
from hilum.data.pixels import open_radiograph
from hilum.data.resume import Facts, each_file


def picture_keys(
    catalog: Catalog, memory: Path, workers: int = 2, advance: Callable[[], None] = lambda: None
) -> pd.Series[str]:
    """One key a row, equal for equal pictures; None without a readable file.

    Args:
        memory: of what is read, so that a rerun goes on (`resume`).
        advance: called after each file.
    """

    def work(path: str) -> Facts:
        try:
            return {"key": picture_key(open_radiograph(catalog.root, path))}
        except (InputRefused, DataError):
            return {"key": None}

    paths, keys = catalog.table["path"], dict[str, str | None]()
    for facts in each_file(catalog.root, paths, work, memory, workers=workers):
        keys[facts["path"]] = facts["key"]
        advance()
    return pd.Series([keys.get(path) for path in paths], dtype=object)


class Compared(NamedTuple):
    """A catalog whose pictures were read."""

    catalog: Catalog  # without files that cannot be read
    keys: pd.Series[str]  # of its pictures: equal ones have one key
    unreadable: list[str]  # files


def compared(
    catalog: Catalog,
    memory: Path,
    workers: int = 2,
    advance: Callable[[], None] = lambda: None,
) -> Compared:
    """Read every picture.

    Args:
        memory, advance: as of `picture_keys`.

    Raises:
        DataError: the folder of the catalog is not there.
    """
    catalog.need_files()
    keys = picture_keys(catalog, memory, workers, advance)
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
