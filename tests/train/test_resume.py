"""A killed run ends as an unbroken one, down to the last bit of the last step."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml

from helpers.phantom_set import in_stages, small
from hilum.core.processes import heard, listening
from hilum.models.retinanet import RetinaNet
from hilum.models.weights import WEIGHTS
from hilum.train import stage
from hilum.train.recipe import Recipe
from hilum.train.run import run


def recipe(*changes: str) -> Recipe:
    return small("train.epochs=3", "train.batch=3", *changes)


def bytes_of(run: Path) -> dict[str, bytes]:
    return {n: (run / "all" / n).read_bytes() for n in ("last.safetensors", "weights.safetensors")}


def test_a_killed_run_ends_as_an_unbroken_one(data: Path, tmp_path: Path) -> None:
    """Killed without warning in its second epoch; every epoch then has all its steps."""
    whole = run(recipe(), data, tmp_path / "whole")
    file, parts = tmp_path / "recipe.yaml", tmp_path / "parts"
    file.write_text(yaml.safe_dump(recipe().model_dump(mode="json")))
    words = ["train", str(file), "--data", str(data), "--out", str(parts)]
    process = subprocess.Popen(
        [sys.executable, "-m", "hilum", *words], env=os.environ, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 300
    while not list(parts.glob("all/last.ckpt")) and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.02)
    process.kill()
    process.wait()
    assert not (parts / "all" / "last.safetensors").exists()
    run(recipe("train.workers=1"), data, parts)  # workers change no number
    steps = [pd.read_parquet(one / "metrics.parquet")["step"].tolist() for one in (whole, parts)]
    assert steps == [[4, 8, 12], [4, 8, 12]]
    assert bytes_of(whole) == bytes_of(parts)
    assert (whole / "results.json").read_text() == (parts / "results.json").read_text()


@pytest.mark.parametrize("change", ["train.accumulate=2", "stages.all.schedule={kind: plateau}"])
def test_a_run_killed_inside_an_epoch_goes_on_there(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    """States are saved between epochs too; dropout and the sums of losses go on from them."""
    changes = ("train.batch=2", "train.epochs=2", "train.save_s=0", change)
    folder = recipe(*changes)
    whole = run(folder, data, tmp_path / "whole")
    real, steps = RetinaNet.loss, [0]

    def killed(self: RetinaNet, batch: object) -> object:
        steps[0] += self.training
        if self.training and steps[0] == 9:
            raise KeyboardInterrupt
        return real(self, batch)  # type: ignore[arg-type]

    monkeypatch.setattr(RetinaNet, "loss", killed)
    with pytest.raises(KeyboardInterrupt):
        run(folder, data, tmp_path / "parts")
    state = torch.load(tmp_path / "parts/all/last.ckpt", weights_only=False)
    assert (state["step"], len(state["rows"])) in {(4, 1), (8, 1)}  # of 3, or 6, an epoch
    parts = run(folder, data, tmp_path / "parts")
    assert bytes_of(whole) == bytes_of(parts)
    one, two = (pd.read_parquet(r / "all/metrics.parquet") for r in (whole, parts))
    assert one.equals(two)


@pytest.mark.usefixtures("hearing")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_step_of_an_interrupt_is_ended_and_kept(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    folder = recipe("train.batch=2", "train.epochs=2", "train.save_s=10000")
    real, steps = RetinaNet.loss, [0]

    def interrupted(self: RetinaNet, batch: object) -> object:
        steps[0] += self.training
        if self.training and steps[0] == 9:
            os.kill(os.getpid(), number)
        return real(self, batch)  # type: ignore[arg-type]

    with monkeypatch.context() as patch, listening():
        patch.setattr(RetinaNet, "loss", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(folder, data, tmp_path / "parts")
        assert heard() == number
    state = torch.load(tmp_path / "parts/all/last.ckpt", weights_only=False)
    assert (state["step"], len(state["rows"])) == (9, 1)  # 6 an epoch
    parts = run(folder, data, tmp_path / "parts")
    assert bytes_of(run(folder, data, tmp_path / "whole")) == bytes_of(parts)


def test_a_stage_that_continues_goes_on_after_a_kill(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Optimiser and average of the stage before are still there."""
    stages = {
        "one": {"epochs": 1, "learning_rate": 0.001, "schedule": {"warmup": 0}},
        "two": {"epochs": 2, "continues": True},
    }
    folder = in_stages(small(), stages)
    whole = run(folder, data, tmp_path / "whole")
    real, calls = stage.Stage.save, [0]

    def killed(self: stage.Stage) -> None:
        calls[0] += 1
        if calls[0] == 3:
            raise RuntimeError("killed")
        real(self)

    with monkeypatch.context() as patch:
        patch.setattr(stage.Stage, "save", killed)
        with pytest.raises(RuntimeError, match="killed"):
            run(folder, data, tmp_path / "parts")
    parts = run(folder, data, tmp_path / "parts")
    for name in ("one", "two"):
        for file in ("last.safetensors", "weights.safetensors"):
            assert (whole / name / file).read_bytes() == (parts / name / file).read_bytes()


def test_a_stage_that_was_killed_before_its_first_state_begins_from_the_mean_again(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its folder is there, and nothing in it that knows the mean of the stages before."""
    second = "stages.second={steps: 2, learning_rate: 0.01, schedule: {warmup: 0}}"
    third = "stages.third={steps: 2, learning_rate: 0.01, learns: global_head}"
    folder = small(second, third, "train.average={stages: [all, second]}")
    whole = run(folder, data, tmp_path / "whole")
    real = stage.Stage.save

    def killed(self: stage.Stage) -> None:
        if self.out.name == "third":
            raise RuntimeError("killed")
        real(self)

    with monkeypatch.context() as patch:
        patch.setattr(stage.Stage, "save", killed)
        with pytest.raises(RuntimeError, match="killed"):
            run(folder, data, tmp_path / "parts")
    assert (tmp_path / "parts/third").is_dir()
    parts = run(folder, data, tmp_path / "parts")
    assert (parts / WEIGHTS).read_bytes() == (whole / WEIGHTS).read_bytes()


def test_a_stopped_stage_that_was_killed_stays_stopped(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = iter([9.0, 3.0, 2, 5, 6, 1, 0, 0, 0])  # the first is of the untrained network
    monkeypatch.setattr("hilum.train.run.evaluate", lambda *_, **__: {"val_loss": next(losses)})
    text = recipe("train.patience=2", "train.epochs=20", "train.batch=6", "train.watch=val_loss")

    def killed(*_: object) -> None:
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr("hilum.train.loop._chosen", killed)
        with pytest.raises(RuntimeError, match="killed"):
            run(text, data, tmp_path / "run")
    run(text, data, tmp_path / "run")
    rows = pd.read_parquet(tmp_path / "run" / "all" / "metrics.parquet")
    assert rows["val_loss"].tolist() == [3, 2, 5, 6]
