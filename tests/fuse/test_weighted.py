"""Weighted boxes fusion against ensemble-boxes 1.0.9, stored (wbf.json) and live."""

import json
import warnings
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hilum.core.errors import ConfigError, GeometryError
from hilum.fuse import weighted_boxes
from hilum.fuse.weighted import Mode

GOLDEN = Path(__file__).parent / "golden"  # each file names its source
MODES = get_args(Mode)
SQUARE = [0.1, 0.1, 0.5, 0.5]

Lists = tuple[list[Any], list[Any], list[Any]]


def test_stored_vectors_of_every_mode() -> None:
    for case in json.loads((GOLDEN / "wbf.json").read_text())["cases"]:
        p = case["params"]
        for want in case["wbf"]:
            boxes, scores, labels = weighted_boxes(
                case["boxes_list"],
                case["scores_list"],
                case["labels_list"],
                weights=p["weights"],
                iou=p["iou_thr"],
                skip=p["skip_box_thr"],
                mode=want["conf_type"],
                allow_overflow=want["allows_overflow"],
            )
            limit = np.inf if want["allows_overflow"] else 1.0
            np.testing.assert_allclose(boxes, np.reshape(want["boxes"], (-1, 4)), atol=1e-6)
            np.testing.assert_allclose(scores, np.minimum(want["scores"], limit), atol=1e-6)
            assert labels.tolist() == want["labels"]


@st.composite
def models(draw: st.DrawFn) -> Lists:
    """Boxes on a coarse grid, so that equal scores and an IoU at the threshold do occur."""
    boxes, scores, labels = [], [], []
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    for n in draw(st.lists(st.integers(0, 12), min_size=1, max_size=5)):
        corner = rng.integers(0, 8, (n, 2)) / 16
        boxes.append(np.c_[corner, corner + rng.integers(1, 8, (n, 2)) / 16])
        scores.append(rng.integers(1, 21, n) / 20)
        labels.append(rng.integers(0, 3, n))
    return boxes, scores, labels


@settings(max_examples=60, deadline=None)
@given(models(), st.sampled_from(MODES), st.booleans(), st.sampled_from([0.3, 0.5, 0.55]))
def test_equal_to_the_reference(lists: Lists, mode: Any, overflow: bool, iou: float) -> None:
    reference = pytest.importorskip("ensemble_boxes").weighted_boxes_fusion
    weights = 1.0 + np.arange(len(lists[0])) % 3
    want = reference(
        *lists,
        weights=weights,
        iou_thr=iou,
        skip_box_thr=0.1,
        conf_type=mode,
        allows_overflow=overflow,
    )
    got = weighted_boxes(
        *lists, weights=weights, iou=iou, skip=0.1, mode=mode, allow_overflow=overflow
    )
    np.testing.assert_allclose(got[0], want[0], atol=1e-6)
    np.testing.assert_allclose(got[1], want[1] if overflow else want[1].clip(0, 1), atol=1e-6)
    np.testing.assert_array_equal(got[2], want[2])


@settings(max_examples=20, deadline=None)
@given(models())
def test_compiled_and_numpy_loops_are_equal(lists: Lists) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hilum.core.jit.WORTH_LOADING", 0)
        fast = weighted_boxes(*lists)
        patch.setenv("HILUM_NUMBA", "0")
        plain = weighted_boxes(*lists)
    for a, b in zip(fast, plain, strict=True):
        np.testing.assert_array_equal(a, b)


@settings(max_examples=20, deadline=None)
@given(models())
def test_the_unit_of_coordinates_does_not_matter(lists: Lists) -> None:
    small, large = weighted_boxes(*lists), weighted_boxes([b * 1024 for b in lists[0]], *lists[1:])
    np.testing.assert_allclose(small[0] * 1024, large[0], rtol=1e-6)
    np.testing.assert_array_equal(small[1], large[1])


@pytest.mark.parametrize("mode", MODES)
def test_empty_models_single_models_and_zero_scores_are_fine(mode: Mode) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert weighted_boxes([], [], [], mode=mode)[0].shape == (0, 4)
        assert weighted_boxes([[], []], [[], []], [[], []], mode=mode)[1].shape == (0,)
        one = weighted_boxes([[SQUARE], []], [[0.5], []], [["opacity"], []], mode=mode)
        assert one[2].tolist() == ["opacity"]
        zero = weighted_boxes([[SQUARE]] * 2, [[0.0]] * 2, [[0]] * 2, mode=mode)
        assert zero[1].tolist() == [0.0]
        np.testing.assert_allclose(zero[0], [SQUARE])


@pytest.mark.parametrize("mode", MODES)
def test_scores_stay_in_the_unit_interval_for_unequal_weights(mode: Mode) -> None:
    boxes = [[SQUARE, SQUARE], [SQUARE]]
    for weights in ([5, 1], [1, 5], [0, 1]):
        scores = weighted_boxes(
            boxes, [[1.0, 1.0], [1.0]], [[0, 0], [0]], weights=weights, mode=mode
        )[1]
        assert (scores >= 0).all()
        assert (scores <= 1).all()
    over = weighted_boxes(
        boxes, [[1.0, 1.0], [1.0]], [[0, 0], [0]], weights=[5, 1], allow_overflow=True
    )[1]
    assert over[0] > 1


@pytest.mark.parametrize(
    ("boxes", "scores", "labels"),
    [
        ([[[0.5, 0.1, 0.2, 0.4]]], [[0.5]], [[0]]),
        ([[[0.1, 0.1, np.nan, 0.4]]], [[0.5]], [[0]]),
        ([[SQUARE]], [[1.5]], [[0]]),
        ([[SQUARE]], [[np.nan]], [[0]]),
        ([[SQUARE]], [[0.5, 0.4]], [[0]]),
        ([[SQUARE]], [[0.5]], [[0, 1]]),
        ([[SQUARE]], [[0.5]], []),
        ([[[0.1, 0.2]]], [[0.5]], [[0]]),
    ],
)
def test_bad_boxes_and_scores_are_refused(boxes: Any, scores: Any, labels: Any) -> None:
    with pytest.raises(GeometryError):
        weighted_boxes(boxes, scores, labels)


@pytest.mark.parametrize(
    "option",
    [{"mode": "median"}, {"iou": 2.0}, {"skip": 2.0}, {"weights": [1, 2]}, {"weights": [-1]}],
)
def test_bad_options_are_refused(option: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        weighted_boxes([[SQUARE]], [[0.5]], [[0]], **option)
