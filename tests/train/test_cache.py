"""Prepared images on disk are those of memory, and are prepared anew when a picture changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="training is not installed")

from hilum.core.prepare import Preprocessing
from hilum.data.phantom.phantom import phantom, write_png
from hilum.data.registry import load
from hilum.models.model import Targets
from hilum.train.cache import cached_items

SPEC, TARGETS = Preprocessing(64), Targets(masks=("opacity",))


def test_a_cached_image_is_the_prepared_one_until_its_file_changes(tmp_path: Path) -> None:
    folder, store = tmp_path / "set", tmp_path / "cache"
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True)
    (folder / "data.yaml").write_text("names: [opacity]\n")
    for seed in range(3):
        write_png(phantom(seed, 80, 70, opacities=1), folder / "images" / f"{seed}.png", bits=8)
        (folder / "labels" / f"{seed}.txt").write_text("0 .5 .5 .2 .2\n")
    catalog = load("yolo", folder)

    plain = cached_items(catalog, [0, 2], SPEC, TARGETS, None)
    first = cached_items(catalog, [0, 2], SPEC, TARGETS, store)
    written = {file: file.stat().st_mtime_ns for file in store.iterdir()}
    again = cached_items(catalog, [0, 2], SPEC, TARGETS, store)
    assert {file: file.stat().st_mtime_ns for file in store.iterdir()} == written
    for a, b, c in zip(plain, first, again, strict=True):
        assert a.image_id == b.image_id == c.image_id
        assert isinstance(c.image, np.memmap)
        assert isinstance(c.masks["opacity"], np.memmap)
        np.testing.assert_array_equal(a.image, b.image)
        np.testing.assert_array_equal(a.image, c.image)
        np.testing.assert_array_equal(a.boxes, c.boxes)
        np.testing.assert_array_equal(a.masks["opacity"], c.masks["opacity"])

    write_png(phantom(9, 80, 70, opacities=1), folder / "images" / "2.png", bits=8)
    changed = cached_items(catalog, [0, 2], SPEC, TARGETS, store)
    np.testing.assert_array_equal(changed[0].image, plain[0].image)
    assert not np.array_equal(changed[1].image, plain[1].image)
