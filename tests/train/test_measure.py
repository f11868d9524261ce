"""Operating points and calibration of a bundle come from validation images, and hang together."""

from __future__ import annotations

import numpy as np
import pytest

from hilum.core.geometry import Letterbox
from hilum.evaluate import box_hits, expected_calibration_error

pytest.importorskip("torch", reason="training is not installed")

from hilum.train.judge import Answer, Case, pairs
from hilum.train.measure import Held, calibrated, calibration, operating_points

BOX = np.array([[10, 10, 60, 60]], np.float32)


def _films(count: int, seed: int) -> tuple[list[Case], list[Answer]]:
    """Images of three kinds, and answers that are twice too sure and lean to opacity."""
    rng = np.random.default_rng(seed)
    cases, answers = [], []
    for i in range(count):
        logit = rng.normal(-1, 1.5)
        sick = bool(rng.random() < 1 / (1 + np.exp(-logit)))
        score = 1 / (1 + np.exp(-(2 * logit + 1)))
        truth = BOX if sick else np.zeros((0, 4), np.float32)
        image = np.zeros((1, 8, 8), np.float32)
        normal = not sick and i % 2 == 0
        cases.append(Case(f"i{i}", f"p{i}", image, Letterbox(80, 80, 8), truth, sick, normal))
        scores = {"opacity": score, "normal": (1 - score) / 2, "not-normal": (1 - score) / 2}
        answers.append(Answer(BOX, np.array([score], np.float32), scores))
    return cases, answers


def test_points_are_on_calibrated_scores_and_reach_their_aims() -> None:
    (validation, said), (folds, covid) = _films(300, 0), _films(100, 1)
    held = Held(validation, [], [], [folds])
    maps = calibration(held, said, covid)
    assert set(maps.scores) == {"box", "opacity", "normal", "not-normal"}
    hits, raw = box_hits(*pairs(validation, said))
    after = calibrated(said, maps)
    scores = np.array([a.scores[0] for a in after])
    truth = [case.opacity for case in validation]
    before = expected_calibration_error(hits, raw)
    assert expected_calibration_error(truth, scores) < before / 2

    points = operating_points(held, after, calibrated(covid, maps))
    assert points["default"].score == points["rsna-score"].score == "box"
    for name in ("sensitivity-95", "conformal-sensitivity-90"):
        assert points[name].score == "opacity"
    sick = np.array([a.opacity for a, ill in zip(after, truth, strict=True) if ill])
    assert (sick >= points["sensitivity-95"].threshold).mean() >= 0.95
    calm = np.array([a.opacity for a, ill in zip(after, truth, strict=True) if not ill])
    assert (calm >= points["false-positives-10"].threshold).mean() <= 0.10
    assert "exchangeable" in points["conformal-sensitivity-90"].assumes
    assert points["one-false-box"].achieved["fp_per_image"] <= 1


def test_scores_that_fall_with_the_truth_stay_as_they_are() -> None:
    (validation, said), (folds, covid) = _films(100, 0), _films(40, 1)
    turned = [Answer(a.boxes, 1 - a.scores, a.image | {"opacity": 1 - a.opacity}) for a in said]
    other = [Answer(a.boxes, 1 - a.scores, a.image) for a in covid]
    maps = calibration(Held(validation, [], [], [folds]), turned, other)
    assert set(maps.scores) == {"normal", "not-normal"}
    assert calibrated(turned, maps)[0].opacity == turned[0].opacity


def test_a_network_that_finds_nothing_has_points_that_say_so() -> None:
    (validation, said), (folds, covid) = _films(100, 0), _films(40, 1)
    none = np.zeros((0, 4), np.float32)
    blind = [Answer(none, none[:, 0], a.image) for a in said]
    points = operating_points(
        Held(validation, [], [], [folds]), blind, [Answer(none, none[:, 0], a.image) for a in covid]
    )
    assert points["default"].reason.startswith("not chosen: an operating point of boxes needs")
    assert points["best-f1"].reason.startswith("best")
