"""Threshold grids and the breakdown of true boxes, on cases that can be counted by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from hilum.evaluate.breakdown import breakdown
from hilum.evaluate.cases import Cases
from hilum.evaluate.evaluation import evaluate_cases
from hilum.evaluate.metrics.boxes import box_table
from hilum.evaluate.metrics.matching import TRUE, found_truths, match
from hilum.evaluate.thresholds.sweep import score_by_iou


def _box(x: float, y: float, side: float) -> list[float]:
    return [x, y, x + side, y + side]


def _cases(truth: list[list[list[float]]], said: list[list[tuple[list[float], float]]]) -> Cases:
    """One image of 100 × 100 px a patient."""
    n = len(truth)
    columns = {c: [""] * n for c in ("sex", "view", "modality", "source", "age")}
    names = [f"i{i}" for i in range(n)]
    rows = pd.DataFrame({"image_id": names, "patient": names, **columns, "width": 100})
    rows["height"] = 100
    boxes = [np.array(t, np.float64).reshape(-1, 4) for t in truth]
    predictions = [
        (np.array([b for b, _ in s], np.float64).reshape(-1, 4), np.array([p for _, p in s]))
        for s in said
    ]
    label = np.array([float(len(t) > 0) for t in truth])
    score = np.array([max([0.0, *(p for _, p in s)]) for s in said])
    return Cases("toy", "opacity", rows, boxes, predictions, np.ones(n, bool), label, score, 0)


SMALL, LARGE, MIDDLE = _box(10, 10, 10), _box(60, 65, 30), _box(70, 40, 20)
SET = _cases(
    [[SMALL], [LARGE, MIDDLE], [], [LARGE]],
    [[(SMALL, 0.9)], [(LARGE, 0.6), (MIDDLE, 0.3)], [(SMALL, 0.7)], []],
)


def test_boxes_are_counted_by_size_place_and_number() -> None:
    result = {(p.kind, p.value): p for p in breakdown(SET, 0.5, repeats=20)}
    assert {key: (p.boxes, p.recall.value) for key, p in result.items()} == {
        ("size", "under 3 % of the image"): (1, 1.0),
        ("size", "3 to 8 %"): (1, 0.0),  # its box has a score of 0.3
        ("size", "over 8 %"): (2, 0.5),
        ("height", "upper third"): (1, 1.0),
        ("height", "middle third"): (1, 0.0),
        ("height", "lower third"): (2, 0.5),
        ("side", "left in the image"): (1, 1.0),
        ("side", "right in the image"): (3, pytest.approx(1 / 3)),
        ("boxes in the image", "1"): (2, 0.5),
        ("boxes in the image", "2"): (2, 0.5),
    }


def test_images_of_unknown_size_are_left_out_of_sizes_and_places() -> None:
    unknown = SET.where(np.ones(4, bool))
    unknown.rows["width"] = 0
    assert {part.kind for part in breakdown(unknown, 0.5, repeats=5)} == {"boxes in the image"}


def test_a_grid_holds_what_counting_at_each_threshold_gives() -> None:
    grid = score_by_iou(SET.truth, SET.predictions, scores=(0.25, 0.5, 0.95), ious=(0.5,))
    assert grid.values[:, 0].tolist() == [
        pytest.approx(2 * 3 / (2 * 3 + 1 + 1)),  # one false mark, one missed
        pytest.approx(2 * 2 / (2 * 2 + 1 + 2)),
        0.0,
    ]


def test_a_stricter_overlap_never_finds_more() -> None:
    rng = np.random.default_rng(0)
    truth = [np.array([_box(*rng.uniform(0, 50, 2), 30) for _ in range(3)]) for _ in range(20)]
    answer = [(t + rng.uniform(-8, 8, (3, 1)), rng.random(3)) for t in truth]
    values = score_by_iou(truth, answer, metric="sensitivity").values
    assert (np.diff(values, axis=1) <= 0).all()
    assert (np.diff(values, axis=0) <= 0).all()


def test_found_truths_are_as_many_as_true_marks() -> None:
    rng = np.random.default_rng(1)
    truth, answer = [], []
    for _ in range(60):
        truth.append(np.array([_box(*rng.integers(0, 12, 2), 10) for _ in range(3)], float))
        boxes = np.array([_box(*rng.integers(0, 12, 2), 10) for _ in range(5)], float)
        answer.append((boxes, rng.integers(0, 4, 5) / 4))
    table = box_table(truth, answer)
    for iou in (0.3, 0.5, 0.8):
        marks = match(table, np.array([iou]))
        hits = np.bincount(marks.image, marks.verdict[0, 0] == TRUE, len(table))
        result = found_truths(table, iou).reshape(60, 3).sum(axis=1)
        assert result.tolist() == hits.tolist()


def test_confusion_matrices_stand_at_fixed_thresholds_and_the_operating_point() -> None:
    matrices = {m["threshold"]: m for m in evaluate_cases(SET, threshold=0.65, repeats=5).confusion}
    assert sorted(matrices) == [0.25, 0.5, 0.65, 0.75]
    own = matrices[0.65]
    assert (own["tp"], own["fp"], own["fn"], own["tn"]) == (1, 1, 2, 0)
    assert all(sum(m[k] for k in ("tp", "fp", "fn", "tn")) == 4 for m in matrices.values())
