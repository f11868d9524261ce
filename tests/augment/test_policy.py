"""The named policies: seeded, in range, and the default's samples never change unnoticed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from helpers.samples import SIZE, disc_sample
from hilum.augment.draws import Fixed, Uniform
from hilum.augment.intensity import Clahe, CutOut, Erase, Gamma
from hilum.augment.policy import POLICIES, Maybe, OneOf, Policy, policy
from hilum.augment.sample import Sample
from hilum.augment.spatial import Affine
from hilum.core.errors import ConfigError


@pytest.mark.parametrize("name", POLICIES)
def test_policies_are_seeded_and_stay_in_range(name: str) -> None:
    for seed in range(8):
        one, two = (policy(name).draw(disc_sample, np.random.default_rng(seed)) for _ in range(2))
        np.testing.assert_array_equal(one.image, two.image)
        np.testing.assert_array_equal(one.boxes_px, two.boxes_px)
        assert one.image.dtype == np.float32
        assert one.image.shape == (SIZE, SIZE)
        assert one.image.min() >= 0
        assert one.image.max() <= 1
        assert one.boxes_px.dtype == np.float32
        assert len(one.boxes_px) == len(one.labels)
        assert (one.boxes_px >= 0).all()
        assert (one.boxes_px <= SIZE).all()
        assert set(np.unique(one.masks["opacity"])) <= {0, 1}


@pytest.mark.parametrize("name", POLICIES)
def test_each_augmentation_of_a_policy_works_alone_and_without_boxes(name: str) -> None:
    bare = Sample(disc_sample(40, 50, 9).image, np.zeros((0, 4), np.float32), ())
    for step in POLICIES[name].augmentations():
        result = Policy((step,))(bare, np.random.default_rng(1))
        assert result.boxes_px.shape == (0, 4)
        assert result.image.shape == bare.image.shape


def test_the_study_of_pneumothorax_has_four_augmentations() -> None:
    kinds = [type(step).__name__ for step in POLICIES["pneumothorax"].augmentations()]
    assert kinds == ["Clahe", "Optical", "Affine", "Affine"]
    assert POLICIES["none"].augmentations() == ()


def test_every_set_of_the_studies_has_its_name() -> None:
    levels = ("resize_only", "light", "heavy", "heavy_with_rotations", "demonstration")
    assert POLICIES.keys() >= {
        *("none", "light", "heavy", "heavy-no-rotation", "heavy-rotation8", "default"),
        *(f"replication/{level}" for level in levels),
        *("covid/classifier", "covid/detector", "covid/yolo", "pneumothorax"),
    }


def test_the_default_policy_gives_the_samples_it_always_gave() -> None:
    """Means over 40 samples, and the third: mean, deviation and centroid of the grey values, two
    boxes, pixels and centroid of the mask.

    Recorded of the code whose every bit is that of the first shipped model's training, by a hash on
    a processor with AVX-512; the last bits of a warped image are the processor's.
    """
    result = np.random.default_rng(0)
    image = result.random((64, 64), dtype=np.float32)
    image[:16] *= 0.5  # so that a flip that forgets the image moves its centroid
    mask = (result.random((64, 64)) > 0.5).astype(np.uint8)
    mask[:, 40:] = 0
    boxes = np.array([[5, 6, 30, 40], [20, 20, 60, 50]], np.float32)
    sample = Sample(image, boxes, ("opacity", "opacity"), {"opacity": mask})
    rows = []
    for i in range(40):
        moved = policy("default")(sample, np.random.default_rng((7, i)))
        grey, pixels = moved.image, moved.masks["opacity"]
        rows.append([grey.mean(), grey.std(), *_centroid(grey), *moved.boxes_px.ravel()])
        rows[-1] += [pixels.sum(), *_centroid(pixels)]
    # fmt: off
    third = [0.4699, 0.1694, 29.853, 33.6408, 2.256, 4.3892, 28.2627, 40.0931, 17.5533, 17.621,
             57.6606, 48.8971, 1214.0, 18.7133, 31.201]
    means = [0.4121, 0.2026, 31.5101, 34.2423, 15.7219, 4.8238, 42.3488, 40.0957, 12.9636, 19.0304,
             54.4527, 50.8633, 1212.45, 29.3548, 31.5615]
    # fmt: on
    assert rows[2] == pytest.approx(third, abs=1e-3)
    assert np.mean(rows, axis=0) == pytest.approx(means, abs=1e-3)


def test_no_augmentation_is_none() -> None:
    sample = disc_sample()
    for name in ("none", "replication/resize_only"):
        same = policy(name)(sample, np.random.default_rng(0))
        np.testing.assert_array_equal(same.image, sample.image)
        np.testing.assert_array_equal(same.boxes_px, sample.boxes_px)


def test_what_is_fixed_in_the_replication_is_not_drawn() -> None:
    sizes = set()
    for seed in range(6):
        moved = policy("replication/heavy")(disc_sample(64, 64, 14), np.random.default_rng(seed))
        x1, y1, x2, y2 = moved.boxes_px[0]
        sizes.add((round(float(x2 - x1), 2), round(float(y2 - y1), 2)))
    assert sizes == {(round(28 * 1.15 * (1 + np.tan(np.radians(4))), 2), round(28 * 1.15, 2))}


def test_only_the_sets_that_say_so_stand_images_on_their_heads() -> None:
    top = disc_sample(64, 30, 12)
    turned = {
        name
        for name, one in POLICIES.items()
        for seed in range(60)
        if len(result := one(top, np.random.default_rng(seed)).boxes_px)
        and result[0, 1] + result[0, 3] > 1.3 * SIZE
    }
    assert turned == {"replication/demonstration", "covid/yolo"}


def test_probabilities_are_what_they_say() -> None:
    black, grey = Fixed(1e9), Fixed(1.0)
    sample = Sample(np.full((4, 4), 0.5, np.float32), np.zeros((0, 4), np.float32), ())
    rng = np.random.default_rng(0)
    maybe = [Maybe(0.3, Gamma(black))(sample, rng).image.max() < 0.1 for _ in range(2000)]
    assert np.mean(maybe) == pytest.approx(0.3, abs=0.03)
    choice = OneOf(((0.5, Gamma(black)), (0.25, Gamma(grey))))
    chosen = [choice(sample, rng).image.max() < 0.1 for _ in range(2000)]
    assert np.mean(chosen) == pytest.approx(0.5, abs=0.03)


def test_erasing_takes_the_share_it_says() -> None:
    white = Sample(np.ones((SIZE, SIZE), np.float32), np.zeros((0, 4), np.float32), ())
    for seed in range(40):
        gone = (Erase(0.01, 0.10)(white, np.random.default_rng(seed)).image < 1).mean()
        assert 0.005 < gone < 0.11
        holes = (CutOut(6)(white, np.random.default_rng(seed)).image < 1).mean()
        assert 0 < holes < 6 * np.pi * 0.105**2
    assert white.image.min() == 1  # the sample given is not painted over


def test_clahe_spreads_a_flat_image_and_the_limit_holds_it_back() -> None:
    dull = np.random.default_rng(0).uniform(0.45, 0.55, (SIZE, SIZE)).astype(np.float32)
    sample = replace(disc_sample(), image=dull)
    little, much = (
        Clahe(Fixed(limit))(sample, np.random.default_rng(0)).image.std() for limit in (1.5, 6.0)
    )
    assert dull.std() < little < much
    assert much > 3 * dull.std()


def test_a_policy_is_a_step_of_another() -> None:
    inner = Policy((Affine(flip=1.0),))
    twice = Policy((inner, inner))(disc_sample(), np.random.default_rng(0))
    np.testing.assert_array_equal(twice.image, disc_sample().image)
    assert Uniform(2, 2)(np.random.default_rng(0)) == 2


def test_an_unknown_policy_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="light"):
        policy("hevy")


def test_perspective_can_be_switched_off() -> None:
    for name in ("light", "heavy"):
        affine, flat = (policy(n).steps[0] for n in (name, f"{name}-no-perspective"))
        assert isinstance(affine, Affine)
        assert flat == replace(affine, perspective=0.0) != affine


def _centroid(image: np.ndarray) -> tuple[float, float]:
    """(x, y) of the mean pixel."""
    y, x = np.indices(image.shape)
    return float((x * image).sum() / image.sum()), float((y * image).sum() / image.sum())
