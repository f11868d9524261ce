"""A recipe trained by two ranks is the recipe trained by one."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from helpers.phantom_set import small
from helpers.ranks import on_ranks
from hilum.train.recipe import Recipe
from hilum.train.run import run


def recipe() -> Recipe:
    """Nothing in it looks at a part of a batch alone; two batches a step, of five images."""
    return small(
        *("train.batch=5", "train.accumulate=2", "train.epochs=2", "model.dropout=0"),
        *("stages.all.frozen_batch_norm=true", "optimiser.kind=sgd", "train.clip_norm=1"),
    )


def files(run: Path) -> set[str]:
    return {str(file.relative_to(run)) for file in run.rglob("*") if "tensorboard" not in str(file)}


def test_two_ranks_end_where_one_does(data: Path, tmp_path: Path) -> None:
    """Images, weights, averages, numbers and files, to the rounding."""
    one = run(recipe(), data, tmp_path / "one")
    (two, _) = on_ranks(2, run, recipe(), data, tmp_path / "two", folder=tmp_path / "meet")
    assert files(one) == files(two)
    assert len(list(two.glob("all/tensorboard/*"))) == 1
    for name in ("last", "weights"):
        expected, found = (load_file(r / f"all/{name}.safetensors") for r in (one, two))
        for key, value in expected.items():
            torch.testing.assert_close(found[key], value, rtol=1e-4, atol=1e-5, msg=key)
    rows = [pd.read_parquet(r / "metrics.parquet") for r in (one, two)]
    assert rows[0]["step"].tolist() == [2, 4]
    for name in ("step", "loss", "val_loss"):
        assert rows[1][name].tolist() == pytest.approx(rows[0][name].tolist(), rel=1e-4)
    untrained, last = (rows[0][name].iloc[-1] for name in ("val_loss", "loss"))
    assert json.loads((two / "environment.json").read_text())["ranks"] == 2
    assert untrained != last
