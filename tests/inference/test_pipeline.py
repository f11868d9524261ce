"""A pipeline is what its file says, or an error that helps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import hilum
from helpers.pictures import radiograph
from helpers.toy import write_toy, write_toy_pipeline
from hilum.core.errors import BundleError, ConfigError, NotChestRadiographRefused
from hilum.core.findings import Findings
from hilum.core.radiograph import Identifiers, Radiograph
from hilum.core.results import ImageResult
from hilum.inference.pipeline import Analyser, Pipeline
from hilum.inference.stages import STAGES, StageSpec, make

BOXES = ((30.0, 40.0, 62.0, 80.0), (80.0, 40.0, 110.0, 90.0))


def test_the_default_pipeline_is_valid() -> None:
    pipeline = Pipeline.load()
    assert pipeline.name == "default"
    assert pipeline == Pipeline.load("default")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("treshold: 1\n", "unknown key 'treshold'. Did you mean 'thresholds'"),
        ("thresholds: {box: 0.5}\n", "Did you mean 'boxes'"),
        ("fusion: {use: weighted-boxs}\n", "Did you mean 'weighted-boxes'"),
        ("fusion: {use: weighted-boxes, iuo: 0.5}\n", "Did you mean 'iou'"),
        ("filters: [{use: minimum-score, score: 7}]\n", "less than or equal to 1"),
        ("study: {use: scores, how: mean}\n", "least"),
        ("version: [1]\n", "version"),
        ("thresholds: {boxes: 7}\n", "less than or equal to 1"),
        ("filters: []\nfilters: []\n", "'filters' stands there twice"),
    ],
)
def test_a_wrong_key_names_the_nearest(tmp_path: Path, text: str, message: str) -> None:
    path = write_toy_pipeline(tmp_path, text)
    with pytest.raises(ConfigError, match=message) as caught:
        Pipeline.load(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("text", ["", "- a", "a: [", "!!python/object/apply:os.system [ls]", "\0"])
def test_what_is_not_a_pipeline_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError):
        Pipeline.load(path)


def test_an_unknown_pipeline_lists_the_known() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'default'"):
        Pipeline.load("defualt")


def test_an_unknown_operating_point_is_named(tmp_path: Path) -> None:
    path = write_toy_pipeline(tmp_path, "thresholds: {boxes: defautl}\n")
    with pytest.raises(ConfigError, match="Did you mean 'default'"):
        Analyser(Pipeline.load(path))


def test_boxes_below_the_operating_point_are_not_shown(tmp_path: Path) -> None:
    path = write_toy_pipeline(tmp_path, boxes=BOXES, logits=(2.0, -2.0))
    assert len(Analyser(Pipeline.load(path))(radiograph()).scores) == 1
    low = Pipeline.load(path).changed(threshold=0.06)
    assert len(Analyser(low)(radiograph()).scores) == 2


def test_a_missing_bundle_is_a_bundle_error(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text("name: p\nbundles: [{bundle: absent.zip}]\n")
    with pytest.raises(BundleError, match=r"absent\.zip"):
        Analyser(Pipeline.load(path))


def test_two_equal_bundles_fuse_to_the_same_boxes(tmp_path: Path) -> None:
    write_toy(tmp_path / "a.zip")
    write_toy(tmp_path / "b.zip", logits=(1.0,))
    text = (
        "name: p\nbundles: [{bundle: a.zip, weight: 3}, {bundle: b.zip}]\nfusion: weighted-boxes\n"
    )
    (tmp_path / "p.yaml").write_text(text)
    (tmp_path / "single.yaml").write_text("name: p\nbundles: [{bundle: a.zip}]\n")
    fused = Analyser(Pipeline.load(tmp_path / "p.yaml"))(radiograph())
    alone = Analyser(Pipeline.load(tmp_path / "single.yaml"))(radiograph())
    np.testing.assert_allclose(fused.boxes_px, alone.boxes_px, atol=1e-3)
    assert fused.image_scores == pytest.approx(alone.image_scores)
    np.testing.assert_array_equal(fused.masks["lungs"], alone.masks["lungs"])


def test_the_fingerprint_follows_content_not_places(tmp_path: Path) -> None:
    paths = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        paths.append(write_toy_pipeline(tmp_path / name))
    a, b = (Pipeline.load(path) for path in paths)
    first = a.fingerprint(a.load_bundles(), masks=True)
    assert first == b.fingerprint(b.load_bundles(), masks=True)
    assert first != a.fingerprint(a.load_bundles(), masks=False)
    changed = a.changed(threshold=0.5)
    assert first != changed.fingerprint(a.load_bundles(), masks=True)


def test_a_blank_or_tiny_picture_is_refused() -> None:
    gates = [make("gate", StageSpec(use=use), "test") for use in ("not-blank", "minimum-size")]
    with pytest.raises(NotChestRadiographRefused, match="blank"):
        gates[0](Radiograph(np.full((100, 100), 0.5, np.float32)))
    with pytest.raises(NotChestRadiographRefused, match="20 x 100"):
        gates[1](Radiograph(np.zeros((100, 20), np.float32)))
    for gate in gates:
        gate(radiograph())


def findings(**scores: float) -> Findings:
    boxes = np.array([[10, 10, 50, 50], [60, 60, 64, 64]], np.float32)
    lungs = np.zeros((100, 100), bool)
    lungs[:55] = True
    return Findings(
        100,
        100,
        boxes,
        np.array([0.8, 0.4], np.float32),
        ("opacity",) * 2,
        scores,
        {"lungs": lungs},
    )


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ({"use": "minimum-score", "score": 0.5}, 1),
        ({"use": "minimum-area", "part": 0.01}, 1),
        ({"use": "at-most", "boxes": 1}, 1),
        ({"use": "at-most", "boxes": 0}, 0),
        ({"use": "inside-mask"}, 1),
        ({"use": "times-image-score"}, 2),
    ],
)
def test_filters_keep_what_they_say(options: dict[str, object], kept: int) -> None:
    stage = make("filter", StageSpec.model_validate(options), "test")
    assert len(stage(findings(opacity=0.5)).boxes_px) == kept


def test_every_registered_stage_exists() -> None:
    needed = {
        "minimum-score": {"score": 0.5},
        "minimum-area": {"part": 0.1},
        "at-most": {"boxes": 3},
    }
    for kind, names in STAGES.items():
        for name in names:
            stage = make(kind, StageSpec(use=name, options=needed.get(name, {})), "test")
            assert callable(getattr(stage, "average", stage))


def test_a_study_is_as_normal_as_its_least_normal_image(tmp_path: Path) -> None:
    ids = Identifiers(study_instance_uid="1.2")
    images = [
        ImageResult("a", "analysed", findings=findings(opacity=0.1, normal=0.9), ids=ids),
        ImageResult("b", "refused", "x", ids=ids),
        ImageResult("c", "analysed", findings=findings(opacity=0.7, normal=0.2), ids=ids),
        ImageResult("d", "analysed", findings=findings(opacity=0.3, normal=0.6)),
    ]
    first, alone = Pipeline.load(write_toy_pipeline(tmp_path)).combine(images, [])
    assert first.images == (0, 2)
    assert first.scores == pytest.approx({"opacity": 0.7, "normal": 0.2})
    assert (alone.study_instance_uid, alone.images) == (None, (3,))


def _ensemble(folder: Path, fusion: str, **second: object) -> Findings:
    write_toy(folder / "a.zip", boxes=BOXES, logits=(2.0, 1.0))
    write_toy(folder / "b.zip", **({"boxes": BOXES, "logits": (0.5, 3.0)} | second))
    (folder / "p.yaml").write_text(
        f"name: p\nbundles: [{{bundle: a.zip}}, {{bundle: b.zip}}]\nfusion: {fusion}\n"
        "thresholds: {boxes: 0.01}\n"
    )
    return Analyser(Pipeline.load(folder / "p.yaml"))(radiograph())


def test_raw_outputs_are_averaged_before_suppression(tmp_path: Path) -> None:
    found = _ensemble(tmp_path, "mean-outputs")
    p = 1 / (1 + np.exp(-np.array([[2.0, 1.0], [0.5, 3.0]])))
    np.testing.assert_allclose(found.scores, np.sort(p.mean(axis=0))[::-1], atol=1e-5)
    single = Pipeline.load(write_toy_pipeline(tmp_path, boxes=BOXES, logits=(2.0, 1.0)))
    alone = Analyser(single.changed(threshold=0.01))(radiograph())
    np.testing.assert_allclose(
        np.sort(found.boxes_px, axis=0), np.sort(alone.boxes_px, axis=0), atol=1e-2
    )
    np.testing.assert_array_equal(found.masks["lungs"], alone.masks["lungs"])


def test_raw_outputs_of_different_networks_are_not_averaged(tmp_path: Path) -> None:
    masks = {"opacity": {"channel": 1}, "lungs": {"channel": 0}}
    with pytest.raises(ConfigError, match="differ in masks"):
        _ensemble(tmp_path, "mean-outputs", masks=masks)


@pytest.mark.parametrize("use", ["nms", "soft-nms", "nmw", "union", "vote", "weighted-boxes"])
def test_every_fusion_keeps_boxes_on_which_bundles_agree(tmp_path: Path, use: str) -> None:
    found = _ensemble(tmp_path, f"{{use: {use}}}")
    strong = found.above(0.5)
    assert len(strong.scores) == 2
    assert (np.diff(found.scores) <= 0).all()


def test_bundles_are_calibrated_before_they_are_fused(tmp_path: Path) -> None:
    half = {"kind": "logistic", "slope": 1.0, "shift": -2.0}
    found = _ensemble(
        tmp_path, "weighted-boxes", logits=(2.0, 1.0), calibration={"scores": {"box": [half]}}
    )
    raw = np.array([2.0, 1.0])
    want = (1 / (1 + np.exp(-raw)) + 1 / (1 + np.exp(-(raw - 2)))) / 2
    np.testing.assert_allclose(found.scores, want, atol=1e-4)


def test_operating_points_and_calibration_stand_beside_the_scores(tmp_path: Path) -> None:
    points = {
        "default": {"threshold": 0.3, "reason": "best F1", "chosen_on": "validation"},
        "sure": {"threshold": 0.9, "reason": "r", "chosen_on": "c", "score": "opacity"},
    }
    maps = {
        "opacity": [{"kind": "temperature", "temperature": 2.0}],
        "study:opacity": [{"kind": "isotonic", "scores": [0, 1], "probabilities": [0, 0.5]}],
    }
    path = write_toy_pipeline(
        tmp_path,
        "thresholds: {boxes: default, images: [sure]}\n",
        operating_points=points,
        calibration={"scores": maps, "fitted_on": "a test"},
    )
    (image,) = run = hilum.predict(radiograph(), pipeline=path)
    p = np.exp(2) / (1 + np.e + np.exp(2))
    want = 1 / (1 + np.sqrt((1 - p) / p))
    assert image.findings.image_scores["opacity"] == pytest.approx(want, abs=1e-5)
    assert run.studies[0].scores["opacity"] == pytest.approx(want / 2, abs=1e-5)
    head = run.to_json()["pipeline"]
    assert head["calibrated_on"] == "a test"
    assert list(head["operating_points"]) == ["default", "sure"]
    assert head["operating_points"]["sure"]["threshold"] == 0.9
    swapped = write_toy_pipeline(tmp_path, "thresholds: {boxes: sure}\n", operating_points=points)
    with pytest.raises(ConfigError, match="'opacity'"):
        Analyser(Pipeline.load(swapped))
