"""A stage that is killed and goes on ends with the same weights, bit for bit."""

from __future__ import annotations

import copy
import logging
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from hilum.models.model import Targets
from hilum.models.opacity_net import OpacityNet
from hilum.models.options import OpacityNetOptions
from hilum.train import loop as fitting
from hilum.train.export import check_export, to_int8, to_onnx
from hilum.train.feed import Feed, mixed
from hilum.train.loop import fit, spec_of, targets_of
from hilum.train.recipe import Recipe, load_recipe
from hilum.train.store import Item

SIZE = 64


CHANGES = (
    f"preprocessing.size={SIZE}",
    "train.batch=2",
    "train.threads=1",
    "train.precision=fp32",
    "train.save_every=2",
    "stages.base.steps=4",
    "stages.base.schedule.warmup=1",
    "stages.base.mix={made: 1.0}",
)


def recipe() -> Recipe:
    return load_recipe("default", CHANGES)


def made(count: int = 6) -> list[Item]:
    """Discs on noise: boxes, masks and classes known."""
    items = []
    for i in range(count):
        rng = np.random.default_rng(i)
        image = rng.random((SIZE, SIZE)) * 0.3
        x, y = rng.integers(16, 44, 2)
        image[y - 8 : y + 8, x - 8 : x + 8] += 0.6
        mask = np.zeros((SIZE, SIZE), np.uint8)
        mask[y - 8 : y + 8, x - 8 : x + 8] = 1
        items.append(
            Item(
                f"m{i}",
                "made",
                f"p{i}",
                image.astype(np.float16),
                np.array([[x - 8, y - 8, x + 8, y + 8]], np.float32),
                {"opacity": mask},
                np.array([0, 0, 1], np.float32),
                np.full(14, np.nan, np.float32),
                called=True,
            )
        )
    return items


def fresh() -> OpacityNet:
    torch.manual_seed(3)
    options = OpacityNetOptions(pretrained=False, channels=8, dropout=0.5)
    return OpacityNet(options, SIZE, Targets(findings=tuple("abcdefghijklmn")))


@pytest.fixture
def quiet() -> object:
    # Lightning leans on deprecated parts of torch; ours stay errors.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.mark.slow
@pytest.mark.usefixtures("quiet")
def test_a_resumed_stage_ends_with_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options, draw = recipe(), mixed({"made": made()}, {"made": 1.0})
    whole = fresh()
    fit(whole, "base", options, draw, tmp_path / "whole", seed=1)

    real = Feed.__getitem__

    def killed(self: Feed, index: int) -> object:
        if self.start + index == 3:
            raise RuntimeError("killed")
        return real(self, index)

    monkeypatch.setattr(Feed, "__getitem__", killed)
    with pytest.raises(RuntimeError, match="killed"):
        fit(fresh(), "base", options, draw, tmp_path / "parts", seed=1)
    assert (tmp_path / "parts" / "last.ckpt").is_file()
    assert not (tmp_path / "parts" / "weights.safetensors").exists()
    monkeypatch.setattr(Feed, "__getitem__", real)
    fit(fresh(), "base", options, draw, tmp_path / "parts", seed=1)
    one, two = (load_file(tmp_path / n / "weights.safetensors") for n in ("whole", "parts"))
    assert one.keys() == two.keys()
    for key in one:
        assert torch.equal(one[key], two[key]), key


def test_a_sample_depends_on_its_number_alone() -> None:
    options = recipe()
    groups = {"made": made()}

    def feed(start: int) -> Feed:
        return Feed(
            mixed(groups, {"made": 1.0}),
            fitting.policy("default"),
            spec_of(options),
            targets_of(options),
            batch=2,
            start=start,
            batches=4,
            seed=9,
        )

    torch.testing.assert_close(feed(0)[3].image_B1SS, feed(3)[0].image_B1SS)
    assert not torch.equal(feed(0)[0].image_B1SS, feed(0)[1].image_B1SS)


@pytest.mark.slow
@pytest.mark.usefixtures("quiet")
def test_the_export_equals_pytorch_and_int8_is_near() -> None:
    net = copy.deepcopy(fresh()).eval()
    images = np.random.default_rng(0).normal(0, 0.5, (4, 1, SIZE, SIZE)).astype(np.float32)
    graph = to_onnx(net, SIZE)
    assert check_export(net, graph, images) <= 1e-4
    assert b"/site-packages/" not in graph
    assert str(Path(__file__).parents[2]).encode() not in graph  # no path of this machine
    heard = logging.getLogger().level
    small = to_int8(graph, images)
    assert logging.getLogger().level == heard  # what comes after is still logged
    assert len(small) < len(graph) / 2


@pytest.mark.slow
@pytest.mark.usefixtures("quiet")
def test_a_stopped_stage_that_was_killed_stays_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = ("train.patience=2", "stages.base.steps=20", "train.save_every=1")
    options = load_recipe("default", (*CHANGES, *changes))
    draw, losses = mixed({"made": made()}, {"made": 1.0}), iter([3.0, 2, 5, 6, 1, 0])

    def stage() -> None:
        def evaluate(_: object) -> dict[str, float]:
            return {"val_loss": next(losses)}

        fit(fresh(), "base", options, draw, tmp_path, seed=1, evaluate=evaluate)

    def killed(*_: object) -> None:
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(fitting, "_chosen", killed)
        with pytest.raises(RuntimeError, match="killed"):
            stage()
    stage()
    rows = pd.read_parquet(tmp_path / "metrics.parquet")
    assert rows["val_loss"].tolist() == [3, 2, 5, 6]
