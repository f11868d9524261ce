"""What changes grey values moves nothing, and does what its name says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.samples import disc_sample
from hilum.augment.draws import Uniform
from hilum.augment.intensity import (
    Blur,
    Brightness,
    Clahe,
    Contrast,
    CutOut,
    Erase,
    Gamma,
    LowResolution,
    Multiply,
    Noise,
    SaltPepper,
    Sharpen,
)
from hilum.augment.mixing import MixUp, _any, _either, _same
from hilum.augment.sample import UNKNOWN, Sample, Step

few = settings(max_examples=20, deadline=None)


def fixed(value: float) -> Uniform:
    return Uniform(value, value)


def noisy(seed: int, size: int = 64) -> Sample:
    sample = disc_sample(20, 30, 9, size)
    sample.image[:] = np.random.default_rng(seed).uniform(0.2, 0.8, (size, size))
    return sample


STEPS: list[Step] = [
    Blur(Uniform(8, 9)),
    Sharpen(),
    Noise(),
    SaltPepper(),
    Contrast(Uniform(0.8, 1.2)),
    Brightness(Uniform(-0.1, 0.1)),
    Multiply(Uniform(0.9, 1.1)),
    Gamma(Uniform(0.8, 1.2)),
    Clahe(),
    CutOut(),
    Erase(),
    LowResolution(),
]


@pytest.mark.parametrize("step", STEPS, ids=lambda step: type(step).__name__)
def test_grey_values_change_and_nothing_moves(step: Step) -> None:
    before, untouched = noisy(1), noisy(1)
    after = step(before, np.random.default_rng(3))
    assert not np.array_equal(after.image, before.image)
    np.testing.assert_array_equal(before.image, untouched.image)  # the sample itself is left alone
    assert after.image.shape == before.image.shape
    np.testing.assert_array_equal(after.boxes_px, before.boxes_px)
    assert after.labels == before.labels
    np.testing.assert_array_equal(after.masks["opacity"], before.masks["opacity"])
    np.testing.assert_array_equal(after.classes, before.classes)
    again = step(before, np.random.default_rng(3))
    np.testing.assert_array_equal(after.image, again.image)


@few
@given(st.integers(0, 999), st.floats(0.5, 2))
def test_each_does_what_its_name_says(seed: int, amount: float) -> None:
    sample, rng = noisy(seed), np.random.default_rng(seed)
    image = sample.image.astype(np.float64)
    contrast = Contrast(fixed(amount))(sample, rng).image
    assert contrast.mean() == pytest.approx(image.mean(), abs=1e-4)
    assert contrast.std() == pytest.approx(amount * image.std(), rel=1e-3)
    np.testing.assert_allclose(
        Brightness(fixed(amount))(sample, rng).image, image + amount, atol=1e-5
    )
    np.testing.assert_allclose(
        Multiply(fixed(amount))(sample, rng).image, image * amount, atol=1e-5
    )
    gamma = Gamma(fixed(amount))(sample, rng).image
    np.testing.assert_allclose(gamma, image**amount, atol=1e-5)
    assert Blur(fixed(4))(sample, rng).image.std() < image.std()
    assert Sharpen(fixed(0.5))(sample, rng).image.std() > image.std()


def test_noise_has_the_deviation_it_draws() -> None:
    sample = disc_sample(size=256)
    change = Noise(fixed(0.05))(sample, np.random.default_rng(0)).image - sample.image
    assert change.std() == pytest.approx(0.05, rel=0.02)
    assert abs(change.mean()) < 0.001
    hit = SaltPepper(0.1)(noisy(2, 256), np.random.default_rng(0)).image
    assert np.isin(hit, (0, 1)).mean() == pytest.approx(0.1, abs=0.01)
    assert (hit == 0).mean() == pytest.approx((hit == 1).mean(), abs=0.01)


@few
@given(st.integers(0, 999))
def test_what_is_cut_out_is_black_and_what_is_erased_grey(seed: int) -> None:
    sample = noisy(seed, 128)
    cut = CutOut(most=1, radius=fixed(0.1))(sample, np.random.default_rng(seed)).image
    changed = cut != sample.image
    assert changed.any()
    assert (cut[changed] == 0).all()
    ys, xs = np.nonzero(changed)
    assert max(np.ptp(ys), np.ptp(xs)) <= 2 * round(0.1 * 128)
    erased = Erase(0.05, 0.05)(sample, np.random.default_rng(seed)).image
    changed = erased != sample.image
    assert (erased[changed] == 0.5).all()
    ys, xs = np.nonzero(changed)
    assert changed.sum() == (np.ptp(ys) + 1) * (np.ptp(xs) + 1)  # a rectangle
    assert changed.mean() == pytest.approx(0.05, abs=0.01)


# --- mixtures: what is known of the parts ---


def one(known: Any) -> np.ndarray:
    return np.array(known, np.float32)


@pytest.mark.parametrize(
    ("a", "b", "both"), [(0, 0, 0), (0, 1, 1), (1, 1, 1), (1, UNKNOWN, 1), (0, UNKNOWN, UNKNOWN)]
)
def test_a_mixture_of_masks_is_what_either_shows(a: int, b: int, both: int) -> None:
    x, y = np.array([[a]], np.uint8), np.array([[b]], np.uint8)
    assert _either(x, y)[0, 0] == _either(y, x)[0, 0] == both


def test_a_mixture_has_a_finding_that_any_part_has() -> None:
    nan = np.nan
    mixed = _any([one([0, 0, 1, nan, nan]), one([0, 1, nan, 0, nan])])
    np.testing.assert_array_equal(mixed, one([0, 1, 1, nan, nan]))
    classes = one([1, 0, nan])
    np.testing.assert_array_equal(_same([classes, classes]), classes)
    assert np.isnan(_same([classes, one([0, 1, nan])])).all()


@few
@given(st.integers(0, 999))
def test_a_mixed_image_lies_between_its_parts(seed: int) -> None:
    parts = [noisy(seed), noisy(seed + 1)]
    waiting = iter(parts)
    mixed = MixUp(1.0)(lambda: next(waiting), np.random.default_rng(seed))
    low, high = np.minimum(*(p.image for p in parts)), np.maximum(*(p.image for p in parts))
    assert (mixed.image >= low - 1e-6).all()
    assert (mixed.image <= high + 1e-6).all()
    assert len(mixed.boxes_px) == sum(len(p.boxes_px) for p in parts)
    assert len(mixed.labels) == len(mixed.boxes_px)
