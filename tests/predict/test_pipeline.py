"""A pipeline is what its file says, or an error that helps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from helpers.pictures import radiograph
from helpers.toy import write_toy, write_toy_pipeline
from hilum.core.errors import BundleError, ConfigError, NotChestRadiographRefused
from hilum.core.findings import Findings
from hilum.core.radiograph import Identifiers, Radiograph
from hilum.core.results import ImageResult
from hilum.predict.pipeline import Analyser, Pipeline
from hilum.predict.stages import STAGES, StageSpec, make

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
            assert callable(make(kind, StageSpec(use=name, options=needed.get(name, {})), "test"))


def test_a_study_is_as_normal_as_its_least_normal_image(tmp_path: Path) -> None:
    ids = Identifiers(study_instance_uid="1.2")
    images = [
        ImageResult("a", "analysed", findings=findings(opacity=0.1, normal=0.9), ids=ids),
        ImageResult("b", "refused", "x", ids=ids),
        ImageResult("c", "analysed", findings=findings(opacity=0.7, normal=0.2), ids=ids),
        ImageResult("d", "analysed", findings=findings(opacity=0.3, normal=0.6)),
    ]
    first, alone = Pipeline.load(write_toy_pipeline(tmp_path)).combine(images)
    assert first.images == (0, 2)
    assert first.scores == pytest.approx({"opacity": 0.7, "normal": 0.2})
    assert (alone.study_instance_uid, alone.images) == (None, (3,))
