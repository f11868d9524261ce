"""Raw outputs, box sizes, scores and masks; stored vectors of the challenge winners."""

import json
from pathlib import Path

import numpy as np
import pytest

from hilum.core.errors import ConfigError, DataError, GeometryError
from hilum.fuse import (
    average_outputs,
    classifier_times_detector,
    filter_second_place,
    mean_map,
    none_score,
    percentile_shrink,
    remove_small,
    scale_boxes,
    study_score,
    triplet_mask,
)

GOLDEN = Path(__file__).parent / "golden"  # each file names its source


def test_percentile_shrink_is_the_second_places() -> None:
    stored = json.loads((GOLDEN / "rsna_box_shrink.json").read_text())["p20_p80"]
    for k, want in stored["by_scale"].items():
        got = percentile_shrink(stored["regression_outputs"], k=float(k))
        np.testing.assert_allclose(got, want, atol=1e-9)


def test_runs_that_agree_do_not_shrink() -> None:
    delta = np.array([[0.1, -0.2, 0.3, 0.4]])
    np.testing.assert_allclose(percentile_shrink([delta] * 5), delta)


def test_uniform_shrink_scales_sides_about_the_centre() -> None:
    stored = json.loads((GOLDEN / "rsna_box_shrink.json").read_text())
    for case in stored["ipan_reduce"]["cases"]:
        x, y, w, h = case["box_xywh"]
        x1, y1, x2, y2 = scale_boxes([[x, y, x + w, y + h]], 0.875)[0]
        np.testing.assert_allclose([x1, y1, x2 - x1, y2 - y1], case["exact"])
    third = stored["pmcheng"]
    np.testing.assert_allclose(scale_boxes(third["shrink_in"], 0.83), third["shrink_out"])


def test_raw_outputs_are_averaged_before_suppression() -> None:
    deltas, scores = average_outputs([[[0, 0, 0, 0]], [[2, 2, 2, 2]]], [[[0.2, 0.4]], [[0.4, 0.8]]])
    np.testing.assert_allclose(deltas, [[1, 1, 1, 1]])
    np.testing.assert_allclose(scores, [[0.3, 0.6]])
    with pytest.raises(GeometryError):
        average_outputs([[[0, 0, 0, 0]]], [[[0.2], [0.3]]])


def test_triplet_masks_are_the_winners() -> None:
    stored = json.loads((GOLDEN / "siim_acr_triplet.json").read_text())
    for case in stored["triplets"]:
        top, area, bottom = case["triplet"]
        got = triplet_mask(stored["prob"], top, area, bottom)
        np.testing.assert_array_equal(got, np.array(case["mask"], bool))
        np.testing.assert_array_equal(triplet_mask(stored["prob"][0], top, area, bottom), got[0])
    for case in stored["duplets"]:
        p, area = case["duplet"]
        assert triplet_mask(stored["prob"], p, area, p).sum((1, 2)).tolist() == case["sums"]


def test_small_components_go_and_diagonal_neighbours_belong_together() -> None:
    mask = np.zeros((6, 6), bool)
    mask[0, 0] = mask[1, 1] = mask[2, 2] = True
    mask[5, 5] = True
    kept = remove_small(mask, 3)
    assert kept.sum() == 3
    assert not kept[5, 5]


def test_mean_map_weighs_models() -> None:
    got = mean_map([np.zeros((2, 2)), np.ones((2, 2))], weights=[1, 3])
    np.testing.assert_allclose(got, 0.75)


def test_study_scores_from_images() -> None:
    assert study_score([0.2, 0.6], "mean") == pytest.approx(0.4)
    assert study_score([0.2, 0.6], "max") == 0.6
    assert study_score([0.5, 0.5], "noisy-or") == pytest.approx(0.75)
    np.testing.assert_allclose(study_score([[0.2, 0.4], [0.4, 0.2]], "mean"), [0.3, 0.3])
    with pytest.raises(DataError):
        study_score([])
    with pytest.raises(ConfigError):
        study_score([0.5], "median")  # type: ignore[arg-type]
    with pytest.raises(GeometryError):
        study_score([1.5])


def test_a_classifier_that_sees_nothing_silences_the_detector() -> None:
    assert classifier_times_detector([0.9, 0.5], 0.0).tolist() == [0.0, 0.0]
    assert none_score([]) == 1.0
    assert none_score([0.3, 0.8]) == pytest.approx(0.2)


def test_filter_of_the_second_place() -> None:
    boxes = [[0, 0, 10, 10], [9, 0, 19, 10], [50, 50, 60, 60], [80, 80, 90, 90]]
    scores = [0.2, 0.19, 0.09, 0.01]  # neighbour (IoU .053), under half of the top, under floor
    assert filter_second_place(boxes, scores).tolist() == [0]
    assert filter_second_place(boxes[:1], [0.05]).tolist() == []
    assert filter_second_place(boxes[:1], [0.05], p_opacity=0.9).tolist() == [0]


@pytest.mark.parametrize("value", [np.nan, -0.1, 1.5, 200])
def test_a_map_that_is_no_probability_is_refused(value: float) -> None:
    with pytest.raises(GeometryError, match=r"in \[0, 1\]"):
        triplet_mask(np.full((3, 3), value), min_area=1)


@pytest.mark.parametrize("factor", [np.nan, np.inf, -1, (1, np.nan)])
def test_a_scale_factor_that_is_none_is_refused(factor: float) -> None:
    with pytest.raises(GeometryError, match="finite"):
        scale_boxes([[0, 0, 2, 2]], factor)
