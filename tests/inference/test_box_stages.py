"""What each step of a flow of boxes does, in a whole pipeline, swapped by its name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.pictures import radiograph
from helpers.toy import write_classifier, write_text, write_toy
from hilum.core.errors import ConfigError
from hilum.core.findings import Findings
from hilum.core.prediction import Boxes, sigmoid
from hilum.core.radiograph import Radiograph
from hilum.fuse import filter_second_place, weighted_boxes
from hilum.inference.loaded import load_pipeline
from hilum.inference.stages import STAGES, StageSpec, make

BOXES = ((30.0, 40.0, 62.0, 80.0), (80.0, 40.0, 110.0, 90.0))
NEAR = ((32.0, 40.0, 64.0, 80.0), (80.0, 42.0, 110.0, 92.0))
SQUARE = Radiograph(np.random.default_rng(0).random((128, 128), np.float32))


def found(
    folder: Path,
    steps: str,
    *,
    a: tuple[float, ...] = (2.0, 1.0),
    image: Radiograph = SQUARE,
    cls: float | None = None,
    **b: Any,
) -> Findings:
    """What a pipeline of detectors a and b says with these steps."""
    write_toy(folder / "a.zip", boxes=BOXES, logits=a)
    write_toy(folder / "b.zip", **({"boxes": BOXES, "logits": (0.5, 3.0)} | b))
    models = "a: {bundle: a.zip}, b: {bundle: b.zip}"
    scores = "[{use: mean-scores, of: [a, b]}]"
    if cls is not None:
        write_classifier(folder / "cls.zip", cls)
        models, scores = f"{models}, cls: {{bundle: cls.zip}}", "[{use: scores, of: cls}]"
    text = (
        f"models: {{{models}}}\nboxes: {steps}\nscores: {scores}\n"
        "masks: {lungs: [{use: mean-maps, of: [a, b]}, threshold]}\n"
        "thresholds: {boxes: 0.01}\n"
    )
    return load_pipeline(write_text(folder / "p.yaml", text))(image)


FUSIONS = ["nms", "soft-nms", "nmw", "union", "vote", "weighted-boxes"]


@pytest.mark.parametrize("use", FUSIONS)
def test_every_fusion_keeps_boxes_on_which_models_agree(tmp_path: Path, use: str) -> None:
    boxes = found(tmp_path, f"[{{use: {use}, of: [a, b]}}]")
    assert len(boxes.above(0.5).scores) == 2
    assert (np.diff(boxes.scores) <= 0).all()


def test_weights_of_models_move_fused_boxes_and_scores(tmp_path: Path) -> None:
    equal = found(tmp_path, "[{use: weighted-boxes, of: [a, b]}]", boxes=NEAR)
    heavy = found(tmp_path, "[{use: weighted-boxes, of: {a: 1, b: 3}}]", boxes=NEAR)
    p = sigmoid([[2.0, 1.0], [0.5, 3.0]])
    np.testing.assert_allclose(np.sort(equal.scores), np.sort(p.mean(axis=0)), atol=1e-5)
    want = np.average(p, axis=0, weights=[1, 3])
    np.testing.assert_allclose(np.sort(heavy.scores), np.sort(want), atol=1e-5)
    # Corners are means weighted by score times weight.
    share = p[:, 1] * [1, 3]
    y1 = np.average([40, 42], weights=share)
    best = heavy.boxes_px[np.argmax(heavy.boxes_px[:, 0])]
    assert best[1] == pytest.approx(y1, abs=0.05)


@pytest.mark.parametrize("mode", ["avg", "max", "box_and_model_avg", "absent_model_aware_avg"])
@pytest.mark.parametrize("overflow", [False, True])
def test_weighted_boxes_has_all_modes(tmp_path: Path, mode: str, overflow: bool) -> None:
    one = ((30.0, 40.0, 62.0, 80.0),)
    text = f"[{{use: weighted-boxes, of: {{a: 1, b: 2}}, mode: {mode}, overflow: {overflow}}}]"
    boxes = found(tmp_path, text, boxes=one, logits=(0.5,))
    p = sigmoid([2.0, 1.0, 0.5])
    lists = [list(BOXES), list(one)], [p[:2], p[2:]], [["opacity"] * 2, ["opacity"]]
    want = weighted_boxes(*lists, weights=[1, 2], mode=mode, allow_overflow=overflow)  # type: ignore[arg-type]
    np.testing.assert_allclose(boxes.scores, np.minimum(want[1], 1), atol=1e-5)


def test_a_detector_that_found_nothing_has_a_voice(tmp_path: Path) -> None:
    alone = found(tmp_path, "[{use: weighted-boxes, of: a}]")
    halved = found(tmp_path, "[{use: weighted-boxes, of: [a, b]}]", boxes=(), logits=())
    np.testing.assert_allclose(halved.scores, alone.scores / 2, atol=1e-6)


def test_a_model_without_boxes_cannot_take_part(tmp_path: Path) -> None:
    # It would count as a detector that found nothing, and halve every score.
    with pytest.raises(ConfigError, match="'cls' has no boxes"):
        found(tmp_path, "[{use: weighted-boxes, of: [a, b, cls]}]", cls=0.5)


def test_a_detector_that_was_not_asked_has_no_voice(tmp_path: Path) -> None:
    write_toy(tmp_path / "a.zip", boxes=BOXES, logits=(2.0, 1.0))
    write_classifier(tmp_path / "cls.zip", 0.3)
    text = (
        "models: {a: {bundle: a.zip}, cls: {bundle: cls.zip},\n"
        "  b: {bundle: a.zip, when: {score: cls, at: best-mcc}}}\n"
        "boxes: [{use: weighted-boxes, of: [a, b]}]\nmasks: {}\nscores: [{use: scores, of: cls}]\n"
        "thresholds: {boxes: 0.01}\n"
    )
    boxes = load_pipeline(write_text(tmp_path / "p.yaml", text))(SQUARE)
    np.testing.assert_allclose(boxes.scores, sigmoid([2.0, 1.0]), atol=1e-6)
    assert boxes.declined == {"b": "not asked: cls 0.300 is below 0.400 (best-mcc)"}


def test_models_are_calibrated_before_they_are_fused(tmp_path: Path) -> None:
    half = {"kind": "logistic", "slope": 1.0, "shift": -2.0}
    boxes = found(
        tmp_path,
        "[{use: weighted-boxes, of: [a, b]}]",
        logits=(2.0, 1.0),
        calibration={"scores": {"box": [half]}},
    )
    raw = np.array([2.0, 1.0])
    np.testing.assert_allclose(boxes.scores, (sigmoid(raw) + sigmoid(raw - 2)) / 2, atol=1e-4)


def test_union_takes_one_confidence_a_model(tmp_path: Path) -> None:
    text = "[{use: union, of: [a, b], confident: {a: 0.8, b: 0.9}}]"
    boxes = found(tmp_path, text, a=(2.0, 1.0), logits=(0.5, 3.0))
    np.testing.assert_allclose(boxes.scores, sigmoid([3.0, 2.0]), atol=1e-6)
    assert len(found(tmp_path, text, a=(1.0, 1.0), logits=(0.5, 2.0)).scores) == 0


def test_suppression_after_fusion_works_on_what_came(tmp_path: Path) -> None:
    wide = ((30.0, 40.0, 62.0, 100.0),)
    steps = "{use: weighted-boxes, of: [a, b], iou: 0.9}"
    before = found(tmp_path, f"[{steps}]", boxes=wide, logits=(3.0,))
    after = found(tmp_path, f"[{steps}, {{use: nms, iou: 0.5}}]", boxes=wide, logits=(3.0,))
    assert (len(before.scores), len(after.scores)) == (3, 2)


def test_a_box_inside_a_stronger_one_is_lowered_by_a_stage_and_by_decoding_alike(
    tmp_path: Path,
) -> None:
    """Both lists of 4 boxes: one lies in another of the same model, whichever way it is asked."""
    inside = {"boxes": ((30.0, 40.0, 62.0, 80.0), (34.0, 50.0, 60.0, 70.0)), "logits": (2.0, 1.0)}
    plain = found(tmp_path, "[{use: boxes, of: b}]", **inside)
    assert len(plain.scores) == 2
    by_stage = found(tmp_path, "[{use: boxes, of: b}, {use: nested, weight: 0.5}]", **inside)
    np.testing.assert_allclose(by_stage.scores, plain.scores * [1, 0.5], rtol=1e-6)
    text = (
        (tmp_path / "p.yaml")
        .read_text()
        .replace("{use: nested, weight: 0.5}", "{use: scale, sides: 1}")
    )
    text = text.replace("b: {bundle: b.zip}", "b: {bundle: b.zip, decoding: {nested_weight: 0.5}}")
    by_decoding = load_pipeline(write_text(tmp_path / "p.yaml", text))(SQUARE)
    np.testing.assert_allclose(by_decoding.scores, by_stage.scores, rtol=1e-6)


def test_sides_are_scaled_about_the_centre(tmp_path: Path) -> None:
    boxes = found(tmp_path, "[{use: weighted-boxes, of: [a, b]}, {use: scale, sides: 0.875}]")
    sides = np.sort(boxes.boxes_px[:, 2:] - boxes.boxes_px[:, :2], axis=0)
    np.testing.assert_allclose(sides, np.sort([[32, 40], [30, 50]], axis=0) * 0.875, atol=0.01)
    centre = (boxes.boxes_px[:, :2] + boxes.boxes_px[:, 2:]) / 2
    np.testing.assert_allclose(np.sort(centre[:, 0]), [46, 95], atol=0.01)


@pytest.mark.parametrize(("cls", "kept"), [(0.1, 0), (0.19, 0), (0.21, 2), (0.9, 2)])
def test_the_classifier_is_a_check_at_a_threshold(tmp_path: Path, cls: float, kept: int) -> None:
    steps = "[{use: union, of: [a, b]}, {use: classifier-check, of: cls, at: 0.2}]"
    assert len(found(tmp_path, steps, cls=cls).scores) == kept


def test_the_classifier_is_a_check_at_its_operating_point(tmp_path: Path) -> None:
    steps = "[{use: union, of: [a, b]}, {use: classifier-check, of: cls, at: best-mcc}]"
    assert len(found(tmp_path, steps, cls=0.41).scores) == 2
    assert len(found(tmp_path, steps, cls=0.39).scores) == 0


def test_boxes_are_multiplied_by_the_image_score(tmp_path: Path) -> None:
    plain = found(tmp_path, "[{use: nms, of: [a, b]}]")
    steps = "[{use: nms, of: [a, b]}, {use: times-image-score, of: cls.normal}]"
    times = found(tmp_path, steps, cls=0.3)
    np.testing.assert_allclose(times.scores, plain.scores * 0.7, rtol=1e-5)


def test_the_second_places_filter_uses_the_image_scores_it_names(tmp_path: Path) -> None:
    logits = (-2.8, -4.0)  # .0573 and .018: the second is under the floor
    own = "{score_floor: 0.001}"
    write_toy(tmp_path / "a.zip", boxes=BOXES, logits=logits)
    write_classifier(tmp_path / "cls.zip", 0.9)
    text = (
        f"models: {{a: {{bundle: a.zip, decoding: {own}}}, cls: {{bundle: cls.zip}}}}\n"
        "boxes: [{use: boxes, of: a}, STAGE]\nmasks: {}\nscores: [{use: scores, of: cls}]\n"
        "thresholds: {boxes: 0.0}\n"
    )
    for stage, kept in (
        ("{use: second-place}", 0),  # .0573 * 5 < .3
        ("{use: second-place, opacity: cls}", 1),  # sqrt(.0573 * .9) * 5 > .3
        ("{use: second-place, opacity: cls, threshold: 1.2}", 0),
    ):
        path = write_text(tmp_path / "p.yaml", text.replace("STAGE", stage))
        boxes = load_pipeline(path)(SQUARE)
        want = filter_second_place(
            BOXES,
            sigmoid(logits),
            p_opacity=0.9 if "opacity" in stage else None,
            threshold=1.2 if "1.2" in stage else 0.3,
        )
        assert len(boxes.scores) == len(want) == kept


@pytest.mark.parametrize(
    ("stage", "kept"),
    [
        ("{use: minimum-score, score: 0.8}", [3.0, 2.0]),
        ("{use: minimum-score, score: 0.9}", [3.0]),
        ("{use: at-most, boxes: 1}", [3.0]),
        ("{use: at-most, boxes: 0}", []),
        ("{use: minimum-area, part: 0.08}", [3.0]),
        ("{use: calibrate, map: {kind: logistic, slope: 1, shift: -1}}", [2.0, 1.0]),
        ("soft-nms", [3.0, 2.0]),
    ],
)
def test_filters_keep_what_they_say(tmp_path: Path, stage: str, kept: list[float]) -> None:
    boxes = found(tmp_path, f"[{{use: nms, of: [a, b]}}, {stage}]")
    np.testing.assert_allclose(boxes.scores, sigmoid(kept), atol=1e-5)


def test_boxes_outside_a_mask_are_dropped(tmp_path: Path) -> None:
    pixels = np.ones((128, 128), np.float32)
    pixels[:, :70] = 0  # the toy's lungs are dark
    image = Radiograph(pixels)
    steps = "[{use: nms, of: [a, b]}, {use: inside-mask, mask: lungs, part: 0.5}]"
    boxes = found(tmp_path, steps, image=image)
    assert boxes.boxes_px.shape == (1, 4)
    assert boxes.boxes_px[0, 2] < 70


def test_every_stage_of_boxes_takes_no_boxes_and_gives_none() -> None:
    """And so does every fusion of the registry, whatever its options."""
    for use in STAGES["boxes"]:
        if use in FUSIONS:
            stage = make("boxes", StageSpec(use=use), "test")
            assert len(stage.fuse([Boxes.none(), Boxes.none()], [1.0, 2.0])) == 0


def _combined(folder: Path, combine: str, *, one: dict[str, Any], two: dict[str, Any]) -> Findings:
    write_toy(folder / "a.zip", **one)
    write_toy(folder / "b.zip", **two)
    text = (
        f"models: {{toy: {{bundles: [a.zip, b.zip], combine: {combine}}}}}\n"
        "thresholds: {boxes: 0.01}\n"
    )
    return load_pipeline(write_text(folder / "p.yaml", text))(radiograph())


def test_raw_outputs_are_averaged_before_suppression(tmp_path: Path) -> None:
    both = _combined(
        tmp_path,
        "mean-outputs",
        one={"boxes": BOXES, "logits": (2.0, 1.0)},
        two={"boxes": BOXES, "logits": (0.5, 3.0)},
    )
    p = sigmoid([[2.0, 1.0], [0.5, 3.0]])
    np.testing.assert_allclose(both.scores, np.sort(p.mean(axis=0))[::-1], atol=1e-5)
    alone = load_pipeline(write_text(tmp_path / "q.yaml", "models: {toy: {bundle: a.zip}}\n"))
    single = alone(radiograph())
    np.testing.assert_allclose(
        np.sort(both.boxes_px, axis=0), np.sort(single.boxes_px, axis=0), atol=1e-2
    )
    np.testing.assert_array_equal(both.masks["lungs"], single.masks["lungs"])


def test_boxes_on_which_folds_disagree_shrink(tmp_path: Path) -> None:
    wide, narrow = ((30.0, 40.0, 70.0, 80.0),), ((32.0, 40.0, 68.0, 80.0),)
    answer = {"one": {"boxes": wide}, "two": {"boxes": narrow}}
    mean = _combined(tmp_path, "mean-outputs", **answer)
    small = _combined(tmp_path, "{use: mean-outputs, shrink: 1.6}", **answer)
    widths = [np.diff(one.boxes_px[0, [0, 2]])[0] for one in (mean, small)]
    scale = 160 / 128
    logs = np.log([40.0, 36.0])
    p20, p80 = np.percentile(logs, [20, 80])
    np.testing.assert_allclose(
        widths, np.exp([logs.mean(), p20 + 1.6 * (p20 - p80)]) * scale, rtol=1e-3
    )


def test_scores_of_findings_survive_the_mean_of_outputs(tmp_path: Path) -> None:
    """Multi-label scores are means of probabilities; they were lost once."""
    many = {
        "outputs": {"finding_logits": "finding_logits"},
        "findings": ["effusion", "mass"],
        "image_scores": {"effusion": "effusion", "mass": "mass"},
    }
    both = _combined(
        tmp_path,
        "mean-outputs",
        one=many | {"finding_logits": (0.0, 3.0)},
        two=many | {"finding_logits": (2.0, -3.0)},
    )
    p = sigmoid([[0.0, 3.0], [2.0, -3.0]]).mean(axis=0)
    assert both.image_scores["effusion"] == pytest.approx(p[0], abs=1e-5)
    assert both.image_scores["mass"] == pytest.approx(p[1], abs=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"masks": {"opacity": {"channel": 1}, "lungs": {"channel": 0}}}, "differ in masks"),
        ({"preprocessing": {"size": 128, "mean": 0.4}}, "differ in preprocessing"),
    ],
)
def test_raw_outputs_of_different_networks_are_not_averaged(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        _combined(tmp_path, "mean-outputs", one={}, two=change)


@pytest.mark.parametrize("combine", ["mean-maps", "mean-scores"])
def test_boxes_are_not_lost_in_a_mean_of_something_else(tmp_path: Path, combine: str) -> None:
    with pytest.raises(ConfigError, match="has boxes, which would be lost"):
        _combined(tmp_path, combine, one={}, two={})


def test_classifiers_are_averaged_and_must_have_the_same_classes(tmp_path: Path) -> None:
    write_classifier(tmp_path / "a.zip", 0.2)
    write_classifier(tmp_path / "b.zip", 0.6)
    text = (
        "models: {cls: {bundles: [a.zip, b.zip], combine: mean-scores}}\n"
        "boxes: []\nmasks: {}\nscores: [{use: scores, of: cls}]\n"
    )
    loaded = load_pipeline(write_text(tmp_path / "p.yaml", text))
    assert loaded(radiograph()).image_scores["opacity"] == pytest.approx(0.4)
    write_classifier(tmp_path / "b.zip", 0.6, image_scores={"opacity": "opacity"})
    with pytest.raises(ConfigError, match="differ in image scores"):
        load_pipeline(tmp_path / "p.yaml")
