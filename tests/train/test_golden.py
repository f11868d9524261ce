"""Losses of one recipe for ten steps on a fixed seed: a rebuilt loop must give the same numbers."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch

from helpers.phantom_set import CHANGES, yolo_set
from hilum.models.retinanet import RetinaNet
from hilum.train.recipe import load_recipe
from hilum.train.run import run

# Recorded 2026-11-25 with `hilum train` at commit 43a561b, one thread, fp32.
LOSSES = (
    *(0.4785104, 0.8061882, 0.7621133, 0.804315, 0.4380186),
    *(0.0663398, 1.6267499, 0.4246535, 0.4518694, 0.7631767),
)


def test_ten_steps_give_the_recorded_losses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    totals: list[float] = []
    real = RetinaNet.loss

    def heard(self: RetinaNet, batch: object) -> object:
        parts = real(self, batch)  # type: ignore[arg-type]
        if self.training:
            totals.append(float(torch.stack(list(parts.values())).sum()))
        return parts

    monkeypatch.setattr(RetinaNet, "loss", heard)
    torch.set_num_threads(1)
    recipe = load_recipe("rsna-retinanet-seresnext101-small", (*CHANGES, "train.epochs=5"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning leans on deprecated parts of torch
        run(recipe, yolo_set(tmp_path / "set"), tmp_path / "run")
    assert totals == pytest.approx(LOSSES, rel=1e-4)
