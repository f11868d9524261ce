"""Prepared images on disk are those of memory, and are prepared anew when an image changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from helpers.phantom_set import catalog
from hilum.core.prepare import Preprocessing
from hilum.data.phantom.phantom import phantom, write_png
from hilum.models.model import Targets
from hilum.train.cache import cached_rows
from hilum.train.folder import SWEEP, RunFolder
from hilum.train.options import SourceOptions
from hilum.train.recipe import load_recipe
from hilum.train.sources import Source

SPEC = Preprocessing(64)


def test_a_cached_image_is_the_prepared_one_until_its_file_changes(tmp_path: Path) -> None:
    images, store = catalog(tmp_path, "own", 4), tmp_path / "cache"
    source = Source(SourceOptions(set="own"), images, Targets(masks=("opacity",)), {})
    (tmp_path / "own" / "03.png").write_bytes(b"damaged")
    rows = [0, 2, 3]
    plain = cached_rows(source, rows, SPEC, None)
    first = cached_rows(source, rows, SPEC, store)
    written = {file: file.stat().st_mtime_ns for file in store.iterdir()}
    again = cached_rows(source, rows, SPEC, store)
    assert {file: file.stat().st_mtime_ns for file in store.iterdir()} == written
    heavier = Source(SourceOptions(set="own", weight=0.5), images, source.targets, {})
    cached_rows(heavier, rows, SPEC, store)  # a share of the batch is no other image
    assert {file: file.stat().st_mtime_ns for file in store.iterdir()} == written
    assert plain.rows == first.rows == again.rows == [0, 2]
    assert set(plain.unreadable) == set(again.unreadable) == {"own/own-03"}
    for a, b, c in zip(plain.images, first.images, again.images, strict=True):
        assert a.image_id == b.image_id == c.image_id
        assert isinstance(c.image, np.memmap)
        assert isinstance(c.masks["opacity"], np.memmap)
        np.testing.assert_array_equal(a.image, b.image)
        np.testing.assert_array_equal(a.image, c.image)
        np.testing.assert_array_equal(a.boxes, c.boxes)
        np.testing.assert_array_equal(a.masks["opacity"], c.masks["opacity"])

    write_png(phantom(9, 96, 96, opacities=1), tmp_path / "own" / "02.png", bits=8)
    changed = cached_rows(source, rows, SPEC, store).images
    np.testing.assert_array_equal(changed[0].image, plain.images[0].image)
    assert not np.array_equal(changed[1].image, plain.images[1].image)


def test_the_runs_of_a_sweep_prepare_their_images_once(tmp_path: Path) -> None:
    recipe = load_recipe("default")
    alone = RunFolder(tmp_path / "runs" / "own", recipe)
    assert alone.cache == tmp_path / "runs" / "cache"
    (tmp_path / SWEEP).write_text("{}")
    variants = [RunFolder(tmp_path / name / "seed-1", recipe).cache for name in ("a", "b")]
    assert variants == [tmp_path / "cache"] * 2
