"""Several ranks, each with its part of a batch, learn what one learns from the whole."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from helpers.gradients import SMALL, gradients
from helpers.ranks import on_ranks
from hilum.models import ranks


@pytest.fixture(scope="module")
def alone() -> dict[str, Any]:
    torch.set_num_threads(1)
    return gradients()


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return on_ranks(2, gradients, folder=tmp_path_factory.mktemp("ranks") / "two")


@pytest.mark.parametrize("kind", SMALL)
def test_two_ranks_have_the_losses_and_gradients_of_one(
    alone: dict[str, Any], both: list[dict[str, Any]], kind: str
) -> None:
    """Whoever has the boxes, the masks and the labels."""
    losses, expected = alone[kind]
    assert all(value > 0 for value in losses.values())
    for rank in both:
        values, found = rank[kind]
        assert values == pytest.approx(losses, rel=1e-5)
        assert found.keys() == expected.keys()
        for name, gradient in expected.items():
            scale = max(float(gradient.abs().max()), 1e-6)
            torch.testing.assert_close(
                found[name] / scale, gradient / scale, rtol=0, atol=1e-3, msg=name
            )


def test_one_process_is_the_first_rank_of_one() -> None:
    assert (ranks.rank(), ranks.world(), ranks.first()) == (0, 1, True)
    assert ranks.own_part(range(4, 8)) == range(4, 8)
    assert ranks.from_first(lambda: "made") == "made"
    value = torch.tensor(3.0)
    with ranks.together():
        assert ranks.summed(value) is value
        assert ranks.pooled(value, 7) is value
