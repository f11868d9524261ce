"""A manifest that contradicts itself is refused, whichever of its parts is the odd one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from helpers.toy import toy_files, toy_manifest
from hilum.core.calibration import Logistic, Temperature
from hilum.core.manifest import Calibration, Decoding, Manifest, OperatingPoint


def manifest(**changes: Any) -> Manifest:
    files = dict.fromkeys(toy_files(b""), "0" * 64)
    return Manifest.model_validate({"files": files} | toy_manifest(**changes))


GRID = toy_manifest()["anchors"]
POINT = {"threshold": 0.3, "reason": "a test"}
MAP = {"kind": "temperature", "temperature": 2}

CONTRADICTIONS: list[tuple[dict[str, Any], str]] = [
    ({"labels": ["a/b"]}, "labels that no finding or mask can have: 'a/b'"),
    ({"labels": []}, "class logits without box deltas or labels"),
    ({"anchors": None}, "boxes without anchors"),
    ({"image_scores": {"opacity": "shadow"}}, "unknown global classes or findings: shadow"),
    ({"image_scores": {"any": ["opacity", "shadow"]}}, "global classes or findings: shadow"),
    ({"positive": "any"}, "positive score that is no image score: any"),
    ({"proposals": {}}, "proposals without their box coding"),
    ({"decoding": {"image_weights": {"shadow": 1}}}, "weights of unknown global classes"),
    ({"decoding": {"mask_weights": {"shadow": 1}}}, "weights of unknown masks"),
    ({"decoding": {"component_weights": {"lungs": 1}}}, "components of unknown labels: lungs"),
    ({"masks": {"lungs": {"channel": 0, "output": "elsewhere"}}}, "masks of unknown outputs"),
    ({"operating_points": {"a": POINT | {"score": "any"}}}, "unknown scores: any"),
    ({"operating_points": {"a": POINT | {"score": "study:any"}}}, "unknown scores: any"),
    ({"calibration": {"scores": {"any": [MAP]}}}, "calibrations of unknown scores: any"),
    ({"calibration": {"global_bias": [0.1, 0.2]}}, "biases that are not one a global class"),
    ({"calibration": {"class_temperature": 1e-300}}, "greater than or equal to 0.001"),
    ({"calibration": {"scores": {"box": [MAP | {"temperature": 1e-9}]}}}, "greater than or equal"),
    ({"preprocessing": {"size": 4096}, "anchors": {**GRID, "levels": [0, 1]}}, "2,000,000 anchors"),
    ({"anchors": {**GRID, "scales": [1e308]}}, "less than or equal to 1000"),
    ({"preprocessing": {"size": 128, "std": 1e-300}}, "greater than or equal to 0.000001"),
    ({"precisions": {"fp32": "other.onnx"}}, "not listed: other.onnx"),
    ({"precisions": {"fp32": "card.md"}}, "not ONNX: card.md"),
    ({"default_precision": "int8"}, "default precision without a model: int8"),
    ({"name": "Toy One"}, "name"),
    ({"version": ""}, "version"),
    ({"schema": "hilum.bundle/9"}, "schema"),
    ({"files": {"card.md": "0" * 64}}, "LICENSE.md must be among the files"),
    ({"files": {"run.py": "0" * 64}}, "may not be part"),
    ({"files": {"../card.md": "0" * 64}}, "may not be part"),
    ({"files": {"card.md": "abc"}}, "no.*SHA-256|not a SHA-256"),
    ({"preprocessing": {"size": 8}}, "size"),
    ({"preprocessing": {"size": 64, "stretch": [90, 10]}}, "preprocessing"),
    ({"unheard": 1}, "unheard"),
]


@pytest.mark.parametrize(("changes", "message"), CONTRADICTIONS, ids=lambda v: str(v)[:40])
def test_a_contradiction_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        manifest(**changes)


def test_a_manifest_is_what_its_file_says() -> None:
    own = manifest(
        calibration={"scores": {"box": [MAP], "study:opacity": [MAP]}, "study_how": "mean"},
        operating_points={"a": POINT, "b": POINT | {"score": "study:opacity"}},
        image_scores={"opacity": "opacity", "any": ["opacity", "not-normal"]},
        positive="opacity",
    )
    assert Manifest.model_validate(own.to_json()) == own
    assert own.to_json()["schema"] == "hilum.bundle/1"
    assert own.has_boxes
    assert own.positive_score == "opacity"
    two = manifest(image_scores={"opacity": "opacity", "normal": "normal"}, positive=None)
    assert two.positive_score is None
    one = manifest(image_scores={"opacity": "opacity"}, positive=None)
    assert one.positive_score == "opacity"  # the only one


@pytest.mark.parametrize(
    "changes",
    [
        {"nms_iou": 0},
        {"nms_iou": 1.1},
        {"score_floor": 0},
        {"max_boxes": 0},
        {"mask_weights": {"lungs": -1}},
        {"mask_weights": {"lungs": float("nan")}},
        {"component_weights": {"opacity": 11}},
    ],
    ids=str,
)
def test_decoding_out_of_range_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Decoding.model_validate(changes)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=2, max_size=20), st.floats(0.2, 5), st.floats(-3, 3))
def test_maps_of_a_score_follow_one_another_and_keep_the_order(
    scores: list[float], slope: float, shift: float
) -> None:
    first, second = Logistic(slope=slope, shift=shift), Temperature(temperature=2.0)
    both = Calibration(scores={"opacity": (first, second)})
    mapped = both.apply("opacity", scores)
    np.testing.assert_allclose(mapped, second.apply(first.apply(scores)))
    order = np.argsort(scores, kind="stable")
    assert (np.diff(mapped[order]) >= -1e-12).all()
    np.testing.assert_array_equal(both.apply("box", scores), scores)  # no map, no change


def test_a_threshold_says_for_what_and_on_what_it_was_chosen() -> None:
    point = OperatingPoint(threshold=0.256, reason="best F1", chosen_on="site A")
    assert point.words == "0.26 (best F1, chosen on site A)"
    assert OperatingPoint.model_validate(point.to_json()) == point
    for threshold in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValidationError):
            OperatingPoint(threshold=threshold, reason="")
