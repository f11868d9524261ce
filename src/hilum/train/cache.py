"""Prepared images and masks on disk, memory-mapped: reading and decoding happen once for all runs.

26,684 images of 512 px take 14 GB, each of their masks half of that.
"""

from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hilum.core.files import atomic_path
from hilum.core.prepare import Preprocessing
from hilum.data.catalog import Catalog
from hilum.models.model import Targets
from hilum.train.store import Item, prepare_item, prepare_items

IMAGES, MASKS, ITEMS = ".images", ".masks", ".items"
BLANK: NDArray[Any] = np.zeros((0, 0))  # in the place of what lies in the other files


def cached_items(
    catalog: Catalog,
    rows: Sequence[int],
    spec: Preprocessing,
    targets: Targets,
    folder: Path | None,
) -> list[Item]:
    """The rows of a catalog, prepared; with a folder, from there if it has them already."""
    keep = np.zeros(len(catalog), bool)
    keep[list(rows)] = True
    part = catalog.where(keep)
    if folder is None or not len(part):
        return prepare_items(catalog.name, part, spec, targets)
    told = json.dumps([spec.to_json(), repr(targets), catalog.name], sort_keys=True)
    told += part.table.to_json(default_handler=str) + json.dumps(_stamps(part))
    store = folder / hashlib.sha256(told.encode()).hexdigest()[:16]
    if not store.with_suffix(ITEMS).is_file():
        folder.mkdir(parents=True, exist_ok=True)
        _write(part, spec, targets, store)
    return _read(store, spec.size)


def _write(part: Catalog, spec: Preprocessing, targets: Targets, store: Path) -> None:
    """Image by image: they need not fit into memory together."""
    bare: list[Item] = []
    with ExitStack() as stack:
        images, masks = (
            stack.enter_context(
                stack.enter_context(atomic_path(store.with_suffix(suffix))).open("wb")
            )
            for suffix in (IMAGES, MASKS)
        )
        for row in range(len(part)):
            item = prepare_item(part.name, part, row, spec, targets)
            images.write(item.image.tobytes())
            for mask in item.masks.values():
                masks.write(mask.tobytes())
            bare.append(replace(item, image=BLANK, masks=dict.fromkeys(item.masks, BLANK)))
    with atomic_path(store.with_suffix(ITEMS)) as temporary:  # last: the others are whole
        temporary.write_bytes(pickle.dumps(bare))


def _read(store: Path, size: int) -> list[Item]:
    # Our own file, named by what is in it.
    bare: list[Item] = pickle.loads(store.with_suffix(ITEMS).read_bytes())  # noqa: S301
    images = _mapped(store.with_suffix(IMAGES), np.float16, len(bare), size)
    masks = iter(_mapped(store.with_suffix(MASKS), np.uint8, sum(len(i.masks) for i in bare), size))
    return [
        replace(item, image=image, masks={name: next(masks) for name in item.masks})
        for item, image in zip(bare, images, strict=True)
    ]


def _mapped(file: Path, kind: type[np.generic], count: int, size: int) -> NDArray[Any]:
    if not count:  # an empty file cannot be mapped
        return np.zeros((0, size, size), kind)
    return np.memmap(file, kind, "r", shape=(count, size, size))


def _stamps(catalog: Catalog) -> list[tuple[int, int]]:
    """Size and time of change of every file: a picture changed in place is prepared anew."""
    names = dict.fromkeys(path.partition("!")[0] for path in catalog.table["path"])
    found = [(catalog.root / name).stat() for name in names]
    return [(one.st_size, one.st_mtime_ns) for one in found]
