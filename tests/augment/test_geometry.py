"""Maps move image, boxes and masks as one; what they do can be undone and combined."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from helpers.samples import SIZE, disc_sample, extent
from hilum.augment.draws import Uniform
from hilum.augment.geometry import STEEPEST, Field, Matrix, about_centre, field, move, move_boxes
from hilum.augment.geometry import shifted as then_shifted
from hilum.augment.sample import UNKNOWN, Sample
from hilum.augment.spatial import Affine, CropResized, Elastic, Grid, Optical
from hilum.core.geometry import compose, invert

BENDING = (Optical(0.15), Grid(), Elastic(0.03))
matrices = st.builds(
    lambda scale, angle, shear, flip, dx, dy: then_shifted(
        about_centre(SIZE, scale=scale, angle_deg=angle, shear_deg=shear, flip=flip), dx, dy
    ),
    st.floats(0.7, 1.4),
    st.floats(-20, 20),
    st.floats(-6, 6),
    st.booleans(),
    st.floats(-12, 12),
    st.floats(-12, 12),
)
points = st.lists(st.tuples(st.floats(8, 120), st.floats(8, 120)), min_size=1, max_size=9)


def waves(seed: int) -> Field:
    noise = np.random.default_rng(seed).uniform(-1, 1, (4, 4, 2)).astype(np.float32)
    return field(cv2.resize(noise, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC) * 6)


@given(matrices)
@settings(max_examples=40, deadline=None)
def test_image_mask_and_box_of_a_disc_agree(matrix: np.ndarray) -> None:
    moved = move(disc_sample(), Matrix(matrix), "edges")
    assume(len(moved.boxes_px) and extent(moved.masks["opacity"])[0] > 1)
    mask = moved.masks["opacity"]
    ys, xs = np.nonzero(mask)
    assume(xs.min() > 1 and ys.min() > 1 and xs.max() < SIZE - 2 and ys.max() < SIZE - 2)
    np.testing.assert_allclose(extent(moved.image > 0.5), extent(mask), atol=1.01)
    x1, y1, x2, y2 = moved.boxes_px[0]
    inside = extent(mask)
    assert x1 <= inside[0] + 1
    assert y1 <= inside[1] + 1
    assert x2 >= inside[2] - 1
    assert y2 >= inside[3] - 1
    # The centre of the box is the centre of the disc, wherever both went.
    np.testing.assert_allclose(
        [(x1 + x2) / 2, (y1 + y2) / 2], [xs.mean() + 0.5, ys.mean() + 0.5], atol=0.6
    )


@pytest.mark.parametrize("step", BENDING, ids=lambda s: type(s).__name__)
@given(seed=st.integers(0, 10**6), x=st.integers(30, 98), y=st.integers(30, 98))
@settings(max_examples=25, deadline=None)
def test_a_bent_disc_stays_in_its_box(step: object, seed: int, x: int, y: int) -> None:
    moved = step(disc_sample(x, y), np.random.default_rng(seed))  # type: ignore[operator]
    mask = moved.masks["opacity"]
    np.testing.assert_allclose(extent(moved.image > 0.5), extent(mask), atol=1.01)
    inner, box = extent(mask), moved.boxes_px[0]
    assert (box[:2] <= np.array(inner[:2]) + 1.5).all()
    assert (box[2:] >= np.array(inner[2:]) - 1.5).all()


@pytest.mark.parametrize("step", BENDING, ids=lambda s: type(s).__name__)
@given(seed=st.integers(0, 10**6))
@settings(max_examples=20, deadline=None)
def test_a_bent_rectangle_and_its_box_have_one_extent(step: object, seed: int) -> None:
    image = np.zeros((SIZE, SIZE), np.uint8)
    image[40:90, 30:80] = 1
    sample = Sample(
        image.astype(np.float32), np.array([[30, 40, 80, 90]], np.float32), ("a",), {"m": image}
    )
    moved = step(sample, np.random.default_rng(seed))  # type: ignore[operator]
    np.testing.assert_allclose(moved.boxes_px[0], extent(moved.masks["m"]), atol=1.6)


def test_the_identity_changes_nothing() -> None:
    sample = disc_sample()
    for by in (Matrix(np.eye(3)), Field(np.zeros((SIZE, SIZE, 2), np.float32))):
        same = move(sample, by)
        np.testing.assert_array_equal(same.image, sample.image)
        np.testing.assert_array_equal(same.masks["opacity"], sample.masks["opacity"])
        np.testing.assert_allclose(same.boxes_px, sample.boxes_px, atol=1e-4)
    same = Affine()(sample, np.random.default_rng(0))
    np.testing.assert_array_equal(same.image, sample.image)


@given(a=matrices, b=matrices, xy=points)
@settings(max_examples=40, deadline=None)
def test_two_maps_one_after_the_other_are_their_composition(
    a: np.ndarray, b: np.ndarray, xy: list[tuple[float, float]]
) -> None:
    one_by_one = Matrix(b).points(Matrix(a).points(np.array(xy)))
    np.testing.assert_allclose(Matrix(compose(a, b)).points(np.array(xy)), one_by_one, atol=1e-8)


@given(matrix=matrices, xy=points)
@settings(max_examples=40, deadline=None)
def test_a_matrix_and_its_inverse_undo_each_other(
    matrix: np.ndarray, xy: list[tuple[float, float]]
) -> None:
    there = Matrix(matrix).points(np.array(xy))
    np.testing.assert_allclose(Matrix(invert(matrix)).points(there), xy, atol=1e-8)


@given(seed=st.integers(0, 10**6), xy=points)
@settings(max_examples=40, deadline=None)
def test_a_field_sends_points_where_the_image_shows_them(
    seed: int, xy: list[tuple[float, float]]
) -> None:
    bent = waves(seed)
    there = bent.points(np.array(xy))
    np.testing.assert_allclose(bent.source(there), xy, atol=0.05)


@given(st.integers(0, 10**6))
@settings(max_examples=20, deadline=None)
def test_a_field_never_folds(seed: int) -> None:
    wild = np.random.default_rng(seed).normal(0, 30, (16, 16, 2)).astype(np.float32)
    for axis in (0, 1):
        assert np.abs(np.diff(field(wild).shift, axis=axis)).max() <= STEEPEST


@pytest.mark.parametrize("axis", [0, 1])
@given(seed=st.integers(0, 10**6))
@settings(max_examples=20, deadline=None)
def test_no_axis_is_flipped_unless_asked(axis: int, seed: int) -> None:
    left, right = disc_sample(40, 40, 6), disc_sample(88, 88, 6)
    both = Sample(
        left.image + right.image,
        np.concatenate([left.boxes_px, right.boxes_px]),
        ("first", "second"),
    )
    steps = (
        *BENDING,
        CropResized(),
        Affine(angle_deg=lambda rng: float(rng.normal(0, 6)), shift=0.06),
    )
    for step in steps:
        moved = step(both, np.random.default_rng(seed))  # type: ignore[operator]
        if len(moved.labels) == 2:
            centres = (moved.boxes_px[:, :2] + moved.boxes_px[:, 2:]) / 2
            assert moved.labels == ("first", "second")
            assert centres[0, axis] < centres[1, axis], step


@pytest.mark.parametrize(("flip", "upside_down", "there"), [(1.0, 0.0, (98, 90)), (0, 1, (30, 38))])
def test_a_flip_is_the_one_asked_for(
    flip: float, upside_down: float, there: tuple[int, int]
) -> None:
    step = Affine(flip=flip, upside_down=upside_down)
    moved = step(disc_sample(30, 90), np.random.default_rng(0))
    np.testing.assert_allclose((moved.boxes_px[0, :2] + moved.boxes_px[0, 2:]) / 2, there, atol=0.1)
    np.testing.assert_allclose(extent(moved.masks["opacity"]), moved.boxes_px[0], atol=1)


def test_the_eight_points_are_the_second_places(oracles: Path) -> None:
    cases = json.loads((oracles / "rsna_rotation8.json").read_text())["cases"]
    assert cases
    for case in cases:
        x, y, w, h = case["box_xywh_src_1024"]
        to_crop = Matrix(invert(case["matrix_out_to_src"]))
        for rule, key in (("eight", "out_xyxy_8pts"), ("corners", "out_xyxy_corners")):
            box, _ = move_boxes([[x, y, x + w, y + h]], to_crop, 512, 512, rule)  # type: ignore[arg-type]
            np.testing.assert_allclose(box[0], case[key], atol=1e-3, err_msg=case["name"])


def test_a_box_pushed_outside_goes_with_its_label() -> None:
    sample = Sample(
        np.zeros((SIZE, SIZE), np.float32),
        np.array([[0, 40, 20, 60], [60, 60, 90, 90]], np.float32),
        ("opacity", "consolidation"),
    )
    moved = move(sample, Matrix(then_shifted(np.eye(3), -18, 0)))
    assert moved.labels == ("consolidation",)
    np.testing.assert_allclose(moved.boxes_px, [[42, 60, 72, 90]])


@given(st.integers(0, 10**6))
@settings(max_examples=20, deadline=None)
def test_a_crop_never_shows_what_is_not_there(seed: int) -> None:
    white = Sample(np.ones((64, 64), np.float32), np.zeros((0, 4), np.float32), ())
    assert CropResized()(white, np.random.default_rng(seed)).image.min() > 0.49  # half at the rim


def test_a_mask_that_nobody_drew_stays_unknown() -> None:
    blank = np.full((SIZE, SIZE), UNKNOWN, np.uint8)
    sample = replace(disc_sample(), masks={**disc_sample().masks, "lungs": blank})
    moved = Affine(Uniform(0.5, 0.6), shift=0.2)(sample, np.random.default_rng(0))
    assert (moved.masks["lungs"] == UNKNOWN).all()
    assert (moved.masks["opacity"] != UNKNOWN).all()
