"""Overlaps and distances of masks, counted pixel by pixel; enrichment and run lengths likewise."""

from __future__ import annotations

from math import hypot
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hilum.core.errors import ConfigError, DataError, GeometryError
from hilum.data.catalog import Catalog, build
from hilum.data.formats import runs
from hilum.data.sampling import enrichment
from hilum.evaluate.metrics.masks import dice, f_beta, hausdorff, iou
from hilum.evaluate.segmentation import _components, mask_scores

few = settings(max_examples=25, deadline=None)
seeds = given(st.integers(0, 2**32 - 1))


def pair(seed: int, shape: tuple[int, int] = (9, 11), share: float = 0.3) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    return rng.random(shape) < share, rng.random(shape) < share


# --- agreement ---


@few
@seeds
def test_overlaps_are_counted_pixel_by_pixel(seed: int) -> None:
    a, b = pair(seed)
    pixels = list(zip(a.ravel().tolist(), b.ravel().tolist(), strict=True))
    both, either = sum(x and y for x, y in pixels), sum(x or y for x, y in pixels)
    one, other = sum(x for x, _ in pixels), sum(y for _, y in pixels)
    assert dice(a, b) == pytest.approx(2 * both / (one + other))
    assert iou(a, b) == pytest.approx(both / either)
    p, r = both / other, both / one
    if both:
        assert f_beta(a, b, 2) == pytest.approx(5 * p * r / (4 * p + r))
    assert dice(a, b) == dice(b, a)
    assert f_beta(a, b, 2) == pytest.approx(f_beta(b, a, 0.5))  # truth and prediction change places
    assert iou(a, b) == pytest.approx(dice(a, b) / (2 - dice(a, b)))


def edge(mask: Any) -> list[tuple[int, int]]:
    """Set pixels with an unset neighbour, or at the rim."""
    height, width = mask.shape
    out = []
    for y, x in zip(*np.nonzero(mask), strict=True):
        near = ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1))
        inside = all(0 <= v < height and 0 <= u < width and mask[v, u] for v, u in near)
        if not inside:
            out.append((int(y), int(x)))
    return out


@few
@given(st.integers(0, 2**32 - 1), st.sampled_from([(1.0, 1.0), (0.5, 2.0)]))
def test_the_distance_is_that_of_the_farthest_edge(seed: int, spacing: tuple[float, float]) -> None:
    a, _ = pair(seed, share=0.15)
    b = pair(seed, share=0.9)[1]
    b[2:7, 3:9] = True  # with an inside
    assume(a.any())

    def farthest(of: list[tuple[int, int]], to: list[tuple[int, int]]) -> float:
        row, column = spacing
        return max(min(hypot((y - v) * row, (x - u) * column) for v, u in to) for y, x in of)

    first, second = edge(a), edge(b)
    expected = max(farthest(first, second), farthest(second, first))
    assert hausdorff(a, b, spacing=spacing) == pytest.approx(expected)
    assert hausdorff(a, b, spacing=spacing, percentile=95) <= expected + 1e-9
    assert hausdorff(a, a) == 0


def test_an_empty_mask_agrees_with_nothing_but_another() -> None:
    none, some = np.zeros((4, 4), bool), np.eye(4, dtype=bool)
    empty = mask_scores(none, none)
    assert np.isnan(empty.pop("dice_positive"))  # no finding, so no number of those with one
    assert empty == {"dice": 1, "iou": 1, "f2_mask": 1, "hd95_px": 0}
    numbers = mask_scores(some, none)
    assert (numbers["dice"], numbers["iou"], numbers["f2_mask"]) == (0, 0, 0)
    assert np.isnan(numbers["hd95_px"])
    assert hausdorff(some, none) == float("inf")
    for bad in (np.zeros((4, 5)), np.full((4, 4), np.nan)):
        with pytest.raises(GeometryError):
            dice(some, bad)
    with pytest.raises(ConfigError):
        f_beta(some, some, 0)
    with pytest.raises(GeometryError):
        hausdorff(np.zeros((2, 2, 2)), np.zeros((2, 2, 2)))


@few
@given(st.integers(0, 2**32 - 1), st.sampled_from([0, 2, 5, 20]))
def test_dice_without_small_parts_is_that_of_the_cleaned_mask(seed: int, pixels: int) -> None:
    from hilum.fuse.masks import remove_small

    truth, mask = pair(seed, (32, 32), 0.2)
    parts = _components(truth, mask)
    size = pixels * 1024**2 / mask.size  # at 1024 px
    assert parts.dice(size) == pytest.approx(dice(truth, remove_small(mask, pixels)))
    assert parts.dice(size, opened=False) == 0


# --- run lengths ---


@few
@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_runs_of_a_mask_go_down_its_columns(height: int, width: int, seed: int) -> None:
    mask = np.random.default_rng(seed).random((height, width)) < 0.4
    text = runs.encode(mask)
    np.testing.assert_array_equal(runs.decode(text, height, width), mask)
    assert runs.area(text) == mask.sum()
    covered = [k for start, end in runs.runs(text).tolist() for k in range(start, end)]
    assert covered == np.flatnonzero(mask.T.ravel()).tolist()
    other = np.random.default_rng(seed + 1).random((height, width)) < 0.4
    both = runs.union([text, runs.encode(other)], height, width)
    np.testing.assert_array_equal(both, mask | other)
    again = runs.union_of(f"rle:{height}x{width}:{text};{runs.encode(other)}")
    np.testing.assert_array_equal(again, both)


# --- which rows an epoch sees ---


def catalog(a: list[float], b: list[float] | None = None) -> Catalog:
    rows = pd.DataFrame(
        {
            "image_id": [str(i) for i in range(len(a))],
            "patient": [str(i) for i in range(len(a))],
            "label_a": a,
            "label_b": b if b is not None else [0.0] * len(a),
        }
    )
    return build("rows", rows, Path())


@few
@given(st.integers(1, 6), st.integers(1, 30), st.integers(1, 4))
def test_copies_make_both_classes_equal(few_: int, many: int, kinds: int) -> None:
    assume(few_ <= many)
    own = catalog([1.0] * few_ + [0.0] * many)
    copies = enrichment(own, "a", kinds)
    assert len(copies) == kinds
    assert sum(map(len, copies)) == many - few_
    flat = np.concatenate(copies)
    assert (flat < few_).all()
    counts = np.bincount(flat.astype(int), minlength=few_)
    assert np.ptp(counts) <= 1


def test_enrichment_says_what_is_missing() -> None:
    with pytest.raises(DataError, match="no label 'c'; known: a, b"):
        enrichment(catalog([1.0, 0.0]), "c", 2)
    with pytest.raises(DataError, match="both"):
        enrichment(catalog([0.0, 0.0]), "a", 2)
