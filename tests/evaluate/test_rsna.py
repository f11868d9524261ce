"""RSNA score: the kernel's stored cases, the real label table, and what must not matter."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hilum.core.errors import ConfigError, DataError, GeometryError
from hilum.evaluate import (
    rsna_image_score,
    rsna_per_image,
    rsna_predictions,
    rsna_score,
    rsna_truth,
)
from hilum.fuse import scale_boxes

BOX = [100.0, 100.0, 300.0, 300.0]


def _corners(xywh: Any) -> np.ndarray:
    b = np.array(xywh, float).reshape(-1, 4)
    return np.c_[b[:, :2], b[:, :2] + b[:, 2:]]


@pytest.fixture(params=["compiled", "numpy"])
def loops(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hilum.core.jit.WORTH_LOADING", 0)
    monkeypatch.setenv("HILUM_NUMBA", "1" if request.param == "compiled" else "0")


@pytest.mark.usefixtures("loops")
def test_stored_cases_of_the_kernel_and_its_other_readings(oracles: Path) -> None:
    for case in json.loads((oracles / "rsna_metric.json").read_text())["cases"]:
        truth = _corners(case["boxes_true"])
        prediction = _corners(case["boxes_pred"]), case["scores"]
        got = [
            rsna_image_score(truth, prediction),
            rsna_image_score(truth, prediction, strict=True),
            rsna_image_score(truth, prediction, match="prediction"),
        ]
        want = [case["map_iou"], case["gt_order_strict"], case["pred_order_ge_best"]]
        assert got == pytest.approx(want, abs=1e-6), case["name"]


def test_images_without_truth_and_prediction_are_not_counted() -> None:
    nothing = np.zeros((0, 4)), []
    assert rsna_image_score(np.zeros((0, 4)), nothing) is None
    assert rsna_image_score([BOX], nothing) == 0
    assert rsna_image_score([], ([BOX], [0.5])) == 0
    assert rsna_score([[BOX], [], []], [([BOX], [0.9]), ([], []), ([BOX], [0.1])]) == 0.5
    assert np.isnan(rsna_score([[]], [([], [])]))


def test_the_thousand_published_labels(hilum_data: Path, oracles: Path) -> None:
    path = hilum_data / "tables" / "rsna_stage1_test_gt.csv"
    if not path.is_file():
        pytest.skip("the stage-1 test labels are not there")
    truth = list(rsna_truth(path).values())
    assert len(truth) == 1000
    stored = json.loads((oracles / "rsna_metric.json").read_text())
    for name, (score, counted) in stored["stage1_test_dataset_scores"]["scores"].items():
        if name.startswith("gt_scaled_"):
            factor = float(name.removeprefix("gt_scaled_"))
            boxes = [scale_boxes(b, factor) for b in truth]
        else:
            boxes = [np.array([[0.0, 0, 100, 100]])] * len(truth)
        predictions = [(b, np.full(len(b), 0.5)) for b in boxes]
        assert rsna_score(truth, predictions) == pytest.approx(score, abs=1e-6)
        assert (~np.isnan(rsna_per_image(truth, predictions))).sum() == counted


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.booleans())
def test_order_of_images_and_of_predictions_does_not_matter(seed: int, ties: bool) -> None:
    rng = np.random.default_rng(seed)
    truth = [_boxes(rng, rng.integers(0, 4)) for _ in range(6)]
    predictions = [(_near(rng, t), rng.random(len(t) + 2).round(1 if ties else 9)) for t in truth]
    score = rsna_score(truth, predictions)
    images = rng.permutation(6)
    mixed = []
    for i in images:
        rows = rng.permutation(len(predictions[i][1]))
        mixed.append((predictions[i][0][rows], predictions[i][1][rows]))
    assert rsna_score([truth[i] for i in images], mixed) == pytest.approx(score, abs=1e-12)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from(["truth", "prediction"]))
def test_compiled_and_numpy_loops_are_equal(seed: int, match: Any) -> None:
    rng = np.random.default_rng(seed)
    truth = [_boxes(rng, rng.integers(0, 4)) for _ in range(5)]
    predictions = [(_near(rng, t), rng.random(len(t) + 2).round(1)) for t in truth]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hilum.core.jit.WORTH_LOADING", 0)
        fast = rsna_per_image(truth, predictions, match=match)
        patch.setenv("HILUM_NUMBA", "0")
        np.testing.assert_array_equal(fast, rsna_per_image(truth, predictions, match=match))


def _boxes(rng: np.random.Generator, n: int) -> np.ndarray:
    corner = rng.integers(0, 200, (n, 2)).astype(float)
    return np.c_[corner, corner + rng.integers(20, 200, (n, 2))]


def _near(rng: np.random.Generator, truth: np.ndarray) -> np.ndarray:
    return np.concatenate([truth + rng.integers(-9, 9, truth.shape), _boxes(rng, 2)])


@pytest.mark.parametrize(
    ("truth", "prediction", "error"),
    [
        ([BOX], ([BOX], [1.2]), GeometryError),
        ([BOX], ([BOX], [np.nan]), GeometryError),
        ([BOX], ([BOX], [0.5, 0.6]), DataError),
        ([[300, 100, 100, 300]], ([BOX], [0.5]), GeometryError),
        ([BOX], ([[np.nan, 0, 1, 1]], [0.5]), GeometryError),
        ([[1.0, 2.0]], ([BOX], [0.5]), GeometryError),
        ([BOX], ([BOX], 0.5), DataError),
    ],
)
def test_bad_values_are_refused(truth: Any, prediction: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        rsna_score([truth], [prediction])


def test_unequal_numbers_of_images_are_refused() -> None:
    with pytest.raises(DataError):
        rsna_score([[BOX]], [])
    with pytest.raises(ConfigError):
        rsna_score([[BOX]], [([BOX], [0.5])], thresholds=[1.5])


def test_a_submission_is_read_as_score_x_y_width_height(tmp_path: Path) -> None:
    path = tmp_path / "submission.csv"
    path.write_text("﻿patientId,PredictionString\na,0.5 0 0 100 100 0.4 10 20 30 40\nb,\n")
    boxes, scores = rsna_predictions(path)["a"]
    assert boxes.tolist() == [[0, 0, 100, 100], [10, 20, 40, 60]]
    assert scores.tolist() == [0.5, 0.4]
    assert len(rsna_predictions(path)["b"][0]) == 0
    for bad in ("0.5 0 0 100", "2 0 0 1 1", "0.5 0 0 -1 1", "x 0 0 1 1", "nan 0 0 1 1"):
        path.write_text(f"patientId,PredictionString\na,{bad}\n")
        with pytest.raises(DataError):
            rsna_predictions(path)


def _submission(boxes: Any, columns: str = "patientId,PredictionString") -> pd.DataFrame:
    rows = [(f"p{i}", "0.5 " + " ".join(map(str, box))) for i, box in enumerate(boxes)]
    return pd.DataFrame(rows, columns=columns.split(","))


def test_corners_in_the_place_of_sizes_are_refused() -> None:
    rng = np.random.default_rng(1)
    near = rng.uniform((120, 200), (600, 600), (40, 2)).round()
    sizes = rng.uniform((130, 150), (260, 380), (40, 2)).round()
    assert len(rsna_predictions(_submission(np.c_[near, sizes]))) == 40
    corners = np.c_[near, near + sizes]
    with pytest.raises(DataError, match=r"all 40 boxes .* they are corners"):
        rsna_predictions(_submission(corners))
    truth = pd.DataFrame(corners, columns=["x", "y", "width", "height"]).assign(
        patientId=[f"p{i}" for i in range(40)], Target="1"
    )
    with pytest.raises(DataError, match="truth: all 40 boxes"):
        rsna_truth(truth)


def test_a_few_boxes_and_such_as_stay_inside_are_no_corners() -> None:
    large = [[20, 30, 900, 960]] * 30  # around both lungs
    assert len(rsna_predictions(_submission(large))) == 30
    assert len(rsna_predictions(_submission([[300, 300, 800, 800]] * 11))) == 11
