"""Samplers draw what the winners' code drew, and rare classes more often."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from hilum.data.sampling import negatives_for, repeat_factors


def test_negatives_are_as_many_as_the_winner_drew(hilum_data: Path) -> None:
    path = hilum_data.parent / "oracles" / "siim_acr_sampler.json"
    if not path.is_file():
        pytest.skip("oracles are not here")
    for case in json.loads(path.read_text())["cases"]:
        assert negatives_for(case["n_positive"], case["proba"]) == case["n_negative"]


def test_a_class_is_repeated_until_it_is_as_frequent_as_asked() -> None:
    """10 of 100 have a, 40 have b, both are known of 80 only."""
    present = np.full((100, 2), np.nan)
    present[:80] = 0
    present[:8, 0] = 1
    present[4:36, 1] = 1
    factors = repeat_factors(present, 0.2)
    assert factors[:8] == pytest.approx(2.0)  # .2 / (8 / 80); also where b is there, too
    assert (factors[8:] == 1).all()  # b is frequent enough, and what nobody knows is as it is
    assert repeat_factors(np.zeros((3, 0)), 0.2).tolist() == [1.0] * 3
    assert repeat_factors(np.zeros((3, 1)), 0.2).tolist() == [1.0] * 3  # nobody has it
