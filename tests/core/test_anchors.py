"""Anchors and box coding against the second place's RetinaNet."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from hilum.core.anchors import AnchorGrid


def test_anchors_are_neither_rounded_nor_shifted(oracles: Path) -> None:
    truth = json.loads((oracles / "retinanet_anchors.json").read_text())
    anchors = AnchorGrid().anchors(512)
    assert len(anchors) == truth["n_total_P2_P7"] == 196_560
    np.testing.assert_allclose(anchors[:18], truth["first18"], atol=1e-4)
    np.testing.assert_allclose(anchors[-9:], truth["last9"], atol=1e-3)
    without_p2 = AnchorGrid(levels=(3, 4, 5, 6, 7)).anchors(512)
    assert len(without_p2) == truth["n_total_P3_P7"]


def test_deltas_decode_as_published(oracles: Path) -> None:
    truth = json.loads((oracles / "retinanet_box_decode.json").read_text())
    decoded = AnchorGrid().decode(truth["deltas"][0], truth["anchors"][0])
    np.testing.assert_allclose(decoded, truth["decoded"][0], atol=1e-3)


@given(seed=st.integers(0, 999))
@settings(max_examples=50, deadline=None)
def test_encoding_and_decoding_are_inverse(seed: int) -> None:
    rng = np.random.default_rng(seed)
    grid = AnchorGrid(levels=(4,), ratios=(1.0, 2.0), scales=(1.0,))
    anchors = grid.anchors(64)
    corner = rng.uniform(0, 40, (len(anchors), 2))
    boxes = np.concatenate([corner, corner + rng.uniform(1, 60, corner.shape)], axis=1)
    np.testing.assert_allclose(grid.decode(grid.encode(boxes, anchors), anchors), boxes, atol=1e-2)


def test_wild_deltas_do_not_overflow() -> None:
    grid = AnchorGrid(levels=(4,), ratios=(1.0,), scales=(1.0,))
    anchors = grid.anchors(32)
    assert np.isfinite(grid.decode(np.full_like(anchors, 1e6), anchors)).all()
