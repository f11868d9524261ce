"""Image-level numbers against scikit-learn and a real run; calibration and operating points."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hilum.core.errors import ConfigError, DataError
from hilum.evaluate import (
    OperatingPoint,
    auc_interval,
    average_precision,
    classification,
    conformal_missed_boxes,
    conformal_risk,
    conformal_sensitivity,
    confusion_matrix,
    expected_calibration_error,
    fit_exclusive,
    fit_isotonic,
    fit_logistic,
    fit_temperature,
    for_best,
    for_best_boxes,
    for_false_marks,
    for_false_positives,
    for_rsna_score,
    for_sensitivity,
    multiclass,
    reliability,
    roc_curve,
    score_map,
    sensitivity_at_specificity,
)

Cases = tuple[np.ndarray, np.ndarray]


def _cases(seed: int, n: int = 300, digits: int = 9) -> Cases:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 2, n)
    truth[:2] = 0, 1
    return truth, np.clip(rng.normal(0.35 + 0.3 * truth, 0.2), 0, 1).round(digits)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([1, 2, 9]))
def test_numbers_equal_scikit_learn(seed: int, digits: int) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    truth, score = _cases(seed, 60, digits)
    got = classification(truth, score, threshold=0.5)
    called = score >= 0.5
    assert got["auc"] == pytest.approx(metrics.roc_auc_score(truth, score))
    want = metrics.average_precision_score(truth, score)
    assert got["average_precision"] == pytest.approx(want)
    assert got["brier"] == pytest.approx(metrics.brier_score_loss(truth, score))
    assert got["log_loss"] == pytest.approx(metrics.log_loss(truth, score.clip(1e-15, 1 - 1e-15)))
    assert got["mcc"] == pytest.approx(metrics.matthews_corrcoef(truth, called))
    assert got["f1"] == pytest.approx(metrics.f1_score(truth, called))
    assert got["f2"] == pytest.approx(metrics.fbeta_score(truth, called, beta=2))
    assert got["sensitivity"] == pytest.approx(metrics.recall_score(truth, called))


def test_stored_numbers_of_a_real_study_run(oracles: Path) -> None:
    stored = json.loads((oracles / "study_metrics.json").read_text())
    got = multiclass(stored["confusion_rows_true"])
    for name, value in stored["metrics"].items():
        assert got[name] == pytest.approx(value, abs=1e-6)


def test_confusion_rows_are_the_truth() -> None:
    assert confusion_matrix([0, 0, 1], [0, 1, 1], 2).tolist() == [[1, 1], [0, 1]]
    with pytest.raises(DataError):
        confusion_matrix([0, 2], [0, 1], 2)


def test_delong_interval_of_a_known_case() -> None:
    """Variance by hand: placements (1, .5) of 2 positives, (.75, .75) … of the negatives."""
    area, low, high = auc_interval([1, 1, 0, 0], [0.9, 0.4, 0.5, 0.1])
    assert area == 0.75
    error = np.sqrt(np.var([1, 0.5], ddof=1) / 2 + np.var([0.5, 1], ddof=1) / 2)
    assert low == pytest.approx(max(0.75 - 1.959964 * error, 0), abs=1e-6)
    assert high == pytest.approx(min(0.75 + 1.959964 * error, 1), abs=1e-6)


def test_one_kind_of_case_has_no_auc() -> None:
    got = classification([1, 1], [0.4, 0.6])
    assert np.isnan(got["auc"])
    assert np.isnan(got["specificity"])
    assert np.isnan(average_precision([0, 0], [0.4, 0.6]))


def test_a_model_that_calls_all_alike_has_no_mcc() -> None:
    """0/0 is undefined: 0 would say that it was measured, and found no better than chance."""
    for score in ([0.9, 0.8, 0.7], [0.1, 0.2, 0.3]):
        assert np.isnan(classification([1, 0, 1], score)["mcc"])
    assert np.isnan(classification([1, 1, 1], [0.1, 0.9, 0.2])["mcc"])
    assert classification([1, 1, 0, 0], [0.9, 0.1, 0.9, 0.1])["mcc"] == 0  # chance


def test_a_class_that_is_never_called_or_never_true_has_no_precision_or_recall() -> None:
    never_called = multiclass([[2, 0, 0], [1, 1, 0], [0, 1, 0]])
    assert np.isnan(never_called["precision"])
    assert never_called["recall"] == pytest.approx((1 + 0.5 + 0) / 3)
    assert never_called["f1"] == pytest.approx((4 / 5 + 1 / 2 + 0) / 3)
    never_true = multiclass([[2, 0, 1], [0, 1, 0], [0, 0, 0]])
    assert np.isnan(never_true["recall"])
    assert np.isnan(never_true["ap_2"])
    assert never_true["map"] == pytest.approx((never_true["ap_0"] + never_true["ap_1"]) / 2)
    assert never_true["precision"] == pytest.approx((1 + 1 + 0) / 3)


def test_the_roc_curve_goes_from_corner_to_corner() -> None:
    false, true, thresholds = roc_curve([0, 1, 1], [0.5, 0.5, 0.9])
    assert false.tolist() == [0, 0, 1]
    assert true.tolist() == [0, 0.5, 1]
    assert thresholds.tolist() == [np.inf, 0.9, 0.5]


def test_perfect_calibration_has_no_error() -> None:
    truth = np.repeat([1, 0, 1, 0], [1, 3, 3, 1])
    score = np.repeat([0.25, 0.25, 0.75, 0.75], [1, 3, 3, 1])
    assert expected_calibration_error(truth, score) == 0
    assert expected_calibration_error([1, 1], [0.5, 0.5]) == 0.5
    curve = reliability(truth, score, bins=4)
    assert curve.counts.tolist() == [0, 4, 0, 4]
    assert curve.share[[1, 3]].tolist() == [0.25, 0.75]


@pytest.mark.parametrize(
    ("truth", "score"),
    [
        ([0, 1], [0.5]),
        ([0, 2], [0.5, 0.5]),
        ([0, 1], [0.5, 1.5]),
        ([0, 1], [0.5, np.nan]),
        ([], []),
    ],
)
def test_bad_values_are_refused(truth: Any, score: Any) -> None:
    with pytest.raises(DataError):
        classification(truth, score)


def test_points_reach_their_aim_with_the_best_threshold() -> None:
    truth, score = _cases(1)
    point = for_sensitivity(truth, score, 0.95)
    assert point.achieved["sensitivity"] >= 0.95
    higher = np.min(score[score > point.threshold])
    assert (score[truth == 1] >= higher).mean() < 0.95
    point = for_false_positives(truth, score, 0.1)
    assert 1 - point.achieved["specificity"] <= 0.1
    lower = np.max(score[score < point.threshold])
    assert (score[truth == 0] >= lower).mean() > 0.1
    assert OperatingPoint.model_validate(json.loads(json.dumps(point.to_json()))) == point


def test_best_f1_is_the_best_of_all_thresholds() -> None:
    truth, score = _cases(2, 80)
    best = for_best(truth, score, "f1").achieved["f1"]
    every = [classification(truth, score, threshold=t)["f1"] for t in score]
    assert best == max(every)


def test_sensitivity_at_specificity() -> None:
    assert sensitivity_at_specificity([0, 0, 1, 1], [0.1, 0.6, 0.5, 0.9], 1.0) == 0.5
    assert sensitivity_at_specificity([0, 0, 1, 1], [0.1, 0.6, 0.5, 0.9], 0.5) == 1.0


def test_a_box_point_keeps_false_marks_down() -> None:
    box, off = [0.0, 0, 10, 10], [50.0, 50, 60, 60]
    predictions = [([box, off], [0.8, 0.6]), ([off, box], [0.5, 0.4])]
    assert for_false_marks([[box], []], predictions, 0.5).threshold == 0.6
    assert for_false_marks([[box], []], predictions, 1.0).threshold == 0.5


def test_points_that_cannot_be_are_refused() -> None:
    with pytest.raises(DataError):
        for_sensitivity([1, 1], [0.5, 0.6])
    with pytest.raises(DataError):
        for_false_positives([1, 0], [0.5, 0.9], 0.0)
    with pytest.raises(ConfigError):
        for_sensitivity([1, 0], [0.5, 0.9], 1.5)


def test_temperature_undoes_overconfidence_and_keeps_the_order() -> None:
    rng = np.random.default_rng(0)
    logit = rng.normal(0, 1.5, 4000)
    truth = rng.random(4000) < 1 / (1 + np.exp(-logit))
    overconfident = 1 / (1 + np.exp(-3 * logit))
    fitted = fit_temperature(truth, overconfident)
    assert fitted.temperature == pytest.approx(3, rel=0.1)
    calibrated = fitted.apply(overconfident)
    assert (np.argsort(calibrated) == np.argsort(overconfident)).all()
    before = expected_calibration_error(truth, overconfident)
    assert expected_calibration_error(truth, calibrated) < before / 3


def test_a_logistic_map_undoes_a_shift_of_prevalence() -> None:
    rng = np.random.default_rng(0)
    logit = rng.normal(-1, 1.5, 4000)
    truth = rng.random(4000) < 1 / (1 + np.exp(-logit))
    shifted = 1 / (1 + np.exp(-(2 * logit + 1)))
    fitted = fit_logistic(truth, shifted)
    assert fitted.slope == pytest.approx(0.5, rel=0.1)
    assert fitted.shift == pytest.approx(-0.5, abs=0.1)
    assert (np.argsort(fitted.apply(shifted)) == np.argsort(shifted)).all()


def _drawn(
    rows: int, logits_of: Callable[[NDArray[np.float64]], NDArray[np.float64]]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What a network says, and classes drawn from the true probabilities that it was made from."""
    rng = np.random.default_rng(5)
    true = rng.normal(0, 1.5, (rows, 3))
    p = np.exp(true) / np.exp(true).sum(axis=1, keepdims=True)
    drawn = (rng.random((rows, 1)) > p.cumsum(axis=1)).sum(axis=1)
    return logits_of(true), np.eye(3)[drawn]


def test_one_temperature_for_classes_that_exclude_one_another() -> None:
    """Nothing leans to a class: no bias is worth its place, the likeliest stays the likeliest."""
    logits, labels = _drawn(600, lambda true: 2.5 * true)
    temperature, bias = fit_exclusive(logits, labels)
    assert temperature == pytest.approx(2.5, rel=0.15)
    assert bias == ()


def test_classes_that_lean_get_biases() -> None:
    logits, labels = _drawn(4000, lambda true: 2 * true + [3.0, 0.0, 0.0])
    temperature, bias = fit_exclusive(logits, labels)
    assert temperature == pytest.approx(2, rel=0.1)
    assert bias == pytest.approx([-1, 0.5, 0.5], abs=0.1)  # logits / 2, less the 1.5, their mean 0


def test_classes_that_are_only_ruled_out_tell_something() -> None:
    """Of half the cases it is known only that the first class is not there, or that it is."""
    logits, labels = _drawn(4000, lambda true: 2 * true + [3.0, 0.0, 0.0])
    labels[::2, 1:] = np.nan
    labels[1::8] = np.nan  # nothing known
    labels[2::16] = 0.0  # none of the three
    temperature, bias = fit_exclusive(logits, labels)
    assert temperature == pytest.approx(2, rel=0.15)
    assert bias == pytest.approx([-1, 0.5, 0.5], abs=0.2)


def test_classes_that_cannot_be_calibrated() -> None:
    logits, labels = _drawn(300, lambda true: -true)
    with pytest.raises(DataError, match="rise"):
        fit_exclusive(logits, labels)
    with pytest.raises(DataError, match="class is known"):
        fit_exclusive(logits, np.full((300, 3), np.nan))
    with pytest.raises(DataError, match="both"):
        fit_exclusive(logits, labels[:, :2])


def test_scores_that_need_no_map_get_none() -> None:
    """Two of each kind at the scores that Platt smooths their truths to: nothing is left to do."""
    fitted = fit_logistic([1, 1, 0, 0], [0.75, 0.75, 0.25, 0.25])
    assert (fitted.slope, fitted.shift) == (1, 0)


@pytest.mark.parametrize("fit", [fit_temperature, fit_logistic, fit_isotonic])
def test_scores_that_fall_with_the_truth_are_not_calibrated(fit: Any) -> None:
    score = np.linspace(0.05, 0.95, 40)
    fit(score > 0.5, score)
    with pytest.raises(DataError, match="rise"):
        fit(score < 0.5, score)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32))
def test_isotonic_equals_scikit_learn(seed: int) -> None:
    isotonic = pytest.importorskip("sklearn.isotonic")
    truth, score = _cases(seed, 80, 2)
    want = isotonic.IsotonicRegression(out_of_bounds="clip").fit(score, truth)
    points = np.linspace(0, 1, 51)
    assume(np.ptp(want.predict(points)) > 0)  # a flat one is refused
    fitted = fit_isotonic(truth, score)
    np.testing.assert_allclose(fitted.apply(points), want.predict(points), atol=1e-9)
    assert score_map(json.loads(json.dumps(fitted.to_json()))) == fitted


def test_conformal_threshold_finds_new_positives_as_promised() -> None:
    rng = np.random.default_rng(0)
    result = []
    for _ in range(400):
        threshold = conformal_sensitivity(rng.beta(4, 2, 60), 0.9).threshold
        result.append((rng.beta(4, 2, 60) >= threshold).mean())
    assert np.mean(result) >= 0.895
    with pytest.raises(DataError, match="19"):
        conformal_sensitivity([0.5] * 18, 0.95)
    assert conformal_sensitivity([0.5] * 19, 0.95).threshold == 0.5


def test_conformal_counts_a_patient_once_by_the_lowest_score() -> None:
    scores = np.r_[np.full(19, 0.9), np.full(19, 0.4)]
    patients = np.r_[np.arange(19), np.arange(19)]
    assert conformal_sensitivity(scores, 0.95, patients=patients).threshold == 0.4


def test_conformal_risk_keeps_the_share_of_missed_boxes_of_new_patients() -> None:
    rng = np.random.default_rng(1)
    box = np.array([[0.0, 0, 10, 10], [20, 20, 40, 40]])

    def patients(n: int) -> tuple[list[Any], list[Any]]:
        scores = rng.beta(4, 2, (n, 2))
        return [box] * n, [(box, s) for s in scores]

    missed = []
    for _ in range(100):
        threshold = conformal_missed_boxes(*patients(40), 0.2).threshold
        missed.append(np.mean([(s < threshold).mean() for _, s in patients(200)[1]]))
    assert 0.15 < np.mean(missed) <= 0.205
    with pytest.raises(DataError, match="at least 9"):
        conformal_missed_boxes(*patients(5), 0.1)
    with pytest.raises(DataError, match="fall"):
        conformal_risk([[0.5, 0.2]], [0.1, 0.2], 0.9)
    point = conformal_missed_boxes(*patients(40), 0.2)
    assert "exchangeable" in point.assumes
    assert point.score == "box"


def test_the_best_box_threshold_is_the_best_of_all() -> None:
    box, off = [0.0, 0, 10, 10], [50.0, 50, 60, 60]
    truth = [[box], [box], []]
    answer = [([box, off], [0.8, 0.6]), ([box], [0.55]), ([off], [0.3])]
    assert for_best_boxes(truth, answer).threshold == 0.55
    assert for_best_boxes(truth, answer).achieved["f1"] == pytest.approx(0.8)
    assert for_rsna_score(truth, answer).threshold == 0.55
    with pytest.raises(DataError):
        for_best_boxes([[]], [([off], [0.3])])


@pytest.mark.parametrize("level", [0, 1, 2, float("nan")])
def test_a_level_that_is_none_is_refused(level: float) -> None:
    with pytest.raises(ConfigError, match="level"):
        classification([0, 1], [0.2, 0.3], level=level)
