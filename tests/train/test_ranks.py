"""A recipe trained by two ranks is the recipe trained by one."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from helpers.ranks import assert_same_weights, on_ranks, whole_or_in_parts
from hilum.train.run import run

PARTS = ("untrained", "validation")


def files(run: Path) -> set[str]:
    """But for the lock, which is whoever's who starts ranks."""
    every = {str(file.relative_to(run)) for file in run.rglob("*")}
    return {name for name in every - {".lock"} if "tensorboard" not in name}


def test_two_ranks_end_where_one_does(data: Path, tmp_path: Path) -> None:
    """Images, weights, averages, numbers and files."""
    recipe = whole_or_in_parts()
    one = run(recipe, data, tmp_path / "one")
    (two, _) = on_ranks(2, run, recipe, data, tmp_path / "two", folder=tmp_path / "meet")
    assert files(one) == files(two)
    assert len(list(two.glob("all/tensorboard/*"))) == 1
    assert_same_weights(one, two)
    rows = [pd.read_parquet(r / "metrics.parquet") for r in (one, two)]
    assert rows[0]["step"].tolist() == [2, 4]
    for name in ("step", "loss", "val_loss"):
        assert rows[1][name].tolist() == pytest.approx(rows[0][name].tolist(), rel=1e-4)
    assert json.loads((two / "environment.json").read_text())["ranks"] == 2
    before, after = (json.loads((one / "results.json").read_text())[p] for p in PARTS)
    assert abs(before["val_loss"] - after["val_loss"]) > 0.01  # it does learn
