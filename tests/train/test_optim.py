"""Schedules and freezing as the studies describe them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from hilum.core.errors import ConfigError
from hilum.models.model import Targets
from hilum.models.options import (
    ClassifierOptions,
    RetinaNetOptions,
    SegmenterOptions,
    TwoStageOptions,
)
from hilum.models.registry import build_model
from hilum.train.optim import cosine_with_floor, factor, freeze, optimiser, schedule, still
from hilum.train.options import OptimiserOptions, ScheduleOptions, StageOptions


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))
        self.head = nn.Sequential(nn.Conv2d(2, 2, 1), nn.Conv2d(2, 1, 1))


def stage(**changes: object) -> StageOptions:
    return StageOptions.model_validate({"epochs": 1, "learning_rate": 0.1, **changes})


def test_cosine_with_floor_is_the_studys(oracles: Path) -> None:
    truth = json.loads((oracles / "lr_cosine_floor.json").read_text())
    for t, expected in enumerate(truth["lr_t"]):
        rate = truth["lr0"] * cosine_with_floor(t, truth["T"])
        assert rate == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("every", [1, 2])
def test_the_floor_is_reached_in_the_last_step(every: int) -> None:
    options = stage(schedule=ScheduleOptions(kind="cosine-floor", every=every, warmup=0))
    rates = [factor(step, options, steps=40, chunk=5) for step in range(40)]
    assert rates[0] == 1
    assert rates[-1] == pytest.approx(0.05)
    assert rates == sorted(rates, reverse=True)
    assert len(set(rates)) == (40 if every == 1 else 4)


def test_plateau_lowers_the_rate_after_its_patience() -> None:
    net = Net()
    optim = optimiser(net, 1.0, OptimiserOptions(kind="adam", encoder_factor=1.0))
    plateau = schedule(optim, stage(schedule={"kind": "plateau", "patience": 1}), 10, 1)
    for loss in (1.0, 1.0, 1.0):
        plateau.step(loss)  # type: ignore[arg-type]
    assert optim.param_groups[0]["lr"] == pytest.approx(0.2)


def test_what_is_frozen_does_not_move() -> None:
    net = Net()
    freeze(net, stage(freeze="encoder"))
    assert [p.requires_grad for p in net.encoder.parameters()] == [False] * 4
    assert all(p.requires_grad for p in net.head.parameters())
    still(net.train(), stage(freeze="encoder"))
    assert not net.encoder[1].training
    freeze(net, stage(freeze="first-half"))  # two of four layers
    assert [p.requires_grad for p in net.parameters()] == [False] * 4 + [True] * 4
    freeze(net, stage(frozen_batch_norm=True))
    assert [p.requires_grad for p in net.encoder.parameters()] == [True, True, False, False]
    still(net.train(), stage(frozen_batch_norm=True))
    before = net.encoder[1].running_mean.clone()  # type: ignore[union-attr,operator]
    net.head(net.encoder(torch.ones(2, 1, 3, 3)))
    assert torch.equal(before, net.encoder[1].running_mean)  # type: ignore[arg-type]


def test_a_part_that_alone_learns() -> None:
    net = Net()
    freeze(net, stage(learns="head"))
    assert [p.requires_grad for p in net.encoder.parameters()] == [False] * 4
    assert all(p.requires_grad for p in net.head.parameters())
    still(net.train(), stage(learns="head"))
    assert not net.encoder[1].training
    with pytest.raises(ConfigError, match="it has: encoder, head"):
        freeze(net, stage(learns=["head", "mask_head"]))


def test_only_the_pretrained_encoder_learns_slowly() -> None:
    optim = optimiser(Net(), 1.0, OptimiserOptions(encoder_factor=0.25))
    assert [(len(g["params"]), g["lr"]) for g in optim.param_groups] == [(4, 0.25), (4, 1.0)]


def test_the_encoder_of_every_trained_kind_can_be_frozen() -> None:
    targets = Targets(findings=("a",))
    kinds = (
        ClassifierOptions(kind="classifier", pretrained=False),
        SegmenterOptions(kind="segmenter", pretrained=False),
    )
    for options in kinds:
        net = build_model(options, 64, targets, 0)
        freeze(net, stage(freeze="encoder"))
        frozen = [p for p in net.parameters() if not p.requires_grad]
        assert 0.5 < len(frozen) / len(list(net.parameters())) < 1
        groups = optimiser(net.requires_grad_(), 1.0, OptimiserOptions(encoder_factor=0.5))
        assert len(groups.param_groups[0]["params"]) == len(frozen)
    with pytest.raises(ConfigError, match="first-half"):
        freeze(nn.Linear(1, 1), stage(freeze="encoder"))


def test_without_its_stem_an_encoder_has_three_stages_that_learn() -> None:
    for name, still_learns in (("resnet18", "layer2."), ("tf_efficientnet_lite0", "blocks.2.")):
        options = TwoStageOptions(
            kind="faster-rcnn", encoder=name, pretrained=False, channels=16, head_width=16
        )
        net = build_model(options, 64, Targets(), 0)
        freeze(net, stage(freeze="stem"))
        learns = [n for n, p in net.named_parameters() if p.requires_grad]
        assert learns[0].startswith(f"encoder.{still_learns}")
    # RetinaNet from level 3 on does not look at the map of stride 4.
    coarse = RetinaNetOptions(kind="retinanet", encoder="resnet18", pretrained=False, channels=16)
    net = build_model(coarse, 64, Targets(), 0)
    freeze(net, stage(freeze="stem"))
    learns = [n for n, p in net.named_parameters() if p.requires_grad]
    assert learns[0].startswith("encoder.layer2.")
    with pytest.raises(ConfigError, match="first-half"):
        freeze(nn.Linear(1, 1), stage(freeze="stem"))


def test_cosine_begins_anew_with_each_cycle() -> None:
    """E5: at the end of a cycle the rate is near nothing, after it the whole again."""
    options = StageOptions.model_validate(
        {"epochs": 4, "learning_rate": 1, "schedule": {"kind": "cosine", "cycles": 2, "warmup": 0}}
    )
    rates = [factor(step, options, steps=40) for step in range(41)]
    assert rates[0] == rates[20] == max(rates)
    assert max(rates[19], rates[39], rates[40]) < 0.02
    assert rates[1:20] == sorted(rates[1:20], reverse=True)


@pytest.mark.parametrize(
    ("watch", "mode"), [("val_loss", "min"), ("ece", "min"), ("auc", "max"), ("mcc_opacity", "max")]
)
def test_a_plateau_watches_a_number_in_its_own_direction(watch: str, mode: str) -> None:
    own = ScheduleOptions(kind="plateau", watch=watch)
    stage = StageOptions(steps=10, learning_rate=1.0, schedule=own)
    rate = schedule(optimiser(Net(), 1.0, OptimiserOptions()), stage, 10, 5)
    assert isinstance(rate, torch.optim.lr_scheduler.ReduceLROnPlateau)
    assert rate.mode == mode
