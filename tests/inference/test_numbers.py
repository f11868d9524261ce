"""Thresholds and calibration of a pipeline: its own, or of the one model behind a score."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from helpers.toy import toy_files, toy_manifest
from hilum.core.errors import ConfigError
from hilum.core.manifest import Calibration, Manifest
from hilum.core.options import checked
from hilum.inference.numbers import Numbers
from hilum.inference.pipeline import Pipeline
from hilum.inference.stages.base import Facts

POINTS = {
    "default": {"threshold": 0.3, "reason": "best F1"},
    "sensitive": {"threshold": 0.1, "reason": "sensitivity", "score": "opacity"},
}
MAP = {"kind": "temperature", "temperature": 2}


def facts(name: str, **changes: Any) -> Facts:
    files = dict.fromkeys(toy_files(b""), "0" * 64)
    own = toy_manifest(operating_points=POINTS, **changes)
    return Facts(name, Manifest.model_validate(own | {"files": files}))


def numbers(text: str, *models: Facts) -> Numbers:
    """Of a pipeline with these models; `text` is its flows and thresholds."""
    own = yaml.safe_load(text)
    bundles = {one.name: {"bundle": f"{one.name}.zip"} for one in models}
    content = {"schema": "hilum.pipeline/2", "name": "p", "models": bundles} | own
    pipeline = checked(Pipeline, content, "here")
    return Numbers(pipeline, pipeline.flows(), {one.name: one for one in models})


ONE = "boxes: [{use: boxes, of: a}]\nscores: [{use: scores, of: a}]\n"
TWO = "boxes: [{use: weighted-boxes, of: [a, b]}]\nscores: [{use: mean-scores, of: [a, b]}]\n"


def test_a_single_models_points_are_the_pipelines() -> None:
    own = numbers(ONE + "thresholds: {boxes: default, images: [sensitive]}", facts("a"))
    points = own.operating_points()
    assert list(points) == ["default", "sensitive"]  # that of the boxes first
    assert points["default"].threshold == 0.3
    assert points["sensitive"].score == "opacity"


def test_a_number_is_a_point_that_nobody_chose() -> None:
    (point,) = numbers(ONE + "thresholds: {boxes: 0.25}", facts("a")).operating_points().values()
    assert (point.threshold, point.chosen_on) == (0.25, "no data")


def test_without_boxes_no_box_threshold_is_asked_for() -> None:
    text = "scores: [{use: scores, of: a}]\nthresholds: {boxes: nowhere, images: []}"
    assert numbers(text, facts("a")).operating_points() == {}


def test_points_of_one_model_are_not_taken_for_two() -> None:
    two = facts("a"), facts("b")
    with pytest.raises(ConfigError, match="rest on a and b: points of one of them were not chosen"):
        numbers(TWO + "thresholds: {boxes: default}", *two).operating_points()
    named = numbers(TWO + "thresholds: {boxes: b.default, images: [a.sensitive]}", *two)
    assert list(named.operating_points()) == ["b.default", "a.sensitive"]
    own = "operating_points: {default: {threshold: 0.7, reason: ours}}\n"
    chosen = numbers(TWO + own + "thresholds: {boxes: default}", *two)
    assert chosen.operating_points()["default"].threshold == 0.7


def test_the_pipelines_own_point_beats_its_models() -> None:
    own = "operating_points: {default: {threshold: 0.7, reason: ours}}\n"
    points = numbers(ONE + own + "thresholds: {boxes: default}", facts("a")).operating_points()
    assert points["default"].threshold == 0.7


@pytest.mark.parametrize(
    ("thresholds", "message"),
    [
        ("{boxes: sensitive}", "is for the score 'opacity'"),
        ("{boxes: default, images: [default]}", "is for the score 'box'"),
        ("{boxes: defalt}", "Did you mean 'default'"),
        ("{boxes: default, images: [c.sensitive]}", "unknown operating point"),
    ],
)
def test_a_point_of_another_score_is_refused(thresholds: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        numbers(f"{ONE}thresholds: {thresholds}", facts("a")).operating_points()


def calibration(how: str = "max") -> dict[str, Any]:
    return {"scores": {"study:opacity": [MAP]}, "study_how": how, "fitted_on": "site A"}


def test_scores_of_studies_are_calibrated_the_way_they_are_combined() -> None:
    plain = Calibration()
    one = facts("a", calibration=calibration())
    assert numbers(ONE + "study: {use: max}", one).study_maps() == one.manifest.calibration
    assert numbers(ONE + "study: {use: mean}", one).study_maps() == plain  # of another way
    assert numbers(ONE + "study: {use: max}", facts("a")).study_maps() == plain
    two = numbers(TWO + "study: {use: max}", one, facts("b", calibration=calibration()))
    assert two.study_maps() == plain  # nobody fitted it for both
    own = f"calibration: {yaml.safe_dump(calibration('mean'), default_flow_style=True)}"
    with_own = numbers(f"{TWO}study: {{use: mean}}\n{own}", one, facts("b"))
    assert with_own.study_maps().fitted_on == "site A"


def test_a_reader_sees_on_what_scores_were_calibrated() -> None:
    fitted = facts("a", calibration=calibration())
    assert numbers(ONE, fitted).calibrated_on() == "site A"
    assert numbers(ONE, facts("a")).calibrated_on() == ""
    assert numbers(TWO, fitted, facts("b")).calibrated_on() == "a: site A"
    ours = calibration() | {"fitted_on": "B"}
    own = f"calibration: {yaml.safe_dump(ours, default_flow_style=True)}"
    assert numbers(TWO + own, fitted, facts("b")).calibrated_on() == "B"
