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
from hilum.train.samples import Prepared, PreparedImage, prepare_rows, prepared
from hilum.train.sources import Source

IMAGES, MASKS, REST = ".images", ".masks", ".annotations"
# What of a source says nothing of what an image is prepared to.
WITHOUT_EFFECT = {"weight", "group", "pool", "hold_out", "folds", "cache"}
BLANK: NDArray[Any] = np.zeros((0, 0))  # in the place of what lies in the other files


def cached_rows(
    source: Source, rows: Sequence[int], spec: Preprocessing, folder: Path | None
) -> Prepared:
    """The rows of a source, prepared; with a folder, from there if it has them already."""
    if folder is None or not len(rows):
        return prepare_rows(source, rows, spec)
    part = source.lessons.table.iloc[list(rows)]
    options = source.options.model_dump(mode="json", exclude=WITHOUT_EFFECT)
    content = json.dumps([spec.to_json(), repr(source.targets), options], sort_keys=True)
    content += part.to_json(default_handler=str) + json.dumps(_stamps(source.catalog, part["path"]))
    place = folder / hashlib.sha256(content.encode()).hexdigest()[:16]
    if not place.with_suffix(REST).is_file():
        folder.mkdir(parents=True, exist_ok=True)
        _write(source, rows, spec, place)
    out = _read(place, spec.size)
    out.rows = [rows[place] for place in out.rows]
    return out


def _write(source: Source, rows: Sequence[int], spec: Preprocessing, place: Path) -> None:
    """Image by image: they need not fit into memory together. Rows are kept by their place."""
    out, places = Prepared(), {row: place for place, row in enumerate(rows)}
    with ExitStack() as stack:
        images, masks = (
            stack.enter_context(
                stack.enter_context(atomic_path(place.with_suffix(suffix))).open("wb")
            )
            for suffix in (IMAGES, MASKS)
        )
        for row, one in prepared(source, rows, spec):
            if not isinstance(one, PreparedImage):
                out.unreadable[f"{source.name}/{source.catalog.table['image_id'].iat[row]}"] = one
                continue
            images.write(one.image.tobytes())
            for mask in one.masks.values():
                masks.write(mask.tobytes())
            out.images.append(replace(one, image=BLANK, masks=dict.fromkeys(one.masks, BLANK)))
            out.rows.append(places[row])
    with atomic_path(place.with_suffix(REST)) as temporary:  # last: the others are whole
        temporary.write_bytes(pickle.dumps(out))


def _read(place: Path, size: int) -> Prepared:
    # Our own file, named by what is in it.
    out: Prepared = pickle.loads(place.with_suffix(REST).read_bytes())  # noqa: S301
    count = sum(len(one.masks) for one in out.images)
    images = _mapped(place.with_suffix(IMAGES), np.float16, len(out.images), size)
    masks = iter(_mapped(place.with_suffix(MASKS), np.uint8, count, size))
    out.images = [
        replace(one, image=image, masks={name: next(masks) for name in one.masks})
        for one, image in zip(out.images, images, strict=True)
    ]
    return out


def _mapped(file: Path, kind: type[np.generic], count: int, size: int) -> NDArray[Any]:
    if not count:  # an empty file cannot be mapped
        return np.zeros((0, size, size), kind)
    return np.memmap(file, kind, "r", shape=(count, size, size))


def _stamps(catalog: Catalog, paths: Any) -> list[tuple[int, int]]:
    """Size and time of change of every file: an image changed in place is prepared anew."""
    names = dict.fromkeys(path.partition("!")[0] for path in paths)
    files = [catalog.root / name for name in names]
    stats = [file.stat() if file.is_file() else None for file in files]
    return [(0, 0) if one is None else (one.st_size, one.st_mtime_ns) for one in stats]
