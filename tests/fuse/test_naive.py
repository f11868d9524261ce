"""Suppression, shrinking and joining of scores against forms that loop over every box."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import naive
from hilum.core.errors import ConfigError, DataError, GeometryError
from hilum.fuse.classic import nms, soft_nms, union, vote_average
from hilum.fuse.masks import mean_map, remove_small, triplet_mask
from hilum.fuse.outputs import average_outputs, percentile_shrink, scale_boxes
from hilum.fuse.scores import (
    classifier_times_detector,
    combine_by,
    filter_second_place,
    none_score,
    study_score,
)
from hilum.fuse.suppress import keep_best
from hilum.fuse.weighted import weighted_boxes

seeds = given(st.integers(0, 2**32 - 1))
few = settings(max_examples=20, deadline=None)


def boxes_of(rng: np.random.Generator, count: int) -> tuple[Any, Any, Any]:
    corner = rng.integers(0, 40, (count, 2)).astype(float)
    boxes = np.c_[corner, corner + rng.integers(5, 30, (count, 2))] / 100
    return boxes, rng.permutation(count) / count, rng.integers(0, 2, count)


def models_of(rng: np.random.Generator, count: int = 3) -> tuple[list[Any], list[Any], list[Any]]:
    parts = [boxes_of(rng, int(rng.integers(0, 6))) for _ in range(count)]
    return [p[0] for p in parts], [p[1] for p in parts], [p[2] for p in parts]


def greedy(boxes: Any, scores: Any, labels: Any, iou: float) -> list[int]:
    kept: list[int] = []
    for j in sorted(range(len(boxes)), key=lambda j: (-scores[j], j)):
        rivals = [k for k in kept if labels[k] == labels[j]]
        if all(naive.iou(boxes[k], boxes[j]) <= iou for k in rivals):
            kept.append(j)
    return kept


@few
@seeds
def test_suppression_takes_the_surest_box_again_and_again(seed: int) -> None:
    boxes, scores, labels = boxes_of(np.random.default_rng(seed), 12)
    for iou in (0.1, 0.4):
        assert keep_best(boxes, scores, labels, iou=iou).tolist() == greedy(
            boxes, scores, labels, iou
        )


@few
@seeds
def test_nms_of_models_is_that_of_their_pooled_boxes(seed: int) -> None:
    boxes, scores, labels = models_of(np.random.default_rng(seed))
    flat = [np.concatenate([np.asarray(p) for p in part]) for part in (boxes, scores, labels)]
    fused, of_fused, names = nms(boxes, scores, labels, iou=0.3)
    rows = greedy(flat[0].reshape(-1, 4), flat[1], flat[2], 0.3)
    rows.sort(key=lambda j: -flat[1][j])
    np.testing.assert_allclose(fused, flat[0].reshape(-1, 4)[rows])
    np.testing.assert_allclose(of_fused, flat[1][rows])
    assert list(names) == flat[2][rows].tolist()
    weighted = nms(boxes, scores, labels, weights=[2, 1, 1], iou=1.0)[1]
    expected = [s * w / 4 for part, w in zip(scores, (2, 1, 1), strict=True) for s in part]
    np.testing.assert_allclose(weighted, sorted(expected, reverse=True))


@few
@seeds
def test_soft_suppression_decays_box_by_box(seed: int) -> None:
    boxes, scores, _ = boxes_of(np.random.default_rng(seed), 8)
    for method in ("gaussian", "linear"):
        left, out = {j: float(s) for j, s in enumerate(scores)}, {}
        while left:
            best = max(left, key=lambda j: (left[j], -j))
            out[best] = left.pop(best)
            for j in left:
                o = naive.iou(boxes[best], boxes[j])
                linear = 1 - o if o > 0.3 else 1.0
                left[j] *= np.exp(-(o**2) / 0.5) if method == "gaussian" else linear
        _, lowered, _ = soft_nms([boxes], [scores], [[0] * 8], method=method, iou=0.3, floor=-1)  # type: ignore[arg-type]
        np.testing.assert_allclose(lowered, sorted(out.values(), reverse=True))


@few
@seeds
def test_a_union_holds_every_confident_box_once(seed: int) -> None:
    boxes, scores, labels = models_of(np.random.default_rng(seed), 2)
    fused, kept, names = union(boxes, scores, labels, thresholds=[0.3, 0.6], iou=0.4)
    confident = [
        (b, s, n)
        for part, own, of, t in zip(boxes, scores, labels, (0.3, 0.6), strict=True)
        for b, s, n in zip(part, own, of, strict=True)
        if s >= t
    ]
    for box, _, name in confident:  # each is there, or a surer one lies on it
        assert any(
            n == name and (naive.iou(box, f) > 0.4 or np.allclose(box, f))
            for f, n in zip(fused, names, strict=True)
        )
    assert len(kept) <= len(confident)
    for i in range(len(fused)):
        for j in range(i):
            assert names[i] != names[j] or naive.iou(fused[i], fused[j]) <= 0.4


@few
@seeds
def test_a_vote_is_the_share_of_the_models_that_agree(seed: int) -> None:
    rng = np.random.default_rng(seed)
    boxes, _, _ = boxes_of(rng, 1)
    several = [boxes + rng.normal(0, 0.001, 4) for _ in range(3)]
    fused, mean, _, votes = vote_average(
        [*several, np.zeros((0, 4))], [[0.2], [0.4], [0.9], []], [[0], [0], [0], []]
    )
    assert votes.tolist() == [0.75]
    np.testing.assert_allclose(mean, [0.5])
    np.testing.assert_allclose(fused[0], np.mean([b[0] for b in several], axis=0))


@few
@seeds
def test_one_model_alone_is_itself_when_weighted(seed: int) -> None:
    boxes, scores, _ = boxes_of(np.random.default_rng(seed), 5)
    scores = scores + 0.1
    labels = list(range(5))  # nothing to fuse with
    fused, of_fused, names = weighted_boxes([boxes], [scores.clip(0, 1)], [labels])
    order = np.argsort(-scores)
    np.testing.assert_allclose(fused, boxes[order])
    np.testing.assert_allclose(of_fused, scores.clip(0, 1)[order])
    assert [int(n) for n in names] == order.tolist()
    twice = weighted_boxes([boxes, boxes], [scores.clip(0, 1)] * 2, [labels, labels])
    np.testing.assert_allclose(twice[0], fused)  # two models that agree say the same
    np.testing.assert_allclose(twice[1], of_fused)


@few
@seeds
def test_a_box_shrinks_by_what_its_runs_disagree(seed: int) -> None:
    deltas = np.random.default_rng(seed).normal(0, 1, (5, 3, 4))
    shrunk = percentile_shrink(deltas, k=1.6)
    for n in range(3):
        for axis in (2, 3):
            ordered = sorted(deltas[:, n, axis])
            p20, p80 = (
                (ordered[0] + 0.8 * (ordered[1] - ordered[0])),
                (ordered[3] + 0.2 * (ordered[4] - ordered[3])),
            )
            assert shrunk[n, axis] == pytest.approx(p20 + 1.6 * (p20 - p80))
        assert shrunk[n, :2] == pytest.approx(deltas[:, n, :2].mean(axis=0))
    scores = np.random.default_rng(seed).random((5, 3, 2))
    mean, of = average_outputs(deltas, scores)
    np.testing.assert_allclose(mean, deltas.mean(axis=0))
    np.testing.assert_allclose(of, scores.mean(axis=0))
    np.testing.assert_allclose(average_outputs(deltas, scores, shrink=1.6)[0], shrunk)


@few
@given(st.integers(0, 2**32 - 1), st.floats(0.1, 3), st.floats(0.1, 3))
def test_scaled_boxes_keep_their_centre(seed: int, wide: float, high: float) -> None:
    boxes, _, _ = boxes_of(np.random.default_rng(seed), 4)
    scaled = scale_boxes(boxes, (wide, high))
    np.testing.assert_allclose(scaled[:, :2] + scaled[:, 2:], boxes[:, :2] + boxes[:, 2:])
    sides, before = scaled[:, 2:] - scaled[:, :2], boxes[:, 2:] - boxes[:, :2]
    np.testing.assert_allclose(sides, before * (wide, high))
    np.testing.assert_allclose(scale_boxes(scaled, (1 / wide, 1 / high)), boxes, atol=1e-12)


@few
@seeds
def test_a_study_is_as_sure_as_its_way_says(seed: int) -> None:
    scores = np.random.default_rng(seed).random(4)
    assert study_score(scores, "max") == max(scores)
    assert study_score(scores, "mean") == pytest.approx(sum(scores) / 4)
    none = 1.0
    for s in scores:
        none *= 1 - s
    assert study_score(scores, "noisy-or") == pytest.approx(1 - none)
    table = np.stack([scores, scores[::-1]], axis=1)
    for how in ("max", "mean", "noisy-or"):
        assert combine_by(how)(scores.tolist()) == pytest.approx(study_score(scores, how))  # type: ignore[arg-type]
        both = study_score(table, how)  # type: ignore[arg-type]
        assert both == pytest.approx([study_score(scores, how)] * 2)  # type: ignore[arg-type]
        one = study_score(scores[:1], how)  # type: ignore[arg-type]
        assert one == pytest.approx(scores[0])  # a study of one image is its image


def test_no_box_is_no_finding() -> None:
    assert none_score([]) == 1
    assert none_score([0.3, 0.9, 0.1]) == pytest.approx(0.1)
    np.testing.assert_allclose(classifier_times_detector([0.5, 1.0], 0.4), [0.2, 0.4])
    for bad in ([1.2], [np.nan], [-0.1]):
        with pytest.raises(GeometryError):
            none_score(bad)
        with pytest.raises(GeometryError):
            classifier_times_detector(bad, 0.5)
    with pytest.raises(DataError):
        study_score([])
    with pytest.raises(ConfigError, match="noisy-or"):
        combine_by("median")


@few
@seeds
def test_the_second_places_filter_step_by_step(seed: int) -> None:
    boxes, scores, _ = boxes_of(np.random.default_rng(seed), 8)
    scores = scores * 0.4
    rows = [j for j in range(8) if scores[j] >= 0.025]
    kept: list[int] = []
    for j in sorted(rows, key=lambda j: -scores[j]):
        if all(naive.iou(boxes[k], boxes[j]) < 0.05 for k in kept):
            kept.append(j)
    top = max((scores[j] for j in kept), default=0)
    kept = [j for j in kept if scores[j] >= top / 2]
    alone = filter_second_place(boxes, scores)
    assert alone.tolist() == [j for j in kept if scores[j] * 5 > 0.3]
    both = filter_second_place(boxes, scores, p_opacity=0.1, p_not_normal=0.5)
    assert both.tolist() == [j for j in kept if np.sqrt(scores[j] * 0.15) * 5 > 0.3]


# --- masks ---


def parts_of(mask: Any) -> list[set[tuple[int, int]]]:
    """Eight-connected parts, by walking."""
    left = {(int(y), int(x)) for y, x in zip(*np.nonzero(mask), strict=True)}
    out = []
    while left:
        part, waiting = set[tuple[int, int]](), [left.pop()]
        while waiting:
            y, x = waiting.pop()
            part.add((y, x))
            near = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & left
            left -= near
            waiting += near
        out.append(part)
    return out


@few
@seeds
def test_small_parts_go_and_large_ones_stay_whole(seed: int) -> None:
    mask = np.random.default_rng(seed).random((14, 17)) < 0.25
    for least in (0, 3, 6):
        expected = np.zeros_like(mask)
        for part in parts_of(mask):
            if len(part) >= least:
                for y, x in part:
                    expected[y, x] = True
        np.testing.assert_array_equal(remove_small(mask, least), expected)


@few
@seeds
def test_a_triplet_mask_is_all_or_nothing(seed: int) -> None:
    prob = np.random.default_rng(seed).random((3, 9, 9)).astype(np.float32)
    masks = triplet_mask(prob, top=0.8, min_area=17, bottom=0.4)
    for one, mask in zip(prob, masks, strict=True):
        sure = sum(p > np.float32(0.8) for p in one.ravel())
        expected = one > np.float32(0.4) if sure >= 17 else np.zeros((9, 9), bool)
        np.testing.assert_array_equal(mask, expected)
        np.testing.assert_array_equal(triplet_mask(one, 0.8, 17, 0.4), expected)


def test_a_mean_of_maps_lies_between_them() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.random((2, 5, 5))
    mean = mean_map([a, b], [3, 1])
    np.testing.assert_allclose(mean, (3 * a + b) / 4)
    assert ((mean >= np.minimum(a, b)) & (mean <= np.maximum(a, b))).all()
    with pytest.raises(GeometryError):
        mean_map([a, b[:4]])
    with pytest.raises(GeometryError):
        mean_map([])
