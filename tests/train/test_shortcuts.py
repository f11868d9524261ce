"""A score that lives on a shortcut is caught, and one that looks at the lungs is not accused."""

from __future__ import annotations

import numpy as np
import pytest

from hilum.core.geometry import Letterbox
from hilum.train.export.card import _shortcuts
from hilum.train.export.shortcuts import Asked, shortcuts

SIDE = 64
LUNGS = np.zeros((SIDE, SIDE), bool)
LUNGS[16:48, 16:48] = True


def images(where: str, source: str = "a", count: int = 60) -> list[Asked]:
    """Half of them ill: a bright patch in the lungs, in a corner, or at the edge."""
    rng = np.random.default_rng(3)
    places = {"lungs": (30, 30), "corner": (2, 2), "border": (60, 30)}
    out = []
    for number in range(count):
        image = rng.normal(-0.5, 0.05, (1, SIDE, SIDE)).astype(np.float32)
        if number % 2:
            y, x = places[where]
            image[0, y : y + 4, x : x + 4] = 0.9
        frame = Letterbox(SIDE, SIDE, SIDE)
        out.append(Asked(image, frame, source, float(number % 2), LUNGS))
    return out


def brightest(image: np.ndarray) -> float:
    return float(image.max() > 0.5)


@pytest.mark.parametrize(
    ("where", "left"),
    [
        ("lungs", {"lungs hidden": 0.5, "border only": 0.5, "upper corners covered": 1.0}),
        ("corner", {"lungs hidden": 1.0, "border only": 1.0, "upper corners covered": 0.5}),
        ("border", {"lungs hidden": 1.0, "border only": 1.0, "upper corners covered": 1.0}),
    ],
)
def test_what_is_hidden_takes_the_score_with_it(where: str, left: dict[str, float]) -> None:
    found = shortcuts(images(where), brightest).auc["a"]
    assert found["as it is"] == 1
    for name, value in left.items():
        assert found[name] == pytest.approx(value), name


def test_the_source_is_told_where_grey_values_differ_and_not_where_they_do_not() -> None:
    alike = images("lungs", "a") + images("lungs", "b")
    accuracy = shortcuts(alike, brightest).source_accuracy
    assert accuracy is not None
    assert accuracy[0] < 0.7
    darker = [
        Asked(one.image - 0.3, one.frame, "c", one.present, one.lungs) for one in images("lungs")
    ]
    accuracy = shortcuts(images("lungs") + darker, brightest).source_accuracy
    assert accuracy == (1.0, 0.5)


def test_nothing_is_said_of_few_images_or_without_lungs() -> None:
    assert not shortcuts(images("lungs", count=20), brightest).auc
    bare = [Asked(o.image, o.frame, o.source, o.present, None) for o in images("lungs")]
    found = shortcuts(bare, brightest)
    assert "lungs hidden" not in found.auc["a"]
    assert "border only" in _shortcuts(found)


def test_an_image_of_unknown_truth_has_no_part_in_it() -> None:
    some = images("lungs")
    unknown = [Asked(o.image + 0.1, o.frame, o.source, float("nan"), o.lungs) for o in some]
    assert shortcuts(some + unknown, brightest).auc == shortcuts(some, brightest).auc
