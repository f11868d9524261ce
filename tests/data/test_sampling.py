"""Samplers draw what the winners' code drew, and every class equally."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hilum.core.errors import ConfigError, DataError
from hilum.data import Catalog
from hilum.data.catalog import build
from hilum.data.sampling import equalised, negatives_for, sliding_rate, weighted


def made_up(a: int = 30, b: int = 5, none: int = 100) -> Catalog:
    n = a + b + none + 1
    table = pd.DataFrame({"image_id": [str(i) for i in range(n)]})
    table["patient"] = table["image_id"]
    table["label_a"] = [1.0] * a + [0.0] * (b + none) + [np.nan]
    table["label_b"] = [0.0] * a + [1.0] * b + [0.0] * none + [np.nan]
    return build("made-up", table, Path())


def test_negatives_are_as_many_as_the_winner_drew(hilum_data: Path) -> None:
    path = hilum_data.parent / "oracles" / "siim_acr_sampler.json"
    if not path.is_file():
        pytest.skip("oracles are not here")
    for case in json.loads(path.read_text())["cases"]:
        assert negatives_for(case["n_positive"], case["proba"]) == case["n_negative"]


def test_sliding_rate_takes_all_positives_once() -> None:
    rows = sliding_rate(made_up(), "a", 0.4)
    assert sorted(rows[rows < 30]) == list(range(30))
    assert len(rows) == 30 + 45
    assert rows.max() < 135  # the row without annotation never comes
    assert not np.array_equal(rows, sliding_rate(made_up(), "a", 0.4, epoch=1))
    np.testing.assert_array_equal(rows, sliding_rate(made_up(), "a", 0.4))
    assert sorted(sliding_rate(made_up(), "a", 1.0)) == list(range(30))


def test_weighted_and_equalised_make_classes_equal() -> None:
    catalog = made_up()
    for rows in (weighted(catalog, ["a", "b"], 3000), equalised(catalog, ["a", "b"])):
        kinds = np.digitize(rows, [30, 35])
        shares = np.bincount(kinds) / len(rows)
        assert shares == pytest.approx([1 / 3] * 3, abs=0.04)
        assert rows.max() < 135
    counts = np.bincount(rows)
    assert counts[:135].min() >= 1
    assert counts[30:35].tolist() == [20] * 5


def test_what_cannot_be_balanced_says_why() -> None:
    with pytest.raises(ConfigError, match="above 0"):
        sliding_rate(made_up(), "a", 0)
    with pytest.raises(DataError, match="known: a, b"):
        sliding_rate(made_up(), "c", 0.5)
    with pytest.raises(DataError, match="0 positives"):
        sliding_rate(made_up(a=0), "a", 0.5)
