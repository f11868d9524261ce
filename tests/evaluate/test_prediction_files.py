"""Prediction files of three forms are one value; classes and studies are what their images say."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hilum.core.errors import ConfigError, DataError
from hilum.core.findings import Findings
from hilum.core.prediction import Boxes, Prediction
from hilum.core.results import ImageResult, PipelineInfo, RunResult
from hilum.data.catalog import build
from hilum.evaluate.answers import match_answers
from hilum.evaluate.cases import cases_of, join
from hilum.evaluate.classes import class_cases, class_numbers
from hilum.evaluate.compare import answered_by_all
from hilum.evaluate.ensemble import fuse_files, prediction
from hilum.evaluate.metrics.classification import confusion_matrix, multiclass
from hilum.evaluate.prediction_files import (
    ImagePredictions,
    PredictionFile,
    model_names,
    number_text,
    read_predictions,
    write_predictions,
)
from hilum.evaluate.studies import evaluate_studies, study_cases, study_classes
from hilum.evaluate.truth import ImageTruth, Size, truths_of
from hilum.report.results import to_csv

few = settings(max_examples=20, deadline=None)


def predictions(
    seed: int, labels: tuple[str, ...] = ("opacity",), **whole: float
) -> ImagePredictions:
    rng = np.random.default_rng(seed)
    count = int(rng.integers(0, 4))
    corner = rng.uniform(0, 60, (count, 2)).round(2)
    return ImagePredictions(
        np.c_[corner, corner + rng.uniform(2, 30, (count, 2)).round(2)],
        np.sort(rng.random(count).round(6))[::-1],
        tuple(rng.choice(labels, count).tolist()),
        whole,
    )


def same(a: ImagePredictions, b: ImagePredictions) -> None:
    np.testing.assert_allclose(a.boxes, b.boxes, atol=1e-5)
    np.testing.assert_allclose(a.scores, b.scores, atol=1e-6)
    assert a.labels == b.labels
    assert dict(a.whole) == pytest.approx(dict(b.whole), abs=1e-6)


# --- files ---


@few
@given(st.integers(0, 2**31))
def test_a_submission_comes_back_as_it_was_written(tmp_path_factory: Any, seed: int) -> None:
    folder = tmp_path_factory.mktemp("files")
    rsna = PredictionFile("rsna", {f"i{k}": predictions(seed + k) for k in range(4)})
    siim = PredictionFile(
        "siim-covid",
        {
            "a_image": predictions(seed, ("opacity", "none"), none=0.25),
            "a_study": ImagePredictions(np.zeros((0, 4)), np.zeros(0), (), {"typical": 0.5}),
        },
    )
    for file in (rsna, siim):
        write_predictions(folder / "s.csv", file)
        again = read_predictions(folder / "s.csv")
        assert again.form == file.form
        assert list(again.images) == list(file.images)
        for name, image in file.images.items():
            same(again.images[name], image)


def test_a_result_folder_is_a_prediction_file(tmp_path: Path) -> None:
    findings = Findings(
        width=100,
        height=80,
        boxes_px=np.array([[1, 2, 30, 40]], np.float32),
        scores=np.array([0.75], np.float32),
        labels=("opacity",),
        image_scores={"opacity": 0.9},
    )
    images = (
        ImageResult("a.dcm", "analysed", findings=findings, width=100, height=80),
        ImageResult("b.dcm", "refused", "no-chest: a hand."),
    )
    run = RunResult(PipelineInfo(name="p", version="1", bundles=()), images, ())
    (tmp_path / "findings.json").write_text(json.dumps(run.to_json()))
    file = read_predictions(tmp_path / "findings.json")
    assert file.form == "findings"
    assert file.images["a.dcm"].size == (100, 80)
    assert file.images["a.dcm"].boxes.tolist() == [[1, 2, 30, 40]]
    assert file.images["b.dcm"].status == "refused"
    write_predictions(tmp_path / "again.json", file)
    same(read_predictions(tmp_path / "again.json").images["a.dcm"], file.images["a.dcm"])
    (tmp_path / "findings.csv").write_text(to_csv(run))
    with pytest.raises(DataError, match=r"needed: its \.json"):
        read_predictions(tmp_path / "findings.csv")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a,b\n1,2\n",
        "patientId,PredictionString\na,0.5 1 2 3\n",
        "patientId,PredictionString\na,1.5 1 2 3 4\n",
        "patientId,PredictionString\na,0.5 1 2 -3 4\n",
        "patientId,PredictionString\na,\na,\n",
        "patientId,PredictionString\na,0.5 1 2 x 4\n",
        "id,PredictionString\na_image,opacity 0.5 5 5 1 1\n",
        "id,PredictionString\na_image,opacity 0.5 5 5\n",
        "id,PredictionString\na_image,opacity nan 0 0 5 5\n",
    ],
)
def test_what_is_no_prediction_is_a_data_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "s.csv").write_text(text)
    with pytest.raises(DataError):
        read_predictions(tmp_path / "s.csv")


@given(st.floats(0, 5000))
@few
def test_a_number_is_short_and_true_to_six_digits(value: float) -> None:
    text = number_text(value)
    assert float(text) == pytest.approx(value, abs=5e-7)
    assert "e" not in text
    assert not text.endswith(".")


# --- fused files ---


def test_an_image_that_one_file_lacks_is_named_with_both_files() -> None:
    one, two = (
        PredictionFile("rsna", {name: predictions(0) for name in names}) for names in ("ab", "b")
    )
    for files in ({"x": one, "y": two}, {"y": two, "x": one}):
        with pytest.raises(DataError, match="1 images of x are not in y, 'a' first"):
            fuse_files(files, lambda _: Prediction(width=0, height=0))


def test_files_of_one_set_by_other_names_are_fused_under_the_first_ones() -> None:
    files = [["a/01.png", "a/02.png"], ["b/1.dcm", "b/2.dcm"], ["02.png", "01.png"]]
    parts = {
        str(n): PredictionFile("rsna", {name: predictions(n) for name in names})
        for n, names in enumerate(files)
    }

    def fuse(members: Any) -> Prediction:
        return next(iter(members.values()))

    fused = fuse_files(parts, fuse)
    assert list(fused.file.images) == files[0]
    assert fused.by_name == 4
    twice = {"0": parts["0"], "1": PredictionFile("rsna", {n: predictions(0) for n in ("1", "01")})}
    with pytest.raises(DataError, match="needed: files of the same images"):
        fuse_files(twice, fuse)


def test_files_are_fused_image_by_image_in_the_first_ones_pixels() -> None:
    box = np.array([[10.0, 20, 30, 40]])

    def file(scale: float, score: float) -> PredictionFile:
        size = (round(100 * scale), round(80 * scale))
        image = ImagePredictions(box * scale, np.array([score]), ("opacity",), {}, {}, size)
        return PredictionFile("findings", {"i": image})

    seen: list[Any] = []

    def fuse(members: Any) -> Prediction:
        seen.append({name: one.boxes.boxes_px.tolist() for name, one in members.items()})
        return next(iter(members.values()))

    fused = fuse_files({"a": file(1, 0.9), "b": file(2, 0.5)}, fuse)
    assert seen == [{"a": box.tolist(), "b": box.tolist()}]
    assert fused.scaled == 1
    assert fused.silent == ()
    assert fused.file.images["i"].size == (100, 80)
    with pytest.raises(ConfigError, match="one form"):
        fuse_files({"a": file(1, 0.9), "b": PredictionFile("rsna", {})}, fuse)
    with pytest.raises(DataError):
        fuse_files({"a": file(1, 0.9), "b": PredictionFile("findings", {})}, fuse)


def test_what_files_to_be_fused_do_not_agree_in_is_told() -> None:
    def file(label: str, size: tuple[int, int] | None, status: str) -> PredictionFile:
        count = int(status == "analysed")
        box, score = np.array([[1.0, 2, 30, 40]] * count), np.full(count, 0.5)
        entry = {"status": status}
        one = ImagePredictions(box.reshape(-1, 4), score, (label,) * count, {}, entry, size)
        return PredictionFile("findings", {"i": one})

    def fuse(members: Any) -> Prediction:
        return next(iter(members.values()))

    a = file("opacity", (100, 100), "analysed")
    same = fuse_files({"a": a, "b": a}, fuse)
    assert (same.unstated, same.partial) == (0, 0)
    other = fuse_files({"a": a, "b": file("opacity", None, "analysed")}, fuse)
    assert (other.unstated, other.partial) == (1, 0)
    assert fuse_files({"a": a, "b": file("opacity", None, "refused")}, fuse).partial == 1
    with pytest.raises(DataError, match="'Opacity'"):
        fuse_files({"a": a, "b": file("Opacity", None, "analysed")}, fuse)


def test_a_classifiers_file_is_silent_about_boxes_and_a_refusal_about_everything() -> None:
    boxes = ImagePredictions(np.array([[1.0, 2, 3, 4]]), np.array([0.5]), ("opacity",))
    none = ImagePredictions(np.zeros((0, 4)), np.zeros(0), (), {"opacity": 0.5})
    refused = ImagePredictions(np.zeros((0, 4)), np.zeros(0), (), {}, {"status": "refused"})
    asked: list[list[str]] = []

    def fuse(members: Any) -> Prediction:
        asked.append([name for name, one in members.items() if one.boxes is not None])
        return Prediction(width=0, height=0, boxes=Boxes.none())

    files = {
        "detector": PredictionFile("findings", {"i": boxes, "j": refused}),
        "classifier": PredictionFile("findings", {"i": none, "j": none}),
    }
    fused = fuse_files(files, fuse)
    assert fused.silent == ("classifier",)
    assert asked == [["detector"], []]
    nobody = {name: PredictionFile("findings", {"i": refused}) for name in "ab"}
    assert fuse_files(nobody, fuse).file.images["i"].status == "refused"
    assert prediction(none, Size.of(5, 6), boxes=False).boxes is None


def test_files_of_one_name_are_told_apart() -> None:
    assert model_names([Path("a/x.csv"), Path("b/x.csv"), Path("y.csv")]) == ("a", "b", "y")
    with pytest.raises(ConfigError, match="names of their own"):
        model_names([Path("a/x.csv"), Path("a/x.csv")])


# --- truth ---


@few
@given(st.integers(20, 400), st.integers(20, 400), st.sampled_from([0.25, 0.5, 2, 3]))
def test_a_copy_is_scaled_and_another_shape_is_none(w: int, h: int, times: float) -> None:
    own = Size.of(w, h)
    copy = (round(w * times), round(h * times))
    scale = own.scale(copy)
    assert scale is not None
    assert np.ravel(scale)[0] == pytest.approx(w / copy[0], rel=0.05)
    assert own.scale((w, h)) is not None
    assert not own.scales((w, h))
    if not 0.8 < w / h < 1.25:
        assert own.scale((h, w)) is None


def test_an_image_has_the_finding_that_it_is_labelled_with_or_has_a_box_of() -> None:
    box = np.array([[1.0, 2, 3, 4]])

    def truth(boxes: Any, **labels: float) -> ImageTruth:
        names = ("opacity",) * (0 if boxes is None else len(boxes))
        return ImageTruth("i", "p", Size.of(9, 9), boxes, names, labels)

    assert truth(box).label("opacity") == 1
    assert truth(box[:0]).label("opacity") == 0
    assert np.isnan(truth(None).label("opacity"))
    assert truth(box, opacity=0.0).label("opacity") == 0  # what is said of the image counts first
    assert truth(box).boxes("effusion") is None or len(truth(box).boxes("effusion")) == 0  # type: ignore[arg-type]
    case = cases_of([truth(box), truth(None)], [predictions(1), predictions(2)], "opacity")
    assert case.boxed.tolist() == [True, False]
    assert case.labelled.tolist() == [True, False]
    shown = case.shown(0.5)
    assert all((scores >= 0.5).all() for _, scores in shown)


# --- exclusive classes ---

CLASSES = ("negative", "typical", "atypical")


@few
@given(st.integers(0, 2**31))
def test_exclusive_classes_are_counted_case_by_case(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth, scores = rng.integers(0, 3, 30), rng.random((30, 3))
    labels = {name: (truth == k).astype(float) for k, name in enumerate(CLASSES)}
    given_ = {name: scores[:, k] for k, name in enumerate(CLASSES)}
    cases = class_cases(labels, given_, [f"p{i}" for i in range(30)])
    assert cases is not None
    assert cases.classes == CLASSES
    expected = confusion_matrix(truth, scores.argmax(axis=1), 3)
    np.testing.assert_array_equal(cases.matrix, expected)
    numbers = {n: one.value(np.ones(30)) for n, one in class_numbers(cases).items()}
    assert numbers["class_accuracy"] == pytest.approx((scores.argmax(axis=1) == truth).mean())
    assert numbers["class_recall"] == pytest.approx(multiclass(expected)["recall"])
    labels["typical"][0] = np.nan
    part = class_cases(labels, given_, [f"p{i}" for i in range(30)])
    assert part is not None
    assert part.left_out == 1


def test_labels_that_are_no_classes_have_no_class_numbers() -> None:
    ones, scores = np.ones(4), {name: np.full(4, 0.5) for name in CLASSES}
    both = dict.fromkeys(CLASSES, ones)
    assert class_cases(both, scores, "abcd") is None  # several are true
    odd = {name: np.eye(3)[:, k].tolist() for k, name in enumerate(CLASSES)}
    odd = {name: np.array([*own, 1.0]) for name, own in odd.items()}  # of the last all are true
    assert class_cases(odd, scores, "abcd") is None
    two = {name: np.array([1.0, 0, 1, 0]) for name in CLASSES[:2]}
    assert class_cases(two, scores, "abcd") is None  # a finding and its absence
    assert class_cases({}, {}, "abcd") is None


# --- studies ---


def study_catalog() -> Any:
    rows = pd.DataFrame(
        {
            "image_id": ["a1", "a2", "b1", "c1", "d1"],
            "path": ["a1", "a2", "b1", "c1", "d1"],
            "patient": ["A", "A", "B", "C", "D"],
            "study": ["sa", "sa", "sb", "sc", "sd"],
            "study_typical": [1, 1, 0, 0, np.nan],
            "label_opacity": [0, 1, 0, 0, np.nan],
        }
    )
    return build("studies", rows, Path())


def answer(**whole: float) -> ImagePredictions:
    return ImagePredictions(np.zeros((0, 4)), np.zeros(0), (), whole)


def test_a_study_is_scored_by_itself_or_by_its_images() -> None:
    catalog = study_catalog()
    images = {
        "a1": answer(typical=0.2, opacity=0.1),
        "a2": answer(typical=0.6, opacity=0.7),
        "b1": answer(typical=0.4, opacity=0.3),
        "c1": answer(opacity=0.2),
        "d1": answer(typical=0.9, opacity=0.2),
    }
    own = {"studies": [{"study_instance_uid": "sb", "scores": {"typical": 0.05}}]}
    file = PredictionFile("findings", images, own)
    cases = study_cases(catalog, match_answers(catalog, file), file, finding="opacity", combine=max)
    by_name = {one.name: one for one in cases}
    typical = by_name["typical"]
    assert dict(zip(typical.studies, typical.score, strict=True)) == {"sa": 0.6, "sb": 0.05}
    assert typical.label.tolist() == [1, 0]
    assert (typical.own, typical.unanswered) == (1, 1)  # sb by itself; of sc nobody says it
    opacity = by_name["opacity"]  # present in a study if in any of its images
    assert dict(zip(opacity.studies, opacity.label, strict=True)) == {"sa": 1, "sb": 0, "sc": 0}
    assert opacity.score[0] == 0.7
    (numbers, other) = evaluate_studies([typical, opacity], 0.5, repeats=20)
    assert numbers.numbers["auc"].value == 1
    assert numbers.studies == 2
    assert other.to_json()["name"] == "opacity"
    assert study_classes(cases) is None


def test_studies_of_one_kind_say_why_there_is_no_number() -> None:
    catalog = study_catalog()
    catalog = catalog.where(catalog.table["study"] == "sb")
    file = PredictionFile("findings", {"b1": answer(typical=0.4)})
    cases = study_cases(catalog, match_answers(catalog, file), file, finding="opacity", combine=max)
    (one,) = evaluate_studies(cases, 0.5, repeats=5)
    assert one.numbers == {}
    assert "all 1 studies lack it" in one.why_not


def test_models_are_compared_on_the_images_that_all_answered() -> None:
    catalog = study_catalog()
    a = PredictionFile("findings", {n: answer(opacity=0.5) for n in ("a1", "a2", "b1")})
    b = PredictionFile("findings", {n: answer(opacity=0.5) for n in ("b1", "a2", "c1")})
    first, second = answered_by_all([join(catalog, a), join(catalog, b)])
    assert first.rows["image_id"].tolist() == second.rows["image_id"].tolist() == ["a2", "b1"]
    c = PredictionFile("findings", {"d1": answer(opacity=0.5)})
    with pytest.raises(DataError, match="no answered image in common"):
        answered_by_all([join(catalog, a), join(catalog, c)])
    assert [truth.patient for truth in truths_of(catalog)] == list("AABCD")


@pytest.mark.parametrize("form", ["findings", "scores"])
def test_a_pipe_and_a_file_without_an_ending_are_told_by_their_content(
    tmp_path: Path, form: str
) -> None:
    """`hilum evaluate report catalog.parquet <(zcat findings.json.gz)`."""
    text = (
        '\n{"schema": "hilum.findings/1", "images": []}' if form == "findings" else "image,p\na,.5"
    )
    plain, pipe = tmp_path / "content", tmp_path / "pipe"
    plain.write_text(text)
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=(text,))
    writer.start()
    assert read_predictions(plain).form == read_predictions(pipe).form == form
    writer.join()


def test_names_and_findings_that_a_spreadsheet_would_run_come_back(tmp_path: Path) -> None:
    nasty = "=cmd|' /C calc'!A0"
    image = ImagePredictions(np.zeros((0, 4)), np.zeros(0), (), {"opacity": 0.5})
    write_predictions(tmp_path / "s.csv", PredictionFile("scores", {nasty: image, "-1": image}))
    assert f"'{nasty}" in (tmp_path / "s.csv").read_text()
    assert [*read_predictions(tmp_path / "s.csv").images] == [nasty, "-1"]
    write_predictions(tmp_path / "r.csv", PredictionFile("rsna", {"-a": image}))
    assert "\n-a," in (tmp_path / "r.csv").read_text()  # a challenge compares letter by letter
