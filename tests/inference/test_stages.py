"""Every step of a flow alone, on made-up answers: what it keeps, drops, and in which order."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import naive
from helpers.toy import toy_files, toy_manifest
from hilum.core.errors import ConfigError
from hilum.core.geometry import Letterbox
from hilum.core.manifest import Manifest
from hilum.core.prediction import Boxes, Prediction, ProbabilityMap, logits_of
from hilum.inference.stages import STAGES, StageSpec, make
from hilum.inference.stages.base import Answers, Facts

few = settings(max_examples=20, deadline=None)
SIDE = 100


def manifest(**changes: Any) -> Manifest:
    files = dict.fromkeys(toy_files(b""), "0" * 64)
    return Manifest.model_validate(toy_manifest(**changes) | {"files": files})


def boxes_of(seed: int, count: int = 6) -> Boxes:
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 60, (count, 2))
    sides = rng.uniform(4, 40, (count, 2))
    scores = np.sort(rng.random(count))[::-1]
    labels = ["opacity" if value < 0.7 else "effusion" for value in rng.random(count)]
    return Boxes.of(np.c_[corner, corner + sides], scores, labels)


def answers(**models: Prediction | None) -> Answers:
    """Of an image of 100 px; a model that is None was not asked."""
    return Answers(
        width=SIDE,
        height=SIDE,
        facts={name: Facts(name, manifest()) for name in models},
        predictions={name: one for name, one in models.items() if one is not None},
    )


def said(boxes: Boxes | None = None, **scores: float) -> Prediction:
    return Prediction(width=SIDE, height=SIDE, boxes=boxes, image_scores=scores)


def step(kind: str, use: str, **options: Any) -> Any:
    return make(kind, StageSpec(use=use, options=options), "here")  # type: ignore[arg-type]


NOBODY = answers()

# --- boxes ---


@few
@given(st.integers(0, 999), st.floats(0, 1))
def test_a_minimum_score_keeps_the_best(seed: int, least: float) -> None:
    own = boxes_of(seed)
    left = step("boxes", "minimum-score", score=least)(own, NOBODY)
    assert len(left) == sum(s >= np.float32(least) for s in own.scores)
    np.testing.assert_array_equal(left.scores, own.scores[: len(left)])
    for most in (0, 2, 99):
        best = step("boxes", "at-most", boxes=most)(own, NOBODY)
        np.testing.assert_array_equal(best.boxes_px, own.boxes_px[:most])


@few
@given(st.integers(0, 999))
def test_small_boxes_are_small_beside_the_image(seed: int) -> None:
    own = boxes_of(seed)
    left = step("boxes", "minimum-area", part=0.04)(own, NOBODY)
    area = [(b[2] - b[0]) * (b[3] - b[1]) for b in own.boxes_px]
    assert len(left) == sum(a >= 0.04 * SIDE * SIDE for a in area)


@few
@given(st.integers(0, 999), st.floats(0.2, 1.5))
def test_scaled_boxes_stay_in_the_image(seed: int, side: float) -> None:
    own = boxes_of(seed)
    scaled = step("boxes", "scale", sides=side)(own, NOBODY)
    assert scaled.boxes_px.min() >= 0
    assert scaled.boxes_px.max() <= SIDE
    np.testing.assert_array_equal(scaled.scores, own.scores)
    assert scaled.labels == own.labels
    inner = (scaled.boxes_px > 0).all(axis=1) & (scaled.boxes_px < SIDE).all(axis=1)
    before = (own.boxes_px[:, 2:] - own.boxes_px[:, :2])[inner]
    after = (scaled.boxes_px[:, 2:] - scaled.boxes_px[:, :2])[inner]
    np.testing.assert_allclose(after, before * side, rtol=1e-3)


@few
@given(st.integers(0, 999), st.floats(0.1, 1))
def test_a_box_outside_the_lungs_goes(seed: int, part: float) -> None:
    own = boxes_of(seed)
    image = answers()
    image.masks["lungs"] = np.zeros((SIDE, SIDE), bool)
    image.masks["lungs"][:, :50] = True
    left = step("boxes", "inside-mask", mask="lungs", part=part)(own, image)
    kept = 0
    for x1, _, x2, _ in own.boxes_px.tolist():
        columns = range(int(np.floor(x1)), int(np.ceil(x2)))
        kept += sum(x < 50 for x in columns) / len(columns) >= part
    assert len(left) == kept


@few
@given(st.integers(0, 999), st.sampled_from([0.3, 0.6]))
def test_suppression_of_the_flow_keeps_boxes_apart(seed: int, iou: float) -> None:
    own = boxes_of(seed, 10)
    left = step("boxes", "nms", iou=iou)(own, NOBODY)
    for i in range(len(left)):
        for j in range(i):
            same = left.labels[i] == left.labels[j]
            assert not same or naive.iou(left.boxes_px[i], left.boxes_px[j]) <= iou + 1e-6
    assert left.scores[0] == own.scores[0]
    again = step("boxes", "nms", iou=iou)(left, NOBODY)
    np.testing.assert_array_equal(again.boxes_px, left.boxes_px)  # once is enough


FUSIONS = ["nms", "soft-nms", "nmw", "union", "vote", "weighted-boxes"]


@pytest.mark.parametrize("use", FUSIONS)
def test_who_was_not_asked_or_has_no_boxes_has_no_voice(use: str) -> None:
    own = boxes_of(4)
    fuse = step("boxes", use, of=["a", "b", "c"])
    alone = fuse(Boxes.none(), answers(a=said(own), b=None, c=said(None, opacity=0.9)))
    with_nothing = step("boxes", use, of=["a"])(Boxes.none(), answers(a=said(own)))
    np.testing.assert_allclose(alone.boxes_px, with_nothing.boxes_px)
    np.testing.assert_allclose(alone.scores, with_nothing.scores)
    assert len(fuse(Boxes.none(), answers(a=None, b=None, c=None))) == 0


@pytest.mark.parametrize("use", ["vote", "weighted-boxes"])
def test_a_detector_that_finds_nothing_lowers_what_others_are_sure_of(use: str) -> None:
    own = boxes_of(4, 1)
    fuse = step("boxes", use, of=["a", "b"])
    alone = fuse(Boxes.none(), answers(a=said(own), b=None))
    doubted = fuse(Boxes.none(), answers(a=said(own), b=said(Boxes.none())))
    assert doubted.scores[0] == pytest.approx(alone.scores[0] / 2)


@pytest.mark.parametrize("use", FUSIONS)
def test_boxes_of_a_fusion_stand_best_first(use: str) -> None:
    fused = step("boxes", use, of=["a", "b"])(
        Boxes.none(), answers(a=said(boxes_of(1)), b=said(boxes_of(2)))
    )
    assert len(fused)
    assert (np.diff(fused.scores) <= 0).all()
    assert len(fused.labels) == len(fused.scores) == len(fused.boxes_px)


def test_the_classifier_has_the_last_word() -> None:
    own = boxes_of(1)
    for score, left in ((0.19, 0), (0.2, len(own)), (0.9, len(own))):
        check = step("boxes", "classifier-check", of="cls.opacity", at=0.2)
        assert len(check(own, answers(cls=said(opacity=score)))) == left
    times = step("boxes", "times-image-score", of="cls.opacity")
    np.testing.assert_allclose(
        times(own, answers(cls=said(opacity=0.5))).scores, own.scores / 2, rtol=1e-6
    )


# --- scores ---


def test_scores_are_taken_chosen_and_renamed() -> None:
    image = answers(a=said(opacity=0.7, normal=0.1), b=said(opacity=0.1), c=None)
    none = Boxes.none()
    assert step("scores", "scores", of="a")(none, image) == {"opacity": 0.7, "normal": 0.1}
    assert step("scores", "scores", of="a", only=["normal"])(none, image) == {"normal": 0.1}
    renamed = step("scores", "scores", of="a", rename={"opacity": "any"})
    assert renamed(none, image) == {"any": 0.7, "normal": 0.1}
    assert step("scores", "scores", of="c")(none, image) == {}
    mean = step("scores", "mean-scores", of={"a": 1, "b": 3, "c": 9})(none, image)
    assert mean == pytest.approx({"opacity": (0.7 + 3 * 0.1) / 4, "normal": 0.1})


@few
@given(st.integers(0, 999))
def test_the_best_box_and_its_absence_are_one(seed: int) -> None:
    own = boxes_of(seed)
    best = step("scores", "best-box", name="opacity")(own, NOBODY)
    none = step("scores", "none")(own, NOBODY)
    assert best["opacity"] == own.scores.max()
    assert best["opacity"] + none["none"] == pytest.approx(1)
    assert step("scores", "none")(Boxes.none(), NOBODY) == {"none": 1.0}
    of = step("scores", "none", of="a.opacity", name="healthy")
    assert of(own, answers(a=said(opacity=0.25))) == {"healthy": 0.75}


# --- masks ---


def probability_map(seed: int = 0, side: int = 25) -> ProbabilityMap:
    p = np.random.default_rng(seed).uniform(0.01, 0.99, (side, side))
    return ProbabilityMap.of(logits_of(p), Letterbox(SIDE, SIDE, SIDE))


def test_a_mean_of_maps_is_the_mean_of_their_probabilities() -> None:
    a, b = probability_map(1), probability_map(2)
    image = answers(
        a=Prediction(width=SIDE, height=SIDE, maps={"opacity": a}),
        b=Prediction(width=SIDE, height=SIDE, maps={"opacity": b}),
        c=None,
    )
    mean = step("masks", "mean-maps", of={"a": 1, "b": 3, "c": 5}).of_flow("opacity", image)
    np.testing.assert_allclose(
        mean.probabilities, (a.probabilities + 3 * b.probabilities) / 4, atol=1e-5
    )
    alone = step("masks", "map", of="a").of_flow("opacity", image)
    np.testing.assert_array_equal(alone.logits, a.logits)
    assert step("masks", "map", of="c").of_flow("opacity", image) is None


def test_a_higher_cut_never_outlines_more() -> None:
    one = probability_map(3)
    before = np.ones((SIDE, SIDE), bool)
    for at in (0.1, 0.3, 0.5, 0.7, 0.9):
        mask = step("masks", "threshold", at=at)(one, NOBODY)
        assert mask.shape == (SIDE, SIDE)
        assert not (mask & ~before).any()
        before = mask


def test_sizes_of_parts_are_counted_at_the_side_that_is_named() -> None:
    mask = np.zeros((SIDE, SIDE), bool)
    mask[10:20, 10:20] = True  # 100 px
    mask[50:54, 50:54] = True  # 16 px
    for pixels, at, left in (
        (17, SIDE, 100),
        (16, SIDE, 116),
        (101, SIDE, 0),
        (399, 500, 116),
        (401, 500, 100),
    ):
        kept = step("masks", "remove-small", pixels=pixels, at=at)(mask, NOBODY)
        assert kept.sum() == left, (pixels, at)
    image = answers()
    image.masks["lungs"] = np.zeros((SIDE, SIDE), bool)
    image.masks["lungs"][:30] = True
    assert step("masks", "inside-mask", mask="lungs")(mask, image).sum() == 100


# --- the registry ---


def test_a_stage_that_is_not_there_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="minimum-score"):
        step("boxes", "minimum-scor")
    with pytest.raises(ConfigError):
        step("scores", "nms")  # of another kind
    with pytest.raises(ConfigError, match="iou"):
        step("boxes", "nms", iou=1.5)
    assert all(STAGES.values())


def test_a_score_is_named_by_its_model_and_its_own_name() -> None:
    facts = Facts("m", manifest())
    assert facts.score("m.opacity") == "opacity"
    with pytest.raises(ConfigError, match="unknown score"):
        facts.score("m.everything")
    assert facts.threshold("m.opacity", 0.25) == 0.25
    with pytest.raises(ConfigError, match="unknown operating point"):
        facts.threshold("m.opacity", "nowhere")
