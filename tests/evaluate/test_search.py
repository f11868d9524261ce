"""The search over options, here of a fusion, on validation folds."""

import numpy as np
import pytest

from hilum.core.errors import ConfigError, DataError
from hilum.evaluate import detection_ap, search
from hilum.fuse import weighted_boxes


def test_a_search_finds_the_overlap_that_joins_two_models() -> None:
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, 100, (20, 1, 2))
    truth = np.concatenate([corner, corner + 50], axis=2)
    answer = [truth + rng.uniform(-6, 6, truth.shape) for _ in range(2)]
    scores = rng.uniform(0.5, 1, (2, 20, 1))

    def score(options: dict, rows: np.ndarray) -> float:
        fused = [
            weighted_boxes([b[i] for b in answer], scores[:, i], [[0], [0]], iou=options["iou"])
            for i in rows
        ]
        return detection_ap(truth[rows], [(f[0], f[1]) for f in fused], 0.75)

    match = search(score, {"iou": [0.99, 0.5]}, np.arange(20) % 4)
    assert match.options == {"iou": 0.5}
    assert match.table.shape == (2, 4)
    assert match.nested <= match.score


def test_choosing_among_noise_gains_nothing_when_nested() -> None:
    noise = np.random.default_rng(0).random((50, 10))
    match = search(lambda o, rows: noise[o["k"], rows[0]], {"k": range(50)}, np.arange(10))
    assert match.score > 0.6
    assert match.nested == pytest.approx(0.5, abs=0.15)


def test_a_search_needs_folds_values_and_scores() -> None:
    with pytest.raises(DataError, match="folds"):
        search(lambda o, rows: 1.0, {"k": [1]}, [0, 0])
    with pytest.raises(ConfigError):
        search(lambda o, rows: 1.0, {"k": []}, [0, 1])
    with pytest.raises(DataError, match="no score"):
        search(lambda o, rows: float("nan"), {"k": [1]}, [0, 1])
