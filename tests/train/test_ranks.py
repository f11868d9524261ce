"""Several ranks, each with its part of every batch, learn what one learns from the whole."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import torch

from helpers.gradients import SMALL, Gradients, learn
from helpers.ranks import assert_same_weights, on_ranks, whole_or_in_parts
from hilum.core.files import OWN_MARK
from hilum.models import ranks


@pytest.fixture(scope="module")
def one(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Gradients, Path]:
    torch.set_num_threads(1)
    return learn(whole_or_in_parts(), data, tmp_path_factory.mktemp("one") / "run")


@pytest.fixture(scope="module")
def two(data: Path, tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Gradients, Path]]:
    folder = tmp_path_factory.mktemp("two")
    arguments = (whole_or_in_parts(), data, folder / "run")
    return on_ranks(2, learn, *arguments, folder=folder / "meeting")


@pytest.mark.parametrize("kind", SMALL)
def test_two_ranks_have_the_losses_and_gradients_of_one(
    one: tuple[Gradients, Path], two: list[tuple[Gradients, Path]], kind: str
) -> None:
    """Whoever has the boxes, the masks and the labels."""
    losses, expected = one[0][kind]
    assert all(value > 0 for value in losses.values())
    for both, _ in two:
        values, found = both[kind]
        assert values == pytest.approx(losses, rel=1e-5)
        assert found.keys() == expected.keys()
        for name, gradient in expected.items():
            scale = max(float(gradient.abs().max()), 1e-6)
            torch.testing.assert_close(
                found[name] / scale, gradient / scale, rtol=0, atol=1e-3, msg=name
            )


def files(run: Path) -> set[str]:
    """But for the mark, which is whoever's who starts ranks."""
    every = {str(file.relative_to(run)) for file in run.rglob("*")}
    return {name for name in every if "tensorboard" not in name and not name.startswith(OWN_MARK)}


def test_a_run_of_two_ranks_is_the_run_of_one(
    one: tuple[Gradients, Path], two: list[tuple[Gradients, Path]]
) -> None:
    """Images, weights, averages, numbers and files."""
    alone, shared = one[1], two[0][1]
    assert files(alone) == files(shared)
    assert len(list(shared.glob("all/tensorboard/events*"))) == 1
    assert_same_weights(alone, shared)
    rows = [pd.read_parquet(run / "metrics.parquet") for run in (alone, shared)]
    assert rows[0]["step"].tolist() == [2, 4]
    for name in ("step", "loss", "val_loss"):
        assert rows[1][name].tolist() == pytest.approx(rows[0][name].tolist(), rel=1e-4)
    assert json.loads((shared / "environment.json").read_text())["ranks"] == 2
    results = json.loads((alone / "results.json").read_text())
    before, after = (results[part]["val_loss"] for part in ("untrained", "validation"))
    assert abs(before - after) > 0.01  # it does learn


def test_one_process_is_the_first_rank_of_one() -> None:
    assert (ranks.rank(), ranks.world(), ranks.first()) == (0, 1, True)
    assert ranks.own_part(range(4, 8)) == range(4, 8)
    assert ranks.from_first(lambda: "made") == "made"
    value = torch.tensor(3.0)
    with ranks.together():
        assert ranks.summed(value) is value
        assert ranks.pooled(value, 7) is value
