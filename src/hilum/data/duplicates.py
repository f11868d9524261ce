"""Which rows of a catalog show the same image, exactly or as a copy.

Two images are equal where their decoded greys are, whatever the file format, size of the header
or photometric interpretation. Copies are larger or smaller, compressed otherwise, mirrored or
turned (see `alike`). A file that cannot be read has no key.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from hilum.core.errors import DataError, InputRefused
from hilum.core.radiograph import Radiograph
from hilum.data.alike import THUMB, Copies, Float32, alike, thumbnail
from hilum.data.catalog import Catalog
from hilum.data.pixels import open_radiograph
from hilum.data.resume import Facts, each_file

LEVELS = 255  # of a kept thumbnail


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What images are compared by, as text that can be kept."""

    key: str  # equal for equal images
    thumb: str  # hexadecimal, a byte a pixel


def fingerprints(
    catalog: Catalog, memory: Path, workers: int = 2, advance: Callable[[], None] = lambda: None
) -> list[Fingerprint | None]:
    """One a row; None without a readable file.

    Args:
        memory: of what is read, so that a rerun goes on (`resume`).
        advance: called after each file.
    """

    def work(path: str) -> Facts:
        try:
            own = fingerprint_of(open_radiograph(catalog.root, path))
        except (InputRefused, DataError):
            return {"key": None, "thumb": ""}
        return {"key": own.key, "thumb": own.thumb}

    paths, known = catalog.table["path"], dict[str, Fingerprint]()
    for facts in each_file(catalog.root, paths, work, memory, workers=workers):
        if facts["key"] is not None:
            known[facts["path"]] = Fingerprint(facts["key"], facts["thumb"])
        advance()
    return [known.get(path) for path in paths]


class Compared(NamedTuple):
    """A catalog whose images were read."""

    catalog: Catalog  # without files that cannot be read
    keys: pd.Series[str]  # of its images: equal ones have one key
    unreadable: list[str]  # files


def compared(
    catalog: Catalog,
    memory: Path,
    workers: int = 2,
    advance: Callable[[], None] = lambda: None,
) -> Compared:
    """Read every image.

    Args:
        memory, advance: as of `fingerprints`.

    Raises:
        DataError: the folder of the catalog is not there.
    """
    catalog.need_files()
    every = fingerprints(catalog, memory, workers, advance)
    unread = np.array([one is None for one in every], bool)
    unread &= (catalog.table["path"] != "").to_numpy(bool)
    left = catalog.table.loc[unread, "path"].tolist()
    kept = catalog.without(unread, "unreadable", "images cannot be read: in no part")
    own = [one for one, lost in zip(every, unread.tolist(), strict=True) if not lost]
    keys = pd.Series([one.key if one else None for one in own], dtype=object)
    same = joined(keys, copies(one.thumb if one else None for one in own))
    return Compared(kept, same, left)


def copies(thumbs: Iterable[str | None]) -> list[Copies]:
    """The copies among them, by their places; as `alike`."""
    known = [(place, thumb) for place, thumb in enumerate(thumbs) if thumb]
    if not known:
        return []
    small = [np.frombuffer(bytes.fromhex(thumb), np.uint8) for _, thumb in known]
    stack: Float32 = np.reshape(small, (-1, THUMB, THUMB)).astype(np.float32)
    return [Copies(known[i][0], known[j][0], how) for i, j, how in alike(stack)]


def joined(keys: pd.Series[str], pairs: Iterable[Copies]) -> pd.Series[str]:
    """Keys, one for all that pairs of places join."""
    own, same = keys.tolist(), dict[str, str]()  # key -> one that stands for it

    def shared(key: str) -> str:
        while key in same:
            key = same[key]
        return key

    for i, j, _ in pairs:
        one, other = shared(own[i]), shared(own[j])
        if one != other:
            same[other] = one
    return pd.Series([key and shared(key) for key in own], keys.index, dtype=object)


def fingerprint_of(radiograph: Radiograph) -> Fingerprint:
    """SHA-256 of size and greys, at the file's own depth: float noise does not count; and a
    thumbnail, stretched to its own range."""
    levels = 2**radiograph.decoding.bits_stored - 1
    greys = np.round(radiograph.pixels.astype(np.float64) * levels).astype("<u2")
    digest = hashlib.sha256(f"{greys.shape}".encode())
    digest.update(greys.tobytes())
    small = thumbnail(radiograph.pixels)
    small = (small - small.min()) / max(float(np.ptp(small)), 1 / LEVELS)
    return Fingerprint(digest.hexdigest(), np.rint(small * LEVELS).astype(np.uint8).tobytes().hex())
