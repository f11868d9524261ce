"""The search over options, here of a fusion, on validation folds."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hilum.core.errors import ConfigError, DataError
from hilum.data.catalog import build
from hilum.evaluate import detection_ap, search
from hilum.evaluate.thresholds.search import patient_folds
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


def test_no_patient_is_in_two_folds_and_what_is_marked_is_in_all() -> None:
    """However a patient's id is written."""
    ids = [f"i{k}" for k in range(24)]
    patients = [f"P-{k // 2:03d}" if k % 2 else f"p_{k // 2}" for k in range(24)]
    boxes = [[0.0, 0, 10, 10] if k < 8 else [] for k in range(24)]
    table = pd.DataFrame({"image_id": ids, "path": ids, "patient": patients, "boxes": boxes})
    table["box_labels"] = [["opacity"] * (len(one) // 4) for one in boxes]
    catalog = build("toy", table, Path())
    fold = patient_folds(catalog, [len(one) for one in boxes], 4)
    assert (fold[::2] == fold[1::2]).all()
    assert len(set(fold[:8])) == 4
    with pytest.raises(DataError, match="12 independent patients"):
        patient_folds(catalog, np.ones(24), 13)
