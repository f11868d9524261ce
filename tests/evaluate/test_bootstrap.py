"""Bootstrap over patients, comparisons, and the fast forms of the metrics."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hilum.core.errors import ConfigError, DataError
from hilum.evaluate import (
    ap_of,
    auc,
    auc_interval,
    auc_of,
    bootstrap,
    delong,
    detection_ap,
    holm,
    mean_of,
    paired_bootstrap,
    rsna_of,
    rsna_score,
)


def _images(rng: np.random.Generator, n: int) -> tuple[list[Any], list[Any]]:
    truth, predictions = [], []
    for _ in range(n):
        corner = rng.integers(0, 60, (rng.integers(0, 3), 2)).astype(float)
        t = np.c_[corner, corner + rng.integers(10, 60, corner.shape)]
        p = np.concatenate([t + rng.integers(-4, 5, t.shape), [[0, 0, 50, 50]]])
        truth.append(t)
        predictions.append((p, rng.random(len(p))))
    return truth, predictions


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from("01"))
def test_reweighting_is_the_metric_of_the_drawn_rows(seed: int, numba: str) -> None:
    rng = np.random.default_rng(seed)
    truth, predictions = _images(rng, 15)
    label, score = rng.integers(0, 2, 15), rng.random(15).round(1)
    counts = rng.multinomial(15, np.full(15, 1 / 15)).astype(float)
    rows = np.repeat(np.arange(15), counts.astype(int))
    drawn = [truth[i] for i in rows], [predictions[i] for i in rows]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hilum.core.jit.WORTH_LOADING", 0)
        patch.setenv("HILUM_NUMBA", numba)
        pairs = [
            (ap_of(truth, predictions), detection_ap(*drawn)),
            (rsna_of(truth, predictions), rsna_score(*drawn)),
            (auc_of(label, score), auc(label[rows], score[rows])),
            (mean_of(score), score[rows].mean()),
        ]
        for metric, want in pairs:
            assert metric.value(counts) == pytest.approx(want, abs=1e-9, nan_ok=True)


def test_patients_are_drawn_not_images() -> None:
    """Ten copies of each image of one patient say no more than one."""
    values = np.random.default_rng(0).random(30)
    once = bootstrap(mean_of(values), np.arange(30), repeats=500)
    copies = bootstrap(mean_of(np.repeat(values, 10)), np.repeat(np.arange(30), 10), repeats=500)
    naive = bootstrap(mean_of(np.repeat(values, 10)), np.arange(300), repeats=500)
    assert copies.high - copies.low == pytest.approx(once.high - once.low)
    assert naive.high - naive.low < 0.5 * (once.high - once.low)
    assert copies.patients == 30


def test_a_function_of_rows_and_its_fast_form_give_one_interval() -> None:
    rng = np.random.default_rng(1)
    label, score = rng.integers(0, 2, 50), rng.random(50)
    groups = [f"patient {i // 2}" for i in range(50)]
    slow = bootstrap(lambda rows: auc(label[rows], score[rows]), groups, repeats=50)
    fast = bootstrap(auc_of(label, score), groups, repeats=50)
    assert (slow.value, slow.low, slow.high) == pytest.approx((fast.value, fast.low, fast.high))
    assert bootstrap(auc_of(label, score), groups, repeats=50) == fast
    assert fast != bootstrap(auc_of(label, score), groups, repeats=50, seed=1)


def test_bootstrap_agrees_with_delong_for_independent_rows() -> None:
    rng = np.random.default_rng(2)
    label = rng.integers(0, 2, 400)
    score = np.clip(rng.normal(0.4 + 0.2 * label, 0.2), 0, 1)
    boot = bootstrap(auc_of(label, score), np.arange(400), repeats=1000)
    _, low, high = auc_interval(label, score)
    assert boot.low == pytest.approx(low, abs=0.01)
    assert boot.high == pytest.approx(high, abs=0.01)


def test_a_clear_difference_is_shown_and_none_is_said_in_words() -> None:
    rng = np.random.default_rng(3)
    label = rng.integers(0, 2, 300)
    good = np.clip(rng.normal(0.3 + 0.4 * label, 0.15), 0, 1)
    poor = np.clip(rng.normal(0.45 + 0.1 * label, 0.2), 0, 1)
    groups = np.arange(300)
    boot = paired_bootstrap(auc_of(label, good), auc_of(label, poor), groups, repeats=300)
    test = delong(label, good, poor)
    for comparison in (boot, test):
        assert comparison.p_value < 0.05
        assert comparison.verdict.startswith("the first model is higher")
    assert test.difference.value == pytest.approx(auc(label, good) - auc(label, poor))
    same = paired_bootstrap(auc_of(label, good), auc_of(label, good), groups, repeats=50)
    assert same.p_value == 1
    assert same.verdict.startswith("no difference shown")
    assert delong(label, good, good).verdict.startswith("no difference shown")


def test_holm_corrects_for_the_number_of_comparisons() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_replicates_without_meaning_are_left_out_and_counted() -> None:
    interval = bootstrap(auc_of([1, 0, 0], [0.9, 0.2, 0.3]), [1, 2, 3], repeats=200)
    assert interval.repeats < 200
    assert interval.value == 1


def test_bad_groups_and_options_are_refused() -> None:
    metric = mean_of([1.0, 2.0])
    for groups in ([], ["a", ""], [1.0, np.nan], ["a", None]):
        with pytest.raises(DataError):
            bootstrap(metric, groups)
    with pytest.raises(ConfigError):
        bootstrap(metric, [1, 2], level=95)
    with pytest.raises(DataError):
        holm([1.5])
