"""Every metric is what its definition says, counted one by one."""

from __future__ import annotations

import itertools
from math import isnan, log, nan, sqrt
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import naive
from hilum.evaluate.finding_metrics import ap_of_scores, counts_of, ece_of, of_scores
from hilum.evaluate.metrics.boxes import box_table
from hilum.evaluate.metrics.classification import (
    at_threshold,
    classification,
    confusion_matrix,
    from_counts,
    multiclass,
    reliability,
)
from hilum.evaluate.metrics.curves import (
    auc,
    average_precision,
    precision_recall_curve,
    roc_curve,
    voc_average_precision,
)
from hilum.evaluate.metrics.detection import detection_ap, interpolated
from hilum.evaluate.metrics.froc import (
    any_box_classification,
    false_positives_per_normal_image,
    froc,
)
from hilum.evaluate.metrics.matching import TRUE, match

seeds = given(st.integers(0, 2**32 - 1))
few = settings(max_examples=20, deadline=None)


def rng_of(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


# --- one score an image ---


@pytest.mark.parametrize("counts", list(itertools.product((0, 1, 3), repeat=4)), ids=str)
def test_numbers_of_four_counts_are_their_definitions(counts: tuple[int, int, int, int]) -> None:
    tp, fp, fn, tn = counts
    numbers = from_counts(tp, fp, fn, tn)
    shares = {
        "sensitivity": (tp, tp + fn),
        "specificity": (tn, tn + fp),
        "precision": (tp, tp + fp),
        "npv": (tn, tn + fn),
        "accuracy": (tp + tn, sum(counts)),
    }
    for name, (part, whole) in shares.items():
        assert isnan(numbers[name]) if whole == 0 else numbers[name] == part / whole
    p, r = numbers["precision"], numbers["sensitivity"]
    for beta, name in ((1, "f1"), (2, "f2")):
        if tp:  # the weighted harmonic mean
            assert numbers[name] == pytest.approx((1 + beta**2) * p * r / (beta**2 * p + r))
    spread = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)
    mcc = (tp * tn - fp * fn) / sqrt(spread) if spread else nan  # 0/0
    assert numbers["mcc"] == pytest.approx(mcc, nan_ok=True)


@few
@seeds
def test_a_confusion_is_counted_image_by_image(seed: int) -> None:
    label, score = naive.pairs(rng_of(seed), 30)
    for threshold in np.unique(score):
        numbers = at_threshold(label, score, threshold)
        called = [s >= threshold for s in score]
        kinds = {"tp": (1, True), "fp": (0, True), "fn": (1, False), "tn": (0, False)}
        for name, kind in kinds.items():
            assert numbers[name] == sum(k == kind for k in zip(label, called, strict=True))


@few
@seeds
def test_the_auc_is_the_share_of_pairs_in_the_right_order(seed: int) -> None:
    label, score = naive.pairs(rng_of(seed), 25)
    won = [
        1.0 if p > n else 0.5 if p == n else 0.0
        for p, n in itertools.product(score[label == 1], score[label == 0])
    ]
    assert auc(label, score) == pytest.approx(np.mean(won))
    assert auc(label, 1 - score) == pytest.approx(1 - np.mean(won))
    assert auc(1 - label, score) == pytest.approx(1 - np.mean(won))


@few
@seeds
def test_curves_stand_at_every_distinct_score(seed: int) -> None:
    label, score = naive.pairs(rng_of(seed), 25)
    false, true, thresholds = roc_curve(label, score)
    precision, recall, at = precision_recall_curve(label, score)
    for k, threshold in enumerate(sorted(set(score.tolist()), reverse=True)):
        numbers = at_threshold(label, score, threshold)
        assert thresholds[k + 1] == at[k] == threshold
        assert true[k + 1] == recall[k] == pytest.approx(numbers["sensitivity"])
        assert false[k + 1] == pytest.approx(1 - numbers["specificity"])
        assert precision[k] == pytest.approx(numbers["precision"])
    trapezes = np.diff(false) * (true[1:] + true[:-1]) / 2
    assert trapezes.sum() == pytest.approx(auc(label, score))


@few
@seeds
def test_average_precision_is_precision_times_the_steps_of_recall(seed: int) -> None:
    label, score = naive.pairs(rng_of(seed), 25)
    total, before = 0.0, 0.0
    for threshold in sorted(set(score.tolist()), reverse=True):
        numbers = at_threshold(label, score, threshold)
        total += (numbers["sensitivity"] - before) * numbers["precision"]
        before = numbers["sensitivity"]
    assert average_precision(label, score) == pytest.approx(total)


@few
@seeds
def test_calibration_is_looked_at_bin_by_bin(seed: int) -> None:
    label, score = naive.pairs(rng_of(seed), 40, digits=2)
    curve = reliability(label, score, bins=5)
    assert curve.counts.sum() == 40
    error = 0.0
    for k in range(5):
        inside = [i for i, s in enumerate(score) if k / 5 <= s < (k + 1) / 5 or (k == 4 and s == 1)]
        assert curve.counts[k] == len(inside)
        if not inside:
            assert isnan(curve.score[k])
            continue
        mean, share = score[inside].mean(), label[inside].mean()
        assert (curve.score[k], curve.share[k]) == pytest.approx((mean, share))
        error += abs(mean - share) * len(inside) / 40
    assert classification(label, score, bins=5)["ece"] == pytest.approx(error)


def test_losses_are_means_over_images() -> None:
    label, score = naive.pairs(rng_of(5), 30, digits=2)
    score = score.clip(0.01, 0.99)
    numbers = classification(label, score)
    cost = [-log(s if y else 1 - s) for y, s in zip(label, score, strict=True)]
    assert numbers["log_loss"] == pytest.approx(np.mean(cost))
    assert numbers["brier"] == pytest.approx(
        np.mean([(s - y) ** 2 for y, s in zip(label, score, strict=True)])
    )
    assert numbers["prevalence"] == label.mean()


@few
@seeds
def test_an_image_that_counts_twice_stands_twice(seed: int) -> None:
    """The fast forms of a bootstrap are the plain numbers of the drawn images."""
    rng = rng_of(seed)
    label, score = naive.pairs(rng, 20)
    counts = rng.integers(0, 4, 20)
    counts[:2] = 1  # both kinds stay
    rows = np.repeat(np.arange(20), counts)
    drawn, of_drawn = label[rows], score[rows]
    weight = counts.astype(float)
    plain = classification(drawn, of_drawn)
    assert ap_of_scores(label == 1, score).value(weight) == pytest.approx(
        plain["average_precision"]
    )
    assert ece_of(label == 1, score).value(weight) == pytest.approx(plain["ece"])
    for name, metric in of_scores(label == 1, score, 0.5).items():
        assert metric.value(weight) == pytest.approx(plain[name], nan_ok=True), name
    nobody = np.zeros(20)
    assert isnan(ap_of_scores(label == 1, score).value(nobody))
    assert isnan(ece_of(label == 1, score).value(nobody))
    assert isnan(counts_of(label == 1, score > 0.5, "sensitivity").value(nobody))


@few
@seeds
def test_macro_numbers_treat_each_class_as_the_positive_one(seed: int) -> None:
    rng = rng_of(seed)
    truth, called = rng.integers(0, 4, (2, 40))
    numbers = multiclass(confusion_matrix(truth, called, 4))
    each = [
        from_counts(
            *(
                int(((called == k) & (truth == k)).sum()),
                int(((called == k) & (truth != k)).sum()),
                int(((called != k) & (truth == k)).sum()),
                int(((called != k) & (truth != k)).sum()),
            )
        )
        for k in range(4)
    ]
    for name, one in (("precision", "precision"), ("recall", "sensitivity"), ("f1", "f1")):
        expected = np.mean([e[one] for e in each])  # undefined where a class has none
        assert numbers[name] == pytest.approx(expected, nan_ok=True)
    assert numbers["accuracy"] == pytest.approx((truth == called).mean())
    for k in range(4):
        score = (called == k).astype(float)
        if (truth == k).any():
            assert numbers[f"ap_{k}"] == pytest.approx(average_precision(truth == k, score))


# --- boxes ---


@few
@seeds
def test_a_true_box_is_found_once_by_the_surest_box_on_it(seed: int) -> None:
    truth, predictions = naive.images(rng_of(seed), 8)
    table = box_table(truth, predictions)
    for at in (0.3, 0.5, 0.75):
        matches = match(table, np.array([at]))
        for i, (boxes, scores) in enumerate(predictions):
            own = matches.image == i
            hit = naive.hits(truth[i], boxes, scores, at)
            order = np.argsort(-scores, kind="stable")
            np.testing.assert_array_equal(matches.scores[own], scores[order])
            np.testing.assert_array_equal((matches.verdict[0, 0] == TRUE)[own], hit[order])


def flat(truth: list[Any], predictions: list[Any], at: float) -> tuple[Any, Any]:
    """Scores of all boxes, highest first, and whether each finds a true one."""
    scores = np.concatenate([s for _, s in predictions])
    hit = np.concatenate(
        [naive.hits(t, b, s, at) for t, (b, s) in zip(truth, predictions, strict=True)]
    )
    order = np.argsort(-scores, kind="stable")
    return scores[order], hit[order]


@few
@seeds
def test_ap_is_the_best_precision_at_or_beyond_101_recalls(seed: int) -> None:
    rng = rng_of(seed)
    truth, predictions = naive.images(rng, 10)
    # Of equal scores the order would matter: every score is its own.
    spread = np.argsort(rng.random(sum(len(s) for _, s in predictions))) + 1
    parts = np.split(spread / 1000, np.cumsum([len(s) for _, s in predictions])[:-1])
    predictions = [(b, s) for (b, _), s in zip(predictions, parts, strict=True)]
    lesions = sum(map(len, truth))
    if not lesions:
        return
    _, hit = flat(truth, predictions, 0.5)
    found = np.cumsum(hit)
    precision, recall = found / np.arange(1, len(hit) + 1), found / lesions
    steps = np.linspace(0, 1, 101)
    best = [
        max((p for p, r in zip(precision, recall, strict=True) if r >= s), default=0) for s in steps
    ]
    assert detection_ap(truth, predictions) == pytest.approx(np.mean(best))
    np.testing.assert_allclose(interpolated(recall, precision), best)


@few
@seeds
def test_the_voc_form_is_the_area_under_the_falling_hull(seed: int) -> None:
    rng = rng_of(seed)
    hit, scores = rng.random(15) < 0.6, rng.permutation(15) / 15
    order = np.argsort(-scores)
    found = np.cumsum(hit[order])
    truths = int(hit.sum()) + 2
    precision, recall = found / np.arange(1, 16), found / truths
    area, before = 0.0, 0.0
    for k, r in enumerate(recall):
        area += (r - before) * precision[k:].max()
        before = r
    assert voc_average_precision(hit, scores, truths) == pytest.approx(area)


@few
@seeds
def test_froc_counts_marks_at_every_score(seed: int) -> None:
    truth, predictions = naive.images(rng_of(seed), 10)
    curve = froc(truth, predictions)
    scores, hit = flat(truth, predictions, 0.5)
    normal = [i for i, t in enumerate(truth) if not len(t)]
    lesions = sum(map(len, truth))
    for k, threshold in enumerate(curve.thresholds):
        shown = scores >= threshold
        if lesions:
            assert curve.sensitivity[k] == pytest.approx((shown & hit).sum() / lesions)
        assert curve.fp_per_image[k] == pytest.approx((shown & ~hit).sum() / 10)
        if normal:
            marks = sum(int((predictions[i][1] >= threshold).sum()) for i in normal)
            assert curve.fp_per_normal_image[k] == pytest.approx(marks / len(normal))
            assert false_positives_per_normal_image(truth, predictions, threshold) == (
                pytest.approx(marks / len(normal))
            )
        at = curve.at(float(threshold))
        assert at[1] == curve.fp_per_image[k]
    assert curve.at(1.1)[1] == 0
    if lesions:
        for rate, sensitivity in curve.at_rates.items():
            allowed = curve.sensitivity[curve.fp_per_image <= rate]
            assert sensitivity == max(allowed, default=0)


def test_the_surest_box_is_the_images_score() -> None:
    truth, predictions = naive.images(rng_of(3), 30)
    label = [float(len(t) > 0) for t in truth]
    score = [float(max(s, default=0)) for _, s in predictions]
    numbers, plain = any_box_classification(truth, predictions), classification(label, score)
    assert numbers == pytest.approx(plain, nan_ok=True)
