"""Batches of mixed samples: each depends on its number alone and takes its labels along."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from hilum.augment.mixing import MixUp, Mosaic
from hilum.augment.policy import Policy
from hilum.core.errors import DataError
from hilum.core.geometry import Letterbox
from hilum.core.prepare import Preprocessing
from hilum.models.model import Targets
from hilum.train.loader import Batches, Draw, enriched, mixed, oversampled, passes
from hilum.train.samples import PreparedImage

SIZE = 64
TARGETS = Targets(masks=("opacity",), findings=("a",))


def made(count: int) -> list[PreparedImage]:
    """Image i is grey level i with one box, except for the last, where nobody looked for boxes."""
    return [
        PreparedImage(
            image_id=f"m{i}",
            source="made",
            group="made",
            patient=f"p{i}",
            image=np.full((SIZE, SIZE), (i + 1) / 16, np.float16),
            frame=Letterbox(SIZE, SIZE, SIZE),
            boxes=None if i == count - 1 else np.array([[8, 8, 56, 56]], np.float32),
            masks={},
            label=np.array([0, 0, 1], np.float32),
            findings=np.array([i % 2], np.float32),
            box_labels=() if i == count - 1 else ("opacity",),
            positive_class=True,
        )
        for i in range(count)
    ]


def batches(policy: Policy, start: int = 0, *, draw: Draw | None = None) -> Batches:
    draw = draw or mixed({"made": made(6)}, {"made": 1.0}).draw
    spec = Preprocessing(SIZE)
    return Batches(draw, policy, spec, TARGETS, batch=4, start=start, batches=4, seed=3)


def test_a_mixed_sample_depends_on_its_number_alone() -> None:
    policy = Policy((), (Mosaic(), MixUp(0.5)))
    one, two = batches(policy)[3], batches(policy, 3)[0]
    torch.testing.assert_close(one.image_B1SS, two.image_B1SS)
    torch.testing.assert_close(one.finding_BF, two.finding_BF)
    assert not torch.equal(batches(policy)[0].image_B1SS, one.image_B1SS)


def test_parts_of_a_mixture_differ_even_in_passes() -> None:
    images = made(6)
    batch = batches(Policy((), (MixUp(1.0),)), draw=passes(images, 1).draw)[0]
    levels = {round((i + 1) / 16 * 2 - 1, 4) for i in range(6)}
    mixed_levels = {round(v, 4) for v in batch.image_B1SS[:, 0, 0, 0].tolist()}
    assert mixed_levels - levels


def test_without_mixtures_a_pass_shows_each_image_once() -> None:
    result = batches(Policy(), draw=passes(made(8), 1).draw)
    seen = [v for i in (0, 1) for v in result[i].image_B1SS[:, 0, 0, 0].tolist()]
    assert len({round(v, 4) for v in seen}) == 8


def test_a_batch_knows_no_boxes_where_a_part_had_none() -> None:
    result = batches(Policy((), (MixUp(1.0),)))
    boxes = [one for i in range(4) for one in result[i].boxes]
    assert any(one is None for one in boxes)
    assert all(len(one) == 2 for one in boxes if one is not None)


def test_the_positive_rate_is_the_winners() -> None:
    """An epoch: every positive once, and int(n_pos (1 - r) / r) negatives, others every time."""
    images = [replace(one, positive_class=i < 6) for i, one in enumerate(bare(40))]
    for rate in (0.8, 0.6, 0.4, 1.0):
        made_up = enriched(images, rate, seed=3)
        draw, length = made_up.draw, made_up.epoch
        assert length == 6 + int(6 * (1 - rate) / rate)
        turns = [
            [draw(turn * length + i, np.random.default_rng(0)).image_id for i in range(length)]
            for turn in range(3)
        ]
        for names in turns:
            assert sorted(n for n in names if int(n[1:]) < 6) == [f"m{i}" for i in range(6)]
        assert rate == 1.0 or turns[0] != turns[1] != turns[2]
    with pytest.raises(DataError, match="positive"):
        enriched(images[6:], 0.5, seed=3)


def test_rare_classes_are_drawn_until_they_are_as_frequent_as_asked() -> None:
    """Of 40 images one is of the rare class, and 4 show a finding; .25 of them are asked for."""
    images = [
        replace(
            one,
            label=np.eye(3, dtype=np.float32)[2 if i == 0 else i % 2],
            findings=np.array([1 <= i < 5], np.float32),
        )
        for i, one in enumerate(bare(40))
    ]
    made_up = oversampled(images, 0.25, seed=3)
    assert made_up.epoch == 35 + 10 + 4 * 2.5
    for turn in range(4):
        drawn = [made_up.draw(turn * 55 + i, np.random.default_rng(0)).image_id for i in range(55)]
        counts = {name: drawn.count(name) for name in set(drawn)}
        assert len(counts) == 40  # every image, every pass
        assert counts["m0"] == 10
        assert sum(counts[f"m{i}"] for i in range(1, 5)) == 10
        assert {counts[f"m{i}"] for i in range(1, 5)} <= {2, 3}
        again = oversampled(images, 0.25, seed=3)
        assert drawn[7] == again.draw(turn * 55 + 7, np.random.default_rng(1)).image_id


def bare(count: int) -> list[PreparedImage]:
    return [
        replace(one, boxes=None, findings=np.zeros(1, np.float32), positive_class=False)
        for one in made(count)
    ]


def test_a_mix_gives_each_group_its_share_and_positives_forty_per_cent() -> None:
    few = [replace(one, positive_class=i < 2) for i, one in enumerate(bare(20))]
    other = [replace(one, group="other") for one in bare(4)]
    made_up = mixed({"few": few, "other": other}, {"few": 0.75, "other": 0.25})
    assert made_up.epoch is None
    drawn = [made_up.draw(i, np.random.default_rng((1, i))) for i in range(2000)]
    own = [one for one in drawn if one.group == "made"]
    assert len(own) / 2000 == pytest.approx(0.75, abs=0.03)
    assert np.mean([one.positive_class for one in own]) == pytest.approx(0.4, abs=0.04)
    with pytest.raises(DataError, match="gone"):
        mixed({"few": few}, {"few": 1.0, "gone": 0.5})
    mixed({"few": few}, {"few": 1.0, "gone": 0.0})  # a share of nothing is no fault
