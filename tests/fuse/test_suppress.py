import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilum.core.errors import GeometryError
from hilum.core.geometry import iou_matrix
from hilum.fuse import keep_best, keep_voted, nested

SQUARE = [0.0, 0.0, 10.0, 10.0]


def test_of_two_boxes_on_one_opacity_the_surer_one_stays() -> None:
    boxes = [SQUARE, [1, 0, 11, 10], [50, 50, 60, 60]]
    assert keep_best(boxes, [0.4, 0.9, 0.2], iou=0.5).tolist() == [1, 2]


def test_equal_scores_keep_the_lower_index_first() -> None:
    assert keep_best([SQUARE] * 3, [0.5] * 3).tolist() == [0]
    assert keep_best([SQUARE, [50, 50, 60, 60]], [0.5, 0.5]).tolist() == [0, 1]


def test_labels_do_not_suppress_each_other() -> None:
    assert keep_best([SQUARE, SQUARE], [0.9, 0.8], ["opacity", "effusion"]).tolist() == [0, 1]


def test_an_iou_exactly_at_the_threshold_is_dropped_only_if_inclusive() -> None:
    boxes = [SQUARE, [0, 0, 10, 5]]  # IoU exactly one half
    assert len(keep_best(boxes, [0.9, 0.8], iou=0.5)) == 2
    assert len(keep_best(boxes, [0.9, 0.8], iou=0.5, inclusive=True)) == 1


def test_nothing_in_nothing_out() -> None:
    assert keep_best(np.zeros((0, 4)), []).tolist() == []


@pytest.mark.parametrize(
    ("boxes", "scores"),
    [([[10, 0, 0, 10]], [0.5]), ([SQUARE], [np.nan]), ([SQUARE], [0.5, 0.6])],
)
def test_bad_values_are_refused(boxes: list[list[float]], scores: list[float]) -> None:
    with pytest.raises(GeometryError):
        keep_best(boxes, scores)


corner = st.integers(0, 40)
box = st.tuples(corner, corner, st.integers(1, 30), st.integers(1, 30)).map(
    lambda b: [b[0], b[1], b[0] + b[2], b[1] + b[3]]
)


@given(st.lists(st.tuples(box, st.integers(0, 100)), min_size=1, max_size=20))
def test_kept_boxes_do_not_overlap_and_dropped_ones_do(rows: list[tuple[list[int], int]]) -> None:
    boxes = np.array([r[0] for r in rows], float)
    scores = np.array([r[1] for r in rows]) / 100
    kept = keep_best(boxes, scores, iou=0.3)
    overlap = iou_matrix(boxes, boxes)
    assert (np.diff(scores[kept]) <= 0).all()
    assert (np.triu(overlap[np.ix_(kept, kept)], 1) <= 0.3).all()
    for i in set(range(len(boxes))) - set(kept.tolist()):
        assert any(overlap[i, k] > 0.3 and scores[k] >= scores[i] for k in kept)


def test_fusion_is_there_in_the_base_install() -> None:
    """Importing and using it loads neither numba nor pandas nor torch."""
    code = (
        "import sys, hilum.fuse as f; f.weighted_boxes([[[0, 0, 1, 1]]], [[0.5]], [[0]]);"
        "assert not {'numba', 'pandas', 'torch', 'scipy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_votes_move_a_box_to_the_mean_of_those_around_it_by_score() -> None:
    boxes = [SQUARE, [2, 0, 12, 10], [0, 0, 10, 4], [50, 50, 60, 60]]  # IoU 2/3, .4, 0
    kept, voted = keep_voted(boxes, [0.6, 0.3, 0.2, 0.1], iou=0.5, vote=0.5)
    assert kept.tolist() == [0, 2, 3]
    np.testing.assert_allclose(voted, [[2 / 3, 0, 32 / 3, 10], boxes[2], boxes[3]])


def test_another_label_has_no_vote() -> None:
    boxes = [SQUARE, [1, 0, 11, 10]]
    kept, voted = keep_voted(boxes, [0.9, 0.8], ["opacity", "effusion"], vote=0.5)
    assert kept.tolist() == [0, 1]
    np.testing.assert_allclose(voted, boxes)


def test_boxes_that_score_nothing_stay_where_they_are() -> None:
    kept, voted = keep_voted([SQUARE], [0.0], vote=0.5)
    assert kept.tolist() == [0]
    np.testing.assert_allclose(voted, [SQUARE])
    assert len(keep_voted(np.zeros((0, 4)), [], vote=0.5)[1]) == 0


@given(st.lists(st.tuples(box, st.integers(0, 100)), min_size=1, max_size=20))
def test_voting_keeps_what_suppression_keeps(rows: list[tuple[list[int], int]]) -> None:
    boxes = np.array([r[0] for r in rows], float)
    scores = np.array([r[1] for r in rows]) / 100
    kept, voted = keep_voted(boxes, scores, iou=0.3, vote=0.6)
    assert kept.tolist() == keep_best(boxes, scores, iou=0.3).tolist()
    # The mean of boxes lies within them.
    assert (voted >= boxes.min(axis=0) - 1e-9).all()
    assert (voted <= boxes.max(axis=0) + 1e-9).all()


def test_a_box_inside_a_stronger_one_is_nested_and_one_around_a_stronger_is_not() -> None:
    lung, lobe, inner, beside = [0, 0, 40, 80], [5, 40, 35, 80], [10, 50, 20, 60], [30, 0, 70, 40]
    boxes = [lobe, lung, inner, beside]
    assert nested(boxes, [0.4, 0.8, 0.3, 0.2]).tolist() == [True, False, True, False]
    assert nested([lobe, lung], [0.9, 0.8]).tolist() == [False, False]
    assert nested([lobe, lobe], [0.5, 0.5]).tolist() == [False, True]
    assert nested([lung, lobe], [0.8, 0.4], ["opacity", "effusion"]).tolist() == [False, False]
    assert nested(np.zeros((0, 4)), []).tolist() == []
