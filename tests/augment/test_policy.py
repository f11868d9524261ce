"""Augmentation moves image, boxes and masks as one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hilum.augment.geometry import about_centre, shifted, warp_boxes, warp_image, warp_mask
from hilum.augment.policy import POLICIES, Policy, Sample, policy
from hilum.core.errors import ConfigError

SIZE = 128


def disc_sample(x: int = 40, y: int = 70, r: int = 14) -> Sample:
    yy, xx = np.mgrid[:SIZE, :SIZE] + 0.5
    disc = ((xx - x) ** 2 + (yy - y) ** 2 <= r * r).astype(np.uint8)
    box = np.array([[x - r, y - r, x + r, y + r]], np.float32)
    return Sample(disc.astype(np.float32), box, ("opacity",), {"opacity": disc})


def extent(mask: np.ndarray) -> list[int]:
    ys, xs = np.nonzero(mask)
    return [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]


@given(
    scale=st.floats(0.7, 1.4),
    angle=st.floats(-20, 20),
    flip=st.booleans(),
    dx=st.floats(-12, 12),
    dy=st.floats(-12, 12),
)
@settings(max_examples=60, deadline=None)
def test_image_mask_and_box_agree(
    scale: float, angle: float, flip: bool, dx: float, dy: float
) -> None:
    sample = disc_sample()
    matrix = shifted(
        about_centre(SIZE, scale=scale, angle_deg=angle, shear_deg=0, flip=flip), dx, dy
    )
    image = warp_image(sample.image, matrix)
    mask = warp_mask(sample.masks["opacity"], matrix)
    # A disc keeps its box under rotation; the eight points of its box stay within the corners.
    outer, _ = warp_boxes(sample.boxes_px, matrix, SIZE, "corners", keep=0)
    centre = (outer[0, :2] + outer[0, 2:]) / 2
    radius = 14 * scale
    expected = [*(centre - radius).clip(0, SIZE), *(centre + radius).clip(0, SIZE)]
    if (outer[0] > 1).all() and (outer[0] < SIZE - 1).all():
        np.testing.assert_allclose(extent(mask), expected, atol=1.6)
        np.testing.assert_allclose(extent(image > 0.5), expected, atol=1.6)


def test_the_identity_changes_nothing() -> None:
    sample = disc_sample()
    moved = policy("none")(sample, np.random.default_rng(0))
    np.testing.assert_allclose(moved.image, sample.image, atol=1e-6)
    np.testing.assert_array_equal(moved.masks["opacity"], sample.masks["opacity"])
    np.testing.assert_allclose(moved.boxes_px, sample.boxes_px, atol=1e-4)


def test_a_flip_is_left_right_and_never_upside_down() -> None:
    moved = Policy(flip=1.0)(disc_sample(x=30, y=90), np.random.default_rng(0))
    x, y = (moved.boxes_px[0, :2] + moved.boxes_px[0, 2:]) / 2
    assert (x, y) == pytest.approx((SIZE - 30, 90), abs=0.1)
    np.testing.assert_allclose(extent(moved.masks["opacity"]), moved.boxes_px[0], atol=1)


def test_a_box_pushed_outside_goes_with_its_label() -> None:
    sample = Sample(
        np.zeros((SIZE, SIZE), np.float32),
        np.array([[0, 40, 20, 60], [60, 60, 90, 90]], np.float32),
        ("opacity", "consolidation"),
    )
    matrix = shifted(np.eye(3), -18, 0)
    boxes, kept = warp_boxes(sample.boxes_px, matrix, SIZE)
    assert [sample.labels[i] for i in kept] == ["consolidation"]
    np.testing.assert_allclose(boxes, [[42, 60, 72, 90]])


@pytest.mark.parametrize("name", POLICIES)
def test_policies_are_seeded_and_stay_in_range(name: str) -> None:
    sample = disc_sample()
    one = policy(name)(sample, np.random.default_rng(5))
    two = policy(name)(sample, np.random.default_rng(5))
    np.testing.assert_array_equal(one.image, two.image)
    assert one.image.dtype == np.float32
    assert one.image.min() >= 0
    assert one.image.max() <= 1
    assert len(one.boxes_px) == len(one.labels)


def test_an_unknown_policy_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="light"):
        policy("hevy")
