"""Golden numbers of the 8-point rule (A8): boxes grow less when turned, where it is asked for."""

from __future__ import annotations

import math

import numpy as np
import pytest

from helpers.samples import disc_sample
from hilum.augment.draws import Fixed
from hilum.augment.policy import policy
from hilum.augment.spatial import Affine
from hilum.core.geometry import transform_boxes

# A square of side 6 about the origin. Its eight points, a third from each corner, lie at
# (±3, ±1) and (±1, ±3); turned by 30 degrees the farthest is 3 cos 30° + 1 sin 30°, of the corners
# 3 cos 30° + 3 sin 30°.
EIGHT = 3 * math.cos(math.pi / 6) + 1 * math.sin(math.pi / 6)  # 3.0981
CORNERS = 3 * math.cos(math.pi / 6) + 3 * math.sin(math.pi / 6)  # 4.0981


def turned(degrees: float) -> np.ndarray:
    a = math.radians(degrees)
    return np.array([[math.cos(a), -math.sin(a), 0], [math.sin(a), math.cos(a), 0]])


@pytest.mark.parametrize(("rule", "half"), [("eight", EIGHT), ("corners", CORNERS)])
def test_a_box_turned_by_thirty_degrees(rule: str, half: float) -> None:
    (box,) = transform_boxes([[-3, -3, 3, 3]], turned(30), rule)  # type: ignore[arg-type]
    np.testing.assert_allclose(box, [-half, -half, half, half], atol=1e-5)


def test_unturned_boxes_keep_their_size_but_not_by_eight_points_alone() -> None:
    """The extent of the eight points of an unturned box is the box itself."""
    (box,) = transform_boxes([[2, 4, 8, 13]], np.eye(3), "eight")
    np.testing.assert_allclose(box, [2, 4, 8, 13], atol=1e-6)


@pytest.mark.parametrize(("rule", "half"), [("eight", EIGHT), ("corners", CORNERS)])
def test_augmentation_turns_boxes_by_its_rule(rule: str, half: float) -> None:
    """A disc of radius 15 about the centre of 128 px: five times the square above."""
    step = Affine(angle_deg=Fixed(30.0), rule=rule)  # type: ignore[arg-type]
    moved = step(disc_sample(64, 64, 15), np.random.default_rng(0))
    np.testing.assert_allclose(
        moved.boxes_px[0], [64 - 5 * half, 64 - 5 * half, 64 + 5 * half, 64 + 5 * half], atol=1e-3
    )


@pytest.mark.parametrize(
    ("name", "rule"), [("heavy-rotation8", "eight"), ("default", "eight"), ("heavy", "corners")]
)
def test_the_policies_of_the_studies_have_their_rule(name: str, rule: str) -> None:
    steps = [step for step in policy(name).steps if isinstance(step, Affine)]
    assert [step.rule for step in steps] == [rule]
