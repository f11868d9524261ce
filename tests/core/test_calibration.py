"""Maps of scores keep every ranking; one that falls would turn sick into healthy and is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hilum.core.calibration import score_map
from hilum.core.errors import ConfigError, DataError

RISING: list[dict[str, Any]] = [
    {"kind": "temperature", "temperature": 2.5},
    {"kind": "temperature", "temperature": 0.4},
    {"kind": "logistic", "slope": 0.3, "shift": -2.0},
    {"kind": "logistic", "slope": 1000, "shift": -1000},
    {"kind": "temperature", "temperature": 0.001},
    {"kind": "isotonic", "scores": [0.2, 0.5, 0.9], "probabilities": [0.0, 0.4, 0.4]},
]
IMPOSSIBLE: list[dict[str, Any]] = [
    {"kind": "temperature", "temperature": -1.0},
    {"kind": "temperature", "temperature": 0.0},
    {"kind": "logistic", "slope": -0.1},
    {"kind": "logistic", "slope": 0.0},
    {"kind": "isotonic", "scores": [0.2, 0.8], "probabilities": [0.9, 0.1]},
    {"kind": "isotonic", "scores": [0.8, 0.2], "probabilities": [0.1, 0.9]},
    {"kind": "isotonic", "scores": [0.2, 0.2], "probabilities": [0.1, 0.9]},
    {"kind": "isotonic", "scores": [0.2, 0.8], "probabilities": [0.1, 1.2]},
    {"kind": "isotonic", "scores": [0.2, 0.8], "probabilities": [0.1]},
    {"kind": "logistic", "slope": float("nan")},
    {"kind": "logistic", "slope": 1e308},
    {"kind": "logistic", "slope": 1.0, "shift": -1e308},
    {"kind": "temperature", "temperature": 1e-320},
    {"kind": "quadratic"},
]


@pytest.mark.parametrize("value", RISING, ids=str)
def test_a_map_never_turns_two_scores_round(value: dict[str, Any]) -> None:
    score = np.linspace(0, 1, 201)
    calibrated = score_map(value).apply(score)
    assert (np.diff(calibrated) >= 0).all()
    assert calibrated[0] < calibrated[-1]
    assert 0 <= calibrated.min() <= calibrated.max() <= 1
    assert score_map(score_map(value).to_json()) == score_map(value)


@pytest.mark.parametrize("value", IMPOSSIBLE, ids=str)
def test_a_map_that_falls_or_leaves_the_range_is_refused(value: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="calibration"):
        score_map(value)


@pytest.mark.parametrize("score", [-0.1, 1.1, float("nan")])
def test_what_is_no_probability_is_not_mapped(score: float) -> None:
    for value in RISING:
        with pytest.raises(DataError):
            score_map(value).apply([score])
