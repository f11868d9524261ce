"""Boxes, maps and anchors against forms that take one box, point or cell at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import naive
from hilum.core.anchors import AnchorGrid
from hilum.core.errors import GeometryError
from hilum.core.geometry import (
    Letterbox,
    box_areas,
    box_points,
    check_scored,
    clip_boxes,
    compose,
    invert,
    iou_matrix,
    resample,
    transform_boxes,
    transform_points,
)

few = settings(max_examples=30, deadline=None)
seeds = given(st.integers(0, 2**32 - 1))
sides = st.integers(1, 300)


def boxes_of(rng: np.random.Generator, count: int = 6) -> Any:
    corner = rng.uniform(-20, 80, (count, 2))
    return np.c_[corner, corner + rng.uniform(0, 50, (count, 2))]


@few
@seeds
def test_overlaps_and_areas_one_by_one(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = boxes_of(rng), boxes_of(rng, 4)
    matrix = iou_matrix(a, b)
    for i, first in enumerate(a.tolist()):
        for j, second in enumerate(b.tolist()):
            assert matrix[i, j] == pytest.approx(naive.iou(first, second))
    np.testing.assert_allclose(iou_matrix(b, a), matrix.T)
    np.testing.assert_allclose(np.diag(iou_matrix(a, a)), 1)
    assert box_areas(a).tolist() == pytest.approx([(x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in a])


@few
@seeds
def test_a_cut_box_is_what_of_it_lies_inside(seed: int) -> None:
    rng = np.random.default_rng(seed)
    own = boxes_of(rng)
    before = own.copy()
    cut = clip_boxes(own, 60, 50)
    np.testing.assert_array_equal(own, before)
    for box, inside in zip(own.tolist(), cut.tolist(), strict=True):
        seen = naive.iou(box, [0, 0, 60, 50])
        empty = (inside[2] - inside[0]) * (inside[3] - inside[1]) == 0
        assert empty == (seen == 0) or min(box[2] - box[0], box[3] - box[1]) == 0
        assert 0 <= inside[0] <= inside[2] <= 60
        assert 0 <= inside[1] <= inside[3] <= 50
    np.testing.assert_array_equal(clip_boxes(cut, 60, 50), cut)


@few
@seeds
def test_points_go_where_the_matrix_says(seed: int) -> None:
    rng = np.random.default_rng(seed)
    matrix = np.eye(3) + rng.normal(0, 0.1, (3, 3))
    matrix[2, :2] *= 0.01
    points = rng.uniform(0, 50, (5, 2))
    moved = transform_points(points, matrix)
    for (x, y), (u, v) in zip(points.tolist(), moved.tolist(), strict=True):
        a, b, c = matrix @ [x, y, 1]
        assert (u, v) == pytest.approx((a / c, b / c))
    np.testing.assert_allclose(transform_points(moved, invert(matrix)), points, atol=1e-6)


@few
@seeds
def test_a_mapped_box_encloses_its_mapped_corners(seed: int) -> None:
    rng = np.random.default_rng(seed)
    matrix = compose(np.eye(3)[:2] + rng.normal(0, 0.3, (2, 3)))
    own = boxes_of(rng)
    mapped = transform_boxes(own, matrix)
    for box, (x1, y1, x2, y2) in zip(own.tolist(), mapped.tolist(), strict=True):
        corners = [(box[i], box[j]) for i in (0, 2) for j in (1, 3)]
        there = transform_points(corners, matrix)
        assert (x1, y1) == pytest.approx(there.min(axis=0).tolist(), abs=1e-3)
        assert (x2, y2) == pytest.approx(there.max(axis=0).tolist(), abs=1e-3)
    tight = transform_boxes(own, matrix, "eight")
    assert (tight[:, :2] >= mapped[:, :2] - 1e-3).all()
    assert (tight[:, 2:] <= mapped[:, 2:] + 1e-3).all()
    np.testing.assert_allclose(transform_boxes(own, matrix, "edges"), mapped, atol=1e-3)


@pytest.mark.parametrize(("rule", "count"), [("corners", 4), ("eight", 8), ("edges", 64)])
def test_points_of_a_box_lie_on_its_edges(rule: Any, count: int) -> None:
    points = box_points([[10, 20, 40, 80]], rule)[0]
    assert points.shape == (count, 2)
    assert len({tuple(p) for p in points.round(6).tolist()}) == count
    for x, y in points.tolist():
        assert x in (10, 40) or y in (20, 80)
        assert 10 <= x <= 40
        assert 20 <= y <= 80
    with pytest.raises(GeometryError, match="corners, eight, edges"):
        box_points([[0, 0, 1, 1]], "round")  # type: ignore[arg-type]


@few
@given(sides, sides, st.sampled_from([8, 32, 100]))
def test_a_letterbox_keeps_the_shape_and_centres_it(width: int, height: int, size: int) -> None:
    box = Letterbox(width, height, size)
    x, y, w, h = box.inner
    assert max(w, h) == size
    assert min(x, y) == 0
    assert 0 <= size - w - 2 * x <= 1
    assert 0 <= size - h - 2 * y <= 1
    if min(width, height) * size / max(width, height) >= 1:
        assert w / h == pytest.approx(width / height, rel=0.6 / min(w, h) + 1e-9)
    whole = box.boxes_to_square([[0, 0, width, height]])[0]
    assert whole.tolist() == pytest.approx([x, y, x + w, y + h], abs=1e-3)
    image = np.ones((height, width), np.float32)
    square = box.apply(image)
    assert square.sum() == pytest.approx(w * h)
    np.testing.assert_allclose(box.to_cells(size), box.matrix)


@few
@given(st.integers(2, 9), st.integers(2, 9), st.integers(0, 2**32 - 1))
def test_a_map_of_its_own_grid_is_itself(height: int, width: int, seed: int) -> None:
    values = np.random.default_rng(seed).random((height, width)).astype(np.float32)
    np.testing.assert_allclose(resample(values, np.eye(3), (height, width)), values, atol=1e-6)
    half = np.diag([0.5, 0.5, 1.0])  # each cell twice as large
    big = resample(values, half, (2 * height, 2 * width))
    assert big.min() >= values.min() - 1e-6
    assert big.max() <= values.max() + 1e-6
    assert big[0, 0] == pytest.approx(values[0, 0])  # beyond the rim the outermost go on


@few
@given(st.sampled_from([32, 64, 96]))
def test_anchors_stand_on_the_cells_of_their_level(size: int) -> None:
    grid = AnchorGrid(levels=(3, 4), ratios=(0.5, 1.0), scales=(1.0, 1.5))
    anchors = grid.anchors(size)
    each = 4
    cells = [(size // 2**level) ** 2 for level in (3, 4)]
    assert len(anchors) == each * sum(cells)
    sides_ = anchors[:, 2:] - anchors[:, :2]
    assert (sides_ > 0).all()
    first = anchors[: each * cells[0]]
    areas = np.unique(box_areas(first).round(0))
    assert len(areas) == 2  # one a scale, whatever the ratio
    assert areas[1] / areas[0] == pytest.approx(1.5**2, rel=0.01)
    centres = (first[:, :2] + first[:, 2:]) / 2
    assert len(np.unique(centres.round(3), axis=0)) == cells[0]
    assert len(np.unique(np.diff(np.unique(centres[:, 0].round(3))).round(3))) == 1  # evenly


def test_boxes_with_their_scores_are_checked_together() -> None:
    boxes = [[0, 0, 1, 1], [0, 0, 2, 2]]
    check_scored(boxes, np.array([0.5, 1.0]), ("a", "b"))
    check_scored([], np.zeros(0), ())
    for scores, labels in (([0.5], "ab"), ([0.5, 0.5], "a"), ([0.5, 1.01], "ab")):
        with pytest.raises(GeometryError):
            check_scored(boxes, np.array(scores), tuple(labels))
