"""Boxes and maps: a result always returns to source pixels."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hilum.core.errors import GeometryError
from hilum.core.geometry import (
    Letterbox,
    check_boxes,
    compose,
    invert,
    iou_matrix,
    reaches,
    resample,
    transform_boxes,
    warp_matrix,
)

sides = st.integers(20, 4000)


@given(
    width=sides, height=sides, size=st.sampled_from([64, 256, 512, 1024]), seed=st.integers(0, 99)
)
@settings(max_examples=100, deadline=None)
def test_boxes_return_from_the_letterbox_to_half_a_pixel(
    width: int, height: int, size: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.random((2, 5, 2)) * (width, height)
    boxes = np.concatenate([np.minimum(a, b), np.maximum(a, b)], axis=1)
    box = Letterbox(width, height, size)
    there = box.boxes_to_square(boxes)
    assert there.min() >= -0.01
    assert there.max() <= size + 0.01
    np.testing.assert_allclose(box.boxes_to_source(there), boxes, atol=0.5)


def _restored(box: Letterbox, cells: np.ndarray) -> np.ndarray:
    """A map over the square, in source pixels, as maps of probabilities are brought back."""
    return resample(cells, box.to_cells(cells.shape[0]), (box.height, box.width))


@pytest.mark.parametrize(("width", "height"), [(1000, 400), (400, 1000), (640, 640), (300, 299)])
def test_pixels_and_boxes_move_together_through_the_letterbox(width: int, height: int) -> None:
    image = np.zeros((height, width), np.float32)
    x1, y1, x2, y2 = width // 4, height // 3, width // 2, height // 2
    image[y1:y2, x1:x2] = 1
    box = Letterbox(width, height, 256)
    mapped = box.boxes_to_square([[x1, y1, x2, y2]])[0]
    square = box.apply(image)
    ys, xs = np.nonzero(square > 0.5)
    seen = [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
    np.testing.assert_allclose(seen, mapped, atol=0.6)
    back = _restored(box, square)
    ys, xs = np.nonzero(back > 0.5)
    tolerance = max(width, height) / 256  # one cell of the square
    seen = [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
    np.testing.assert_allclose(seen, [x1, y1, x2, y2], atol=tolerance)


def test_a_mask_head_of_stride_four_lands_where_the_image_is() -> None:
    box = Letterbox(500, 250, 256)
    cells = np.zeros((64, 64), np.float32)
    cells[20:40, 10:30] = 1
    back = _restored(box, cells)
    ys, xs = np.nonzero(back > 0.5)
    expected = box.boxes_to_source([[40, 80, 120, 160]])[0]
    np.testing.assert_allclose([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1], expected, atol=4)


def test_the_eight_point_rule_matches_the_second_place(oracles: Path) -> None:
    for case in json.loads((oracles / "rsna_rotation8.json").read_text())["cases"]:
        x, y, w, h = case["box_xywh_src_1024"]
        matrix = invert(case["matrix_out_to_src"])
        boxes = [[x, y, x + w, y + h]]
        for rule, key in (("eight", "out_xyxy_8pts"), ("corners", "out_xyxy_corners")):
            moved = transform_boxes(boxes, matrix, rule)  # type: ignore[arg-type]
            np.testing.assert_allclose(moved[0], case[key], atol=1e-3, err_msg=case["name"])


def test_eight_points_grow_less_than_corners_under_rotation() -> None:
    turn = cv2.getRotationMatrix2D((50, 50), 20, 1)
    boxes = [[20, 20, 80, 60]]
    inner, outer = transform_boxes(boxes, turn, "eight"), transform_boxes(boxes, turn, "corners")
    assert (inner[0, :2] > outer[0, :2]).all()
    assert (inner[0, 2:] < outer[0, 2:]).all()


@given(seed=st.integers(0, 999))
@settings(max_examples=50, deadline=None)
def test_maps_compose_and_invert(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = (np.eye(3)[:2] + rng.normal(0, 0.2, (2, 3)) for _ in range(2))
    points = np.array([[3.0, 4, 10, 20]])
    both = transform_boxes(points, compose(a, b))
    np.testing.assert_allclose(compose(a, b, invert(b), invert(a)), np.eye(3), atol=1e-6)
    assert both.shape == (1, 4)


def test_opencv_warps_agree_with_edge_coordinates() -> None:
    image = np.zeros((60, 60), np.float32)
    image[10:20, 20:40] = 1
    matrix = np.array([[2.0, 0, -10], [0, 2, 4]])
    warped = cv2.warpAffine(image, warp_matrix(matrix)[:2], (60, 60))
    ys, xs = np.nonzero(warped > 0.5)
    expected = transform_boxes([[20, 10, 40, 20]], matrix)[0].clip(0, 60)
    np.testing.assert_allclose([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1], expected, atol=0.5)


@pytest.mark.parametrize(
    "bad", [[[3, 3, 2, 4]], [[0, 0, np.nan, 1]], [[0, 0, 1]], [0, 0, 1, 1], [[0, 0, np.inf, 1]]]
)
def test_impossible_boxes_are_refused(bad: list[object]) -> None:
    with pytest.raises(GeometryError):
        check_boxes(bad)


def test_iou_of_known_boxes() -> None:
    result = iou_matrix([[0, 0, 2, 2], [5, 5, 5, 5]], [[1, 1, 3, 3], [0, 0, 2, 2], [5, 5, 5, 5]])
    np.testing.assert_allclose(result, [[1 / 7, 1, 0], [0, 0, 0]])


@pytest.mark.parametrize("matrix", [[[0.1, 0.01, 0], [0, 0.1, 0]], [[0, 0.1, 0], [0.1, 0, 0]]])
def test_what_turns_or_slants_is_not_read_along_the_axes(matrix: list[list[float]]) -> None:
    with pytest.raises(GeometryError, match="turns or slants"):
        reaches(np.zeros((4, 4)), matrix, (8, 8), 0.5)
