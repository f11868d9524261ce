"""A killed run ends as an unbroken one, down to the last bit of the last step."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml

from helpers.phantom_set import CHANGES, yolo_set
from hilum.train.recipe import Recipe, load_recipe
from hilum.train.run import run


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning leans on deprecated parts of torch
        yield


def recipe(*changes: str) -> Recipe:
    torch.set_num_threads(1)
    more = ("train.epochs=3", "train.batch=3", *changes)
    return load_recipe("rsna-retinanet-seresnext101-small", (*CHANGES, *more))


def bytes_of(run: Path) -> dict[str, bytes]:
    return {n: (run / "all" / n).read_bytes() for n in ("last.safetensors", "weights.safetensors")}


def test_a_killed_run_ends_as_an_unbroken_one(tmp_path: Path) -> None:
    """Killed without warning in its second epoch; every epoch then has all its steps."""
    data = yolo_set(tmp_path / "set")
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
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    """States are saved between epochs too; dropout and the sums of losses go on from them."""
    from hilum.models.retinanet import RetinaNet
    from hilum.train import loop

    data, told = yolo_set(tmp_path / "set"), recipe("train.batch=2", "train.epochs=2", change)
    whole = run(told, data, tmp_path / "whole")
    monkeypatch.setattr(loop, "SAVE_S", 0.0)
    real, steps = RetinaNet.loss, [0]

    def killed(self: RetinaNet, batch: object) -> object:
        steps[0] += self.training
        if self.training and steps[0] == 9:
            raise KeyboardInterrupt
        return real(self, batch)  # type: ignore[arg-type]

    monkeypatch.setattr(RetinaNet, "loss", killed)
    with pytest.raises(KeyboardInterrupt):
        run(told, data, tmp_path / "parts")
    state = torch.load(tmp_path / "parts/all/last.ckpt", weights_only=False)
    assert (state["step"], len(state["rows"])) in {(4, 1), (8, 1)}  # of 3, or 6, an epoch
    parts = run(told, data, tmp_path / "parts")
    assert bytes_of(whole) == bytes_of(parts)
    one, two = (pd.read_parquet(r / "all/metrics.parquet") for r in (whole, parts))
    assert one.equals(two)
