"""An operating point is the best of all thresholds there are, and a guarantee holds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from helpers import naive
from hilum.core.errors import ConfigError, DataError, GeometryError
from hilum.evaluate.challenges.rsna import rsna_score
from hilum.evaluate.metrics.classification import at_threshold
from hilum.evaluate.thresholds.calibration import (
    FITS,
    box_hits,
    conformal_missed_boxes,
    conformal_risk,
    conformal_sensitivity,
)
from hilum.evaluate.thresholds.operating_points import (
    for_best,
    for_best_boxes,
    for_false_marks,
    for_false_positives,
    for_rsna_score,
    for_sensitivity,
    sensitivity_at_specificity,
)
from hilum.evaluate.thresholds.search import search
from hilum.evaluate.thresholds.sweep import score_by_epoch, score_by_iou, suppressed
from hilum.fuse import keep_best

seeds = given(st.integers(0, 2**32 - 1))
few = settings(max_examples=20, deadline=None)
Floats = np.ndarray


def scan(label: Floats, score: Floats) -> dict[float, dict[str, float]]:
    """Numbers at every threshold that is a score, highest first."""
    return {t: at_threshold(label, score, t) for t in sorted(set(score.tolist()), reverse=True)}


@few
@seeds
def test_the_point_of_a_sensitivity_is_the_highest_that_reaches_it(seed: int) -> None:
    label, score = naive.pairs(np.random.default_rng(seed), 30)
    for least in (0.5, 0.8, 1.0):
        point = for_sensitivity(label, score, least)
        reaching = [t for t, n in scan(label, score).items() if n["sensitivity"] >= least]
        assert point.threshold == max(reaching)
        assert point.achieved["sensitivity"] >= least
        assert point.score == "image"


def test_scores_that_are_all_equal_have_no_threshold_of_the_best_mcc() -> None:
    with pytest.raises(DataError, match="MCC is undefined at every threshold"):
        for_best([0, 1], [0.5, 0.5], "mcc")
    assert for_best([0, 1], [0.5, 0.5], "f1").threshold == 0.5


@few
@seeds
def test_the_point_of_false_positives_is_the_lowest_that_stays_under(seed: int) -> None:
    label, score = naive.pairs(np.random.default_rng(seed), 30)
    for most in (0.1, 0.5):
        under = [t for t, n in scan(label, score).items() if 1 - n["specificity"] <= most + 1e-12]
        if not under:
            with pytest.raises(DataError, match="no threshold"):
                for_false_positives(label, score, most)
        else:
            assert for_false_positives(label, score, most).threshold == min(under)


@few
@seeds
def test_the_best_point_is_the_highest_of_the_best(seed: int) -> None:
    label, score = naive.pairs(np.random.default_rng(seed), 30)
    everything = scan(label, score)
    for metric in ("f1", "f2", "mcc"):
        point = for_best(label, score, metric)  # type: ignore[arg-type]
        best = max(n[metric] for n in everything.values())
        assert point.achieved[metric] == best
        assert point.threshold == max(t for t, n in everything.items() if n[metric] == best)


@few
@seeds
def test_sensitivity_at_a_specificity_is_the_best_allowed(seed: int) -> None:
    label, score = naive.pairs(np.random.default_rng(seed), 30)
    for specificity in (0.5, 0.9, 1.0):
        allowed = [
            n["sensitivity"]
            for n in scan(label, score).values()
            if n["specificity"] >= specificity - 1e-12
        ]
        assert sensitivity_at_specificity(label, score, specificity) == max(allowed, default=0)


@few
@seeds
def test_box_points_are_the_best_of_all_box_thresholds(seed: int) -> None:
    truth, predictions = naive.images(np.random.default_rng(seed), 8)
    assume(sum(map(len, truth)) and sum(len(s) for _, s in predictions))
    hit = [naive.hits(t, b, s, 0.5) for t, (b, s) in zip(truth, predictions, strict=True)]
    at = sorted({float(s) for _, scores in predictions for s in scores}, reverse=True)

    def counts(t: float) -> tuple[int, int]:
        true = sum(int((h & (s >= t)).sum()) for h, (_, s) in zip(hit, predictions, strict=True))
        false = sum(int((~h & (s >= t)).sum()) for h, (_, s) in zip(hit, predictions, strict=True))
        return true, false

    lesions = sum(map(len, truth))
    for beta, metric in ((1, "f1"), (2, "f2")):
        values = {}
        for t in at:
            true, false = counts(t)
            values[t] = (1 + beta**2) * true / (true + false + beta**2 * lesions)
        point = for_best_boxes(truth, predictions, metric)  # type: ignore[arg-type]
        best = max(values.values())
        assert point.achieved[metric] == pytest.approx(best)
        assert point.threshold == max(t for t in at if values[t] == pytest.approx(best))
        assert point.achieved["fp_per_image"] == counts(point.threshold)[1] / len(truth)
    for most in (0.25, 1.0):
        under = [t for t in at if counts(t)[1] / 8 <= most]
        if under:
            assert for_false_marks(truth, predictions, most).threshold == min(under)
        else:
            with pytest.raises(DataError):
                for_false_marks(truth, predictions, most)
    point = for_rsna_score(truth, predictions)
    scores = [rsna_score(truth, [(b[s >= t], s[s >= t]) for b, s in predictions]) for t in at]
    assert point.achieved["rsna_score"] == max(scores)


@few
@seeds
def test_what_boxes_are_calibrated_on_is_whether_they_find_a_true_one(seed: int) -> None:
    truth, predictions = naive.images(np.random.default_rng(seed), 6)
    hit, scores = box_hits(truth, predictions)
    own = [naive.hits(t, b, s, 0.5) for t, (b, s) in zip(truth, predictions, strict=True)]
    assert hit.sum() == sum(h.sum() for h in own)
    assert sorted(scores) == sorted(s for _, part in predictions for s in part.tolist())
    assert sorted(scores[hit]) == sorted(
        float(s) for h, (_, part) in zip(own, predictions, strict=True) for s in part[h]
    )


@few
@given(st.integers(0, 2**32 - 1), st.sampled_from(sorted(FITS)))
def test_a_fitted_map_rises_and_comes_closer_to_the_truth(seed: int, kind: str) -> None:
    rng = np.random.default_rng(seed)
    chance = rng.uniform(0.05, 0.95, 400)
    label = (rng.random(400) < chance).astype(int)
    sure = 1 / (1 + np.exp(-3 * np.log(chance / (1 - chance))))  # three times too sure
    mapped = FITS[kind](label, sure).apply(sure)
    order = np.argsort(sure)
    assert (np.diff(mapped[order]) >= 0).all()
    assert np.mean((mapped - label) ** 2) < np.mean((sure - label) ** 2)
    assert np.abs(mapped - chance).mean() < np.abs(sure - chance).mean()


@few
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.6, 0.8, 0.9]))
def test_a_new_patient_is_found_with_the_promised_share(seed: int, least: float) -> None:
    """Leave one out: of n + 1 exchangeable scores, so many are at or over the others' threshold."""
    scores = np.random.default_rng(seed).random(30).round(2)
    found = 0
    for i in range(30):
        point = conformal_sensitivity(np.delete(scores, i), least)
        found += scores[i] >= point.threshold
    assert found / 30 >= least


def test_too_few_patients_for_a_guarantee_are_refused_with_how_many_it_takes() -> None:
    for least, needed in ((0.9, 9), (0.95, 19), (0.5, 1)):
        conformal_sensitivity(np.full(needed, 0.5), least)
        with pytest.raises(DataError, match=f"at least {needed}"):
            conformal_sensitivity(np.full(needed - 1, 0.5), least)


@few
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.2, 0.25, 0.5]))
def test_a_new_patients_loss_is_under_the_promised_one(seed: int, most: float) -> None:
    rng = np.random.default_rng(seed)
    at = np.linspace(0, 1, 101)
    own = rng.random(25)
    losses = (own[:, None] < at[None, :]).astype(float)  # missed from its own score on
    total = 0.0
    for i in range(25):
        point = conformal_risk(np.delete(losses, i, 0), at, most)
        total += losses[i, int(np.flatnonzero(at == point.threshold)[0])]
    assert total / 25 <= most + 1e-9


def test_missed_boxes_are_counted_patient_by_patient() -> None:
    """One patient with four boxes weighs as much as one with a single box."""
    box = [0.0, 0.0, 10.0, 10.0]
    many = [[20.0 * k, 0.0, 20.0 * k + 10, 10.0] for k in range(4)]
    truth = [np.array([box])] * 39 + [np.array(many)]
    sure = (np.array([box]), np.array([0.9]))
    predictions = [sure] * 39 + [(np.array(many), np.array([0.9, 0.2, 0.2, 0.2]))]
    point = conformal_missed_boxes(truth, predictions, 0.05)
    assert point.threshold == 0.9  # (3/4 + 1) / 41 is less than .05
    assert point.achieved["risk"] == pytest.approx(0.75 / 40)
    together = conformal_missed_boxes(truth, predictions, 0.1, patients=np.repeat(np.arange(20), 2))
    assert together.achieved["patients"] == 20


@pytest.mark.parametrize(
    ("losses", "thresholds", "error"),
    [
        ([[0.5, 0.2]], [0.1, 0.2], DataError),  # falls
        ([[0.5, 1.2]], [0.1, 0.2], DataError),
        ([[0.0, 0.2]], [0.2, 0.1], DataError),
        ([[0.0, 0.2]], [0.1], GeometryError),
        ([[0.9, 0.9]], [0.1, 0.2], DataError),
    ],
)
def test_losses_that_promise_nothing_are_refused(
    losses: list[list[float]], thresholds: list[float], error: type[Exception]
) -> None:
    with pytest.raises(error):
        conformal_risk(losses, thresholds, 0.5)


def test_a_grid_of_epochs_holds_the_numbers_of_each_epoch_alone() -> None:
    rng = np.random.default_rng(4)
    truth, first = naive.images(rng, 8)
    second = [(b + 1, s) for b, s in first]
    grid = score_by_epoch(truth, {1: first, 5: second}, metric="box_recall", scores=(0.2, 0.6))
    assert grid.columns == ("epoch", (1, 5))
    lesions = sum(map(len, truth))
    for c, predictions in enumerate((first, second)):
        for r, score in enumerate((0.2, 0.6)):
            hit = sum(
                naive.hits(t, b[s >= score], s[s >= score], 0.5).sum()
                for t, (b, s) in zip(truth, predictions, strict=True)
            )
            assert grid.values[r, c] == pytest.approx(hit / lesions)
    strict = score_by_iou(truth, first, metric="sensitivity", scores=(0.2,), ious=(0.3, 0.9))
    assert strict.values[0, 0] >= strict.values[0, 1]


def test_suppression_of_a_file_is_that_of_each_image() -> None:
    _, predictions = naive.images(np.random.default_rng(8), 5)

    def suppress(boxes: Floats, scores: Floats, iou: float) -> Floats:
        return keep_best(boxes, scores, iou=iou)

    for (boxes, scores), (kept, of_kept) in zip(
        predictions, suppressed(predictions, suppress, 0.3), strict=True
    ):
        rows = keep_best(boxes, scores, iou=0.3)
        np.testing.assert_array_equal(kept, boxes[rows])
        np.testing.assert_array_equal(of_kept, scores[rows])


def test_a_nested_search_takes_each_folds_choice_from_the_others() -> None:
    folds = np.array([0, 0, 1, 1, 2, 2])
    table = {1: (0.9, 0.1, 0.1), 2: (0.5, 0.5, 0.5), 3: (0.0, 0.6, 0.3)}

    def score(options: dict[str, int], rows: Floats) -> float:
        (fold,) = set(folds[rows].tolist())
        return table[options["k"]][fold]

    result = search(score, {"k": [1, 2, 3]}, folds)  # type: ignore[arg-type]
    assert result.options == {"k": 2}  # the best mean
    assert result.score == pytest.approx(0.5)
    # Fold 0 is given by the best of folds 1 and 2, and so on.
    others = {
        fold: max(table, key=lambda k: sum(v for i, v in enumerate(table[k]) if i != fold))
        for fold in range(3)
    }
    assert result.nested == pytest.approx(np.mean([table[others[f]][f] for f in range(3)]))


def test_aims_that_cannot_be_are_refused() -> None:
    label, score = naive.pairs(np.random.default_rng(0), 10)
    with pytest.raises(ConfigError, match="share"):
        for_sensitivity(label, score, 95)
    with pytest.raises(ConfigError, match="f1"):
        for_best(label, score, "auc")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="positives and negatives"):
        for_sensitivity(np.ones(10), score)
    with pytest.raises(DataError):
        for_best_boxes([np.zeros((0, 4))], [(np.zeros((0, 4)), np.zeros(0))])
