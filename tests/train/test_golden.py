"""Losses of one recipe for ten steps on a fixed seed: a rebuilt loop must give the same numbers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from helpers.phantom_set import small
from hilum.models.retinanet import RetinaNet
from hilum.train.run import run

# Recorded 2026-11-25 with `hilum train` at commit 43a561b, one thread, fp32.
LOSSES = (
    *(0.4785104, 0.8061882, 0.7621133, 0.804315, 0.4380186),
    *(0.0663398, 1.6267499, 0.4246535, 0.4518694, 0.7631767),
)


def test_ten_steps_give_the_recorded_losses(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    totals: list[float] = []
    real = RetinaNet.loss

    def heard(self: RetinaNet, batch: object) -> object:
        parts = real(self, batch)  # type: ignore[arg-type]
        if self.training:
            totals.append(float(torch.stack(list(parts.values())).sum()))
        return parts

    monkeypatch.setattr(RetinaNet, "loss", heard)
    run(small("train.epochs=5"), data, tmp_path / "run")
    assert totals == pytest.approx(LOSSES, rel=1e-4)
