"""Findings, predictions and results: values that say their frame, and come back as they were."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hilum.core.errors import DataError, GeometryError
from hilum.core.findings import Bool, Findings, LateMasks, StudyResult, finding_ids
from hilum.core.geometry import Letterbox
from hilum.core.manifest import OperatingPoint
from hilum.core.prediction import Boxes, Prediction, ProbabilityMap, logit, sigmoid, without_specks
from hilum.core.radiograph import Identifiers
from hilum.core.results import (
    ImageResult,
    PipelineInfo,
    RunResult,
    conflicting,
    group_studies,
    load_results,
    masks_of,
    read_mask,
)

few = settings(max_examples=25, deadline=None)
BOXES = [[10.0, 20.0, 30.0, 60.0], [12.0, 20.0, 31.0, 58.0], [70.0, 5.0, 90.0, 25.0]]


def findings(**changes: Any) -> Findings:
    own = Boxes.of(BOXES, [0.9, 0.5, 0.2], ["opacity", "opacity", "effusion"])
    return replace(
        Findings(
            width=100,
            height=80,
            boxes_px=own.boxes_px,
            scores=own.scores,
            labels=own.labels,
            image_scores={"opacity": 0.93},
        ),
        **changes,
    )


# --- findings ---


def test_a_threshold_hides_boxes_and_nothing_else() -> None:
    whole = findings()
    for threshold, left in ((0.0, 3), (0.2, 3), (0.5, 2), (0.51, 1), (1.0, 0)):
        shown = whole.above(threshold)
        assert len(shown.scores) == len(shown.labels) == len(shown.boxes_px) == left
        assert shown.labels == whole.labels[:left]
        assert (shown.width, shown.height, shown.image_scores) == (100, 80, whole.image_scores)


def test_each_finding_shows_the_mask_inside_its_box() -> None:
    mask = np.zeros((80, 100), bool)
    mask[30:50, 15:20] = True
    rows = list(findings(masks={"opacity": mask}))
    assert [one.label for one in rows] == ["opacity", "opacity", "effusion"]
    inside = rows[0].mask
    assert inside is not None
    assert inside.shape == (40, 20)  # of the box
    assert inside.sum() == mask.sum()
    assert rows[2].mask is None  # no mask of that name
    assert rows[0].box_px == (10.0, 20.0, 30.0, 60.0)


@pytest.mark.parametrize(
    "changes",
    [
        {"scores": np.array([0.9, 0.5], np.float32)},
        {"labels": ("opacity",)},
        {"scores": np.array([0.9, 0.5, 1.5], np.float32)},
        {"scores": np.array([0.9, 0.5, np.nan], np.float32)},
        {"boxes_px": np.array([[5, 5, 1, 9]] * 3, np.float32)},
        {"masks": {"opacity": np.zeros((100, 80), bool)}},  # turned
    ],
)
def test_findings_that_do_not_fit_together_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(GeometryError):
        findings(**changes)


def test_names_of_findings_follow_from_label_and_place_alone() -> None:
    names = findings().ids
    assert len(set(names)) == 3
    turned = finding_ids(["effusion", "opacity"], np.array([BOXES[2], BOXES[0]]))
    assert turned == (names[2], names[0])  # whatever their order and scores
    assert finding_ids(["consolidation"], np.array(BOXES[:1])) != names[:1]
    twins = finding_ids(["opacity"] * 3, np.array([BOXES[0]] * 3))
    assert twins == (names[0], f"{names[0]}-2", f"{names[0]}-3")
    near = np.array([[10.001, 20.001, 30.001, 60.001]])
    assert finding_ids(["opacity"], near) == names[:1]  # findings.json rounds to hundredths


# --- predictions ---


@few
@given(st.integers(0, 2**32 - 1))
def test_logit_and_sigmoid_are_inverse(seed: int) -> None:
    values = np.random.default_rng(seed).uniform(-15, 15, 50).astype(np.float32)
    chances = sigmoid(values)
    assert (np.diff(chances[np.argsort(values)]) >= 0).all()
    for value, chance in zip(values, chances, strict=True):
        assert 0 < chance <= 1
        if abs(value) < 8:
            assert logit(float(chance)) == pytest.approx(value, abs=2e-3)
    assert sigmoid(np.zeros(1, np.float32))[0] == 0.5


@few
@given(st.integers(0, 2**32 - 1))
def test_boxes_of_a_mirrored_image_return(seed: int) -> None:
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 60, (5, 2))
    boxes = np.c_[corner, corner + rng.uniform(2, 20, (5, 2))]
    own = Boxes.of(boxes, np.sort(rng.random(5))[::-1], ["opacity"] * 5)
    flip = [[-1.0, 0, 100], [0, 1, 0], [0, 0, 1]]
    once = own.moved(flip, 100, 100)
    np.testing.assert_allclose(once.boxes_px[:, 0], 100 - own.boxes_px[:, 2], atol=1e-4)
    np.testing.assert_allclose(once.moved(flip, 100, 100).boxes_px, own.boxes_px, atol=1e-4)
    np.testing.assert_array_equal(once.scores, own.scores)


def test_boxes_that_leave_the_image_are_dropped_with_their_scores() -> None:
    own = Boxes.of(BOXES, [0.9, 0.5, 0.2], "abc")
    left = own.moved([[1, 0, -50], [0, 1, 0], [0, 0, 1]], 100, 80)
    assert left.labels == ("c",)
    assert left.boxes_px.tolist() == [[20, 5, 40, 25]]
    assert len(Boxes.none()) == 0
    assert own.at(np.array([2, 0])).labels == ("c", "a")
    assert own.at(own.scores > 0.4).labels == ("a", "b")


def test_a_prediction_through_a_mirror_twice_is_itself() -> None:
    rng = np.random.default_rng(0)
    own = Prediction(
        width=90,
        height=60,
        boxes=Boxes.of([[5, 6, 30, 40]], [0.5], ["opacity"]),
        image_scores={"opacity": 0.4},
        maps={
            "opacity": ProbabilityMap.of(
                rng.normal(0, 2, (16, 16)).astype("f4"), Letterbox(90, 60, 64)
            )
        },
    )
    flip = [[-1.0, 0, 90], [0, 1, 0], [0, 0, 1]]
    once = own.seen_through(flip, 90, 60)
    # What lies at x in the mirrored one lay at 90 - x.
    np.testing.assert_allclose(
        once.maps["opacity"].at_source(), own.maps["opacity"].at_source()[:, ::-1], atol=1e-4
    )
    twice = once.seen_through(flip, 90, 60)
    assert own.boxes is not None
    assert twice.boxes is not None
    np.testing.assert_allclose(twice.boxes.boxes_px, own.boxes.boxes_px, atol=1e-4)
    np.testing.assert_allclose(
        twice.maps["opacity"].at_source(), own.maps["opacity"].at_source(), atol=1e-4
    )
    assert twice.image_scores == own.image_scores
    nobody = replace(own, boxes=None).seen_through(flip, 90, 60)
    assert nobody.boxes is None  # still no detector, not one that found nothing


def test_a_map_on_its_own_grid_is_itself_and_on_anothers_agrees_in_the_middle() -> None:
    ramp = np.tile(np.linspace(-4, 4, 16, dtype=np.float32), (16, 1))
    box = Letterbox(64, 64, 64)
    own, coarse = ProbabilityMap.of(ramp, box), ProbabilityMap.of(ramp[:8, :8], box)
    np.testing.assert_allclose(own.probabilities_on(own), own.probabilities)
    on = own.probabilities_on(coarse)
    assert on.shape == (8, 8)
    pairs = own.probabilities.reshape(8, 2, 8, 2).mean(axis=(1, 3))
    np.testing.assert_allclose(on[1:-1, 1:-1], pairs[1:-1, 1:-1], atol=0.02)


def test_specks_beside_a_lung_are_dropped_and_a_second_lung_is_not() -> None:
    logits = np.full((20, 20), -3, np.float32)
    logits[2:10, 2:8] = logits[2:10, 12:17] = 3  # 48 and 40 cells
    logits[15, 15] = 3
    left = without_specks(logits, 0.0, 0.1)
    assert left[15, 15] < 0
    np.testing.assert_array_equal(np.delete(left, 15, 0), np.delete(logits, 15, 0))
    assert (without_specks(logits, 0.0, 0.9)[2:10, 12:17] < 0).all()
    third = without_specks(logits, 0.0, 0.3)  # of the larger lung, not of the air around
    np.testing.assert_array_equal(third >= 0, left >= 0)
    np.testing.assert_array_equal(without_specks(logits, 0.0, 0.0), logits)
    alone = np.full((5, 5), -3, np.float32)
    alone[2, 2] = 3
    np.testing.assert_array_equal(without_specks(alone, 0.0, 1.0), alone)


# --- results ---


def image(name: str = "a.dcm", study: str | None = "1.2", **changes: Any) -> ImageResult:
    own = ImageResult(
        name=name,
        status="analysed",
        findings=findings(declined={"segmenter": "not asked: below"}),
        ids=Identifiers(
            patient_id="secret",
            study_instance_uid=study,
            series_instance_uid="1.3",
            sop_instance_uid="1.4",
        ),
        width=100,
        height=80,
        content_sha256="0" * 64,
        warnings=("reading: odd",),
        outlines={"opacity": "M1 2z"},
        files={"sr": "sr/a.dcm"},
    )
    return replace(own, **changes)


INFO = PipelineInfo(
    name="default",
    version="2",
    bundles=(("opacity", "f" * 64),),
    operating_points={"default": OperatingPoint(threshold=0.25, reason="best F1", score="box")},
    calibrated_on="validation",
    fingerprint="a" * 64,
)


def test_results_come_back_from_json_as_they_were(tmp_path: Path) -> None:
    refused = ImageResult("b.txt", "refused", "not-dicom: text. Give images.")
    study = StudyResult("1.2", {"opacity": 0.93}, (0,))
    run = RunResult(INFO, (image(), refused), (study,))
    (tmp_path / "findings.json").write_text(json.dumps(run.to_json()))
    again = load_results(tmp_path)
    assert again.to_json() == run.to_json()
    assert again.pipeline == INFO
    assert again.studies == (study,)
    assert len(again) == 2
    assert [one.status for one in again] == ["analysed", "refused"]
    assert again[1].findings is None
    assert again.counts == {"analysed": 1, "refused": 1, "failed": 0, "warned": 1}


def test_a_result_file_knows_no_patient_and_a_record_does() -> None:
    assert "secret" not in json.dumps(image().to_json())
    assert ImageResult.from_json(image().to_record()).ids == image().ids
    assert ImageResult.from_json(image().to_json()).ids.patient_id is None


@pytest.mark.parametrize(
    "damage",
    [
        {"schema": "hilum.findings/9"},
        {"images": [{"path": "a"}]},
        {"images": [{**image().to_json(), "status": "normal"}]},
        {"images": [{**image().to_json(), "masks": {"opacity": 3}}]},
        {"images": [{**image().to_json(), "width": None}]},
        {"pipeline": {}},
        {"studies": [1]},
        {"images": 5},
    ],
    ids=lambda damage: next(iter(damage)),
)
def test_damaged_results_are_one_typed_error(tmp_path: Path, damage: dict[str, Any]) -> None:
    content = RunResult(INFO, (image(),), ()).to_json() | damage
    (tmp_path / "findings.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"findings\.json"):
        load_results(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{", '"a"', "null", "[" * 100_000])
def test_what_is_no_result_is_one_typed_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "findings.json").write_text(text)
    with pytest.raises(DataError):
        load_results(tmp_path)
    with pytest.raises(DataError, match="hilum predict"):
        load_results(tmp_path / "elsewhere")


def test_studies_group_analysed_images_in_order_of_appearance() -> None:
    images = [
        image("a", "1.2"),
        image("b", "1.9"),
        ImageResult("c", "refused"),
        image("d", "1.2"),
        image("e", None),
        image("f", None),
    ]
    assert group_studies(images) == [("1.2", (0, 3)), ("1.9", (1,)), (None, (4,)), (None, (5,))]


def test_a_light_result_keeps_all_but_pixels_of_masks() -> None:
    heavy = image(findings=findings(masks={"opacity": np.ones((80, 100), bool)}))
    assert heavy.light().to_json() == heavy.to_json()
    assert heavy.light().findings is not None
    assert not heavy.light().findings.masks  # type: ignore[union-attr]
    plain = image()
    assert plain.light() is plain


def test_masks_are_read_from_inside_the_folder_alone(tmp_path: Path) -> None:
    import cv2

    mask = np.zeros((80, 100), np.uint8)
    mask[3:9, 5:50] = 255
    root = tmp_path / "run"
    root.mkdir()
    cv2.imwrite(str(root / "m.png"), mask)
    cv2.imwrite(str(tmp_path / "outside.png"), mask)
    np.testing.assert_array_equal(read_mask(root, "m.png"), mask > 0)
    own = image(findings=None, masks={"opacity": "m.png"})
    np.testing.assert_array_equal(masks_of(own, root)["opacity"], mask > 0)
    (root / "broken.png").write_bytes(b"\x89PNG no")
    for file in ("../outside.png", str(tmp_path / "outside.png"), "none.png", "broken.png"):
        with pytest.raises(DataError):
            read_mask(root, file)
    with pytest.raises(DataError, match="needed: those of its image"):
        masks_of(replace(own, width=80, height=100), root)
    drawn = {"opacity": mask > 0}
    assert masks_of(image(findings=findings(masks=drawn)), root / "nowhere").keys() == drawn.keys()


def test_late_masks_are_made_once_and_only_when_looked_at() -> None:
    made: list[str] = []

    def maker(name: str) -> Bool:
        made.append(name)
        return np.eye(4, dtype=np.bool_)

    masks = LateMasks({name: partial(maker, name) for name in ("lungs", "opacity")}, 4, 4)
    findings = Findings(4, 4, np.zeros((0, 4), np.float32), np.zeros(0, np.float32), (), {}, masks)
    assert list(findings.masks) == ["lungs", "opacity"]
    assert "opacity" in findings.masks
    assert made == []
    assert findings.masks["opacity"] is findings.masks["opacity"]
    assert made == ["opacity"]
    away = copy.deepcopy(findings)  # as on the way to another process: with all pixels
    assert type(away.masks) is dict
    assert made == ["opacity", "lungs"]
    np.testing.assert_array_equal(away.masks["lungs"], np.eye(4))


def test_a_late_mask_of_another_size_is_refused_when_it_is_made() -> None:
    masks = LateMasks({"lungs": lambda: np.zeros((4, 5), np.bool_)}, 4, 4)
    with pytest.raises(GeometryError, match=r"lungs.*\(4, 5\); needed: the image, \(4, 4\)"):
        masks["lungs"]


def test_identifiers_that_cannot_all_be_true_are_told() -> None:
    def of(sop: str | None, content: str, patient: str | None, study: str | None) -> ImageResult:
        ids = Identifiers(patient, study, None, sop)
        return ImageResult("x", "analysed", ids=ids, content_sha256=content)

    images = [of("1", "a", "p", "s"), of("1", "b", "p", "s"), of("2", "c", "p", "s")]
    images += [of("3", "d", "q", "t"), of("3", "d", "q", "t"), of(None, "e", None, "t")]
    images += [of("4", "f", "p", "u"), of("5", "g", "q", "u"), of(None, "h", "r", None)]
    told = [" ".join(one.warnings) for one in conflicting(images)]
    assert ["SOPInstanceUID" in text for text in told] == [True] * 2 + [False] * 7
    assert ["several patients" in text for text in told] == [False] * 6 + [True] * 2 + [False]
