"""Mixtures show the union of their parts, and claim to know no more than the parts do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.samples import SIZE, disc_sample, extent
from hilum.augment.mixing import MixUp, Mosaic
from hilum.augment.policy import Policy
from hilum.augment.sample import UNKNOWN, Sample

NAN = np.nan


def source(*samples: Sample) -> Callable[[], Sample]:
    waiting = iter(samples)
    return lambda: next(waiting)


def blank() -> Sample:
    return Sample(
        np.zeros((SIZE, SIZE), np.float32),
        np.zeros((0, 4), np.float32),
        (),
        {"opacity": np.zeros((SIZE, SIZE), np.uint8)},
        np.array([1, 0, 0], np.float32),
        np.array([0, NAN, 0], np.float32),
    )


def test_mix_up_shows_both_and_keeps_both_boxes() -> None:
    a, b = disc_sample(30, 30), disc_sample(90, 90)
    both = MixUp(1.0)(source(a, b), np.random.default_rng(0))
    weight = both.image[30, 30]
    assert 0.2 < weight < 0.8
    np.testing.assert_allclose(both.image, weight * a.image + (1 - weight) * b.image, atol=1e-6)
    assert both.labels == ("opacity", "opacity")
    np.testing.assert_array_equal(both.masks["opacity"], a.masks["opacity"] | b.masks["opacity"])
    np.testing.assert_array_equal(both.classes, a.classes)  # they agree


def test_mixtures_do_not_know_what_their_parts_do_not() -> None:
    unknown = replace(
        blank(),
        masks={"opacity": np.full((SIZE, SIZE), UNKNOWN, np.uint8)},
        boxed=False,
    )
    both = MixUp(1.0)(source(disc_sample(), unknown), np.random.default_rng(0))
    assert not both.boxed
    assert len(both.boxes_px) == len(both.labels) == 0
    assert set(np.unique(both.masks["opacity"])) == {1, UNKNOWN}
    assert np.isnan(both.classes).all()  # opacity and normal: neither
    np.testing.assert_array_equal(both.findings, [1, NAN, NAN])


def test_a_mixture_that_does_not_happen_is_its_first_sample() -> None:
    a = disc_sample()
    for mix in (MixUp(0.0), Mosaic(0.0)):
        assert mix(source(a), np.random.default_rng(0)) is a


@given(st.integers(0, 10**6))
@settings(max_examples=30, deadline=None)
def test_boxes_and_masks_of_a_mosaic_agree(seed: int) -> None:
    parts = [disc_sample(x, y, 24) for x, y in ((40, 40), (90, 50), (50, 90), (80, 80))]
    tiles = Mosaic()(source(*parts), np.random.default_rng(seed))
    assert len(tiles.boxes_px) == len(tiles.labels) <= 4
    for x1, y1, x2, y2 in tiles.boxes_px:
        assert 0 <= x1 < x2 <= SIZE
        assert 0 <= y1 < y2 <= SIZE
        window = np.s_[round(float(y1)) : round(float(y2)), round(float(x1)) : round(float(x2))]
        shown = extent(tiles.masks["opacity"][window])
        np.testing.assert_allclose(shown, [0, 0, x2 - x1, y2 - y1], atol=3.5)
    outside = tiles.masks["opacity"].copy()
    for box in tiles.boxes_px:
        x1, y1, x2, y2 = (int(v) for v in (*np.floor(box[:2]), *np.ceil(box[2:])))
        outside[y1:y2, x1:x2] = 0
    # Only what was cut to less than .3 of itself lost its box.
    assert outside.sum() <= 4 * 0.3 * np.pi * 24**2


def test_a_mosaic_leaves_no_gap() -> None:
    white = replace(blank(), image=np.ones((SIZE, SIZE), np.float32))
    for seed in range(30):
        image = Mosaic()(source(*[white] * 4), np.random.default_rng(seed)).image
        assert (image > 0.99).mean() > 0.95  # the linear rim of a tile apart
        assert image.min() > 0.2


def test_mixtures_join_augmented_samples_and_the_last_is_outermost() -> None:
    drawn = []

    def one() -> Sample:
        drawn.append(1)
        return disc_sample()

    Policy((), (Mosaic(), MixUp(1.0))).draw(one, np.random.default_rng(0))
    assert len(drawn) == 8  # mix-up of two mosaics
    drawn.clear()
    Policy().draw(one, np.random.default_rng(0))
    assert len(drawn) == 1


@pytest.mark.parametrize("mix", [MixUp(1.0), Mosaic()])
def test_mixtures_are_seeded(mix: MixUp | Mosaic) -> None:
    parts = [disc_sample(30 + 10 * i, 60) for i in range(4)]
    one, two = (mix(source(*parts), np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(one.image, two.image)
