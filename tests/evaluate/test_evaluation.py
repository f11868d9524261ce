"""One evaluation for an epoch and for a report: the same numbers of the same predictions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from hilum.core.errors import DataError
from hilum.core.findings import Findings
from hilum.data.catalog import Catalog, build
from hilum.evaluate import at_threshold, average_precision, multiclass, rsna_score
from hilum.evaluate.cases import cases_of
from hilum.evaluate.classes import class_cases, class_numbers, evaluate_classes
from hilum.evaluate.evaluation import evaluate_cases, evaluate_predictions
from hilum.evaluate.metrics.names import METRICS, higher_is_better, is_allowed, metric, text
from hilum.evaluate.prediction_files import from_findings
from hilum.evaluate.segmentation import Components
from hilum.evaluate.thresholds.sweep import box_metric, nms_by_epoch, threshold_curve
from hilum.evaluate.truth import ImageTruth, Size, truths_of

IMAGES = 30


def _truths(rng: np.random.Generator) -> list[ImageTruth]:
    out = []
    for k in range(IMAGES):
        corner = rng.uniform(0, 60, (k % 3, 2))
        out.append(
            ImageTruth(
                image_id=f"i{k}",
                patient=f"p{k // 2}",
                size=Size.of(100, 100),
                boxes_px=np.concatenate([corner, corner + 30], axis=1),
                box_labels=("opacity",) * (k % 3),
                image_labels={"opacity": float(k % 3 > 0), "normal": float(k % 3 == 0)},
            )
        )
    return out


def _findings(truth: ImageTruth, rng: np.random.Generator, size: int = 100) -> Findings:
    """True boxes, moved and scored, one false box, and scores of the image."""
    assert truth.boxes_px is not None
    boxes = np.concatenate([truth.boxes_px + rng.normal(0, 4, 4), [[1, 1, 20, 20]]]).clip(0, 100)
    scores = np.sort(rng.uniform(0, 1, len(boxes)))[::-1]
    label = truth.image_labels["opacity"]
    opacity = float(np.clip(rng.normal(0.3 + 0.3 * label, 0.2), 0, 1))
    return Findings(
        size,
        size,
        (boxes * size / 100).astype(np.float32),
        scores.astype(np.float32),
        ("opacity",) * len(boxes),
        {"opacity": opacity, "normal": 1 - opacity},
    )


@pytest.fixture
def both() -> tuple[list[ImageTruth], list[Findings]]:
    rng = np.random.default_rng(0)
    truths = _truths(rng)
    return truths, [_findings(truth, rng) for truth in truths]


def test_an_epochs_numbers_are_those_of_the_report(both: Any) -> None:
    truths, findings = both
    numbers = evaluate_predictions(truths, findings, threshold=0.4)
    cases = cases_of(truths, [from_findings(one) for one in findings], "opacity")
    report = evaluate_cases(cases, threshold=0.4, repeats=2).numbers
    assert report.keys() <= {name.removesuffix("_opacity") for name in numbers}
    for name, interval in report.items():
        own = numbers.get(f"{name}_opacity", numbers[name])
        assert own == pytest.approx(interval.value), name


def test_numbers_do_not_depend_on_the_size_of_the_copies(both: Any) -> None:
    truths, findings = both
    rng = np.random.default_rng(0)
    _truths(rng)
    copies = [_findings(truth, rng, size=50) for truth in truths]
    assert evaluate_predictions(truths, copies) == pytest.approx(
        evaluate_predictions(truths, findings), abs=1e-5
    )
    wrong = Findings(50, 80, *(getattr(findings[0], n) for n in ("boxes_px", "scores", "labels")))
    with pytest.raises(DataError, match="i0: predicted on 50 × 80"):
        evaluate_predictions(truths[:1], [wrong])


def test_box_numbers_follow_from_their_counts(both: Any) -> None:
    truths, findings = both
    numbers = evaluate_predictions(truths, findings, threshold=0.4)
    shown = [one.above(0.4) for one in findings]
    boxes = sum(len(one.scores) for one in shown)
    true = sum(len(t.boxes_px) for t in truths if t.boxes_px is not None)
    precision, recall = numbers["box_precision"], numbers["box_recall"]
    assert precision * boxes == pytest.approx(recall * true)  # both are the boxes that hit
    assert numbers["box_f1"] == pytest.approx(2 * precision * recall / (precision + recall))
    assert numbers["rsna_score"] == pytest.approx(
        rsna_score([t.boxes_px for t in truths], [(f.boxes_px, f.scores) for f in shown])
    )
    assert numbers["any_box_auc"] <= 1


def test_macro_numbers_are_means_over_labels(both: Any) -> None:
    numbers = evaluate_predictions(*both)
    for name in ("auc", "f1", "accuracy"):
        own = [numbers[f"{name}_{label}"] for label in ("opacity", "normal")]
        assert numbers[name] == pytest.approx(np.mean(own))


def test_a_number_without_meaning_is_left_out_not_nan(both: Any) -> None:
    truths, findings = both
    sick = [k for k, t in enumerate(truths) if t.image_labels["opacity"]]
    numbers = evaluate_predictions([truths[k] for k in sick], [findings[k] for k in sick])
    assert "auc" not in numbers
    assert "fp_per_normal_image" not in numbers
    assert "ap50" in numbers
    assert not any(np.isnan(list(numbers.values())))
    assert all(metric(name) is not None for name in numbers)


def test_masks_are_compared_in_the_pixels_of_the_image() -> None:
    mask = np.zeros((100, 100), bool)
    mask[20:60, 20:60] = True

    def opened(height: int, width: int) -> Any:
        assert (height, width) == (100, 100)
        return mask

    truth = ImageTruth("i", "p", Size.of(100, 100), masks={"lungs": opened})
    half = Findings(
        50,
        50,
        np.zeros((0, 4), np.float32),
        np.zeros(0, np.float32),
        (),
        {},
        {"lungs": mask[::2, ::2]},
    )
    numbers = evaluate_predictions([truth], [half])
    assert numbers["dice_lungs"] == numbers["iou_lungs"] == numbers["dice"] == 1


def test_a_mask_says_whether_its_finding_is_there_and_a_segmenter_of_images_nothing(
    both: Any,
) -> None:
    """A set of one's own may have masks alone, without a label or a box beside them."""
    truths, findings = both

    def mask(k: int) -> Any:
        return lambda height, width: np.full((height, width), k % 3 > 0)

    drawn = [
        replace(t, boxes_px=None, box_labels=(), image_labels={}, masks={"opacity": mask(k)})
        for k, t in enumerate(truths)
    ]
    assert [t.label("opacity") for t in drawn] == [t.label("opacity") for t in truths]
    assert np.isnan(drawn[0].label("effusion"))
    images = [from_findings(one) for one in findings]
    whole = evaluate_cases(cases_of(truths, images, "opacity"), repeats=2)
    from_masks = evaluate_cases(cases_of(drawn, images, "opacity"), repeats=2)
    assert from_masks.image["auc"].value == whole.image["auc"].value
    silent = cases_of(drawn, images, "opacity", detects=False, scored=False)
    evaluation = evaluate_cases(silent, repeats=2)
    assert evaluation.numbers == {}
    assert evaluation.why_not["image"] == "the model gives no score of opacity"


def test_a_report_says_why_a_number_is_missing(both: Any) -> None:
    truths, findings = both
    sick = [k for k, t in enumerate(truths) if t.image_labels["opacity"]]
    images = [from_findings(findings[k]) for k in sick]
    cases = cases_of([truths[k] for k in sick], images, "opacity")
    evaluation = evaluate_cases(cases, threshold=1.0, repeats=2)
    assert "images with and without" in evaluation.why_not["image"]
    assert evaluation.why_not["box_precision"] == "needed: a box of at least the threshold"
    assert evaluation.why_not["fp_per_normal_image"] == "needed: an image without a true box"


CLASSES = ("normal", "not-normal", "opacity")


def _classes(rng: np.random.Generator, n: int = 60) -> tuple[Any, Any, list[str]]:
    truth = rng.integers(0, 3, n)
    scores = rng.dirichlet(np.ones(3), n) + 0.3 * np.eye(3)[truth]
    labels = {name: (truth == k).astype(float) for k, name in enumerate(CLASSES)}
    return labels, {n: scores[:, k] for k, n in enumerate(CLASSES)}, [f"p{i}" for i in range(n)]


def test_exclusive_classes_are_found_and_counted() -> None:
    labels, scores, patients = _classes(np.random.default_rng(0))
    cases = class_cases(labels, scores, patients)
    assert cases is not None
    assert cases.classes == CLASSES
    assert cases.matrix.sum() == 60
    assert cases.matrix.sum(axis=1).tolist() == [int(labels[n].sum()) for n in CLASSES]
    numbers = {n: m.value(np.ones(60)) for n, m in class_numbers(cases).items()}
    expected = multiclass(cases.matrix)
    assert numbers["class_accuracy"] == pytest.approx(expected["accuracy"])
    assert numbers["class_f1"] == pytest.approx(expected["f1"])
    assert numbers["class_map"] == pytest.approx(
        np.mean([average_precision(labels[n], scores[n].clip(0, 1) / 1.3) for n in CLASSES]),
        abs=0.05,
    )
    interval = evaluate_classes(cases, "image", repeats=20).numbers["class_accuracy"]
    assert interval.low <= interval.value <= interval.high


def test_labels_that_go_together_are_no_classes() -> None:
    labels, scores, patients = _classes(np.random.default_rng(0))
    labels["normal"][0] = labels["opacity"][0] = 1  # two at once
    assert class_cases(labels, scores, patients) is None
    named = class_cases(labels, scores, patients, CLASSES)
    assert named is not None
    assert named.left_out == 1


def test_components_are_removed_by_their_size_at_1024() -> None:
    """A mask at 512: its pixels count four times."""
    parts = Components(
        area=np.array([100.0, 1000.0]), overlap=np.array([0.0, 900.0]), true=1000.0, scale=4.0
    )
    assert parts.dice(0) == pytest.approx(2 * 900 / 2100)
    assert parts.dice(401) == pytest.approx(2 * 900 / 2000)
    assert parts.dice(400) == parts.dice(0)
    assert parts.dice(4001) == 0
    assert parts.dice(0, opened=False) == 0
    nothing = Components(np.zeros(0), np.zeros(0), true=0.0, scale=4.0)
    assert nothing.dice(3500) == 1


def _suppress(boxes: Any, scores: Any, iou: float) -> Any:
    from hilum.fuse import keep_best

    return keep_best(boxes, scores, iou=iou)


def test_suppression_at_one_keeps_every_box_and_lower_ones_help_precision() -> None:
    box = np.array([10.0, 10, 50, 50])
    heap = np.stack([box, box + 4, box + 8])
    truth = [box[None]]
    answer = {1.0: [(heap, np.array([0.9, 0.8, 0.7]))]}
    for name in ("rsna_score", "ap50"):
        grid = nms_by_epoch(truth, answer, _suppress, metric=name, threshold=0.5)
        assert grid.rows[1][-1] == 1.0
        assert grid.values[-1, 0] == pytest.approx(box_metric(name, truth, answer[1.0], 0.5))
    rsna = nms_by_epoch(truth, answer, _suppress, metric="rsna_score").values[:, 0]
    assert rsna[0] == 1
    assert rsna[-1] < 0.5


def test_precision_and_recall_against_threshold_are_those_at_each_threshold(both: Any) -> None:
    truths, findings = both
    truth = [t.boxes_px for t in truths]
    answer = [(f.boxes_px.astype(float), f.scores.astype(float)) for f in findings]
    curve = threshold_curve(truth, answer)
    for k in (0, len(curve.thresholds) // 2, -1):
        at = float(curve.thresholds[k])
        assert curve.precision[k] == pytest.approx(box_metric("box_precision", truth, answer, at))
        assert curve.recall[k] == pytest.approx(box_metric("box_recall", truth, answer, at))
        assert curve.f1[k] == pytest.approx(box_metric("box_f1", truth, answer, at))


def test_scores_of_images_give_the_numbers_of_their_confusion(both: Any) -> None:
    truths, findings = both
    numbers = evaluate_predictions(truths, findings, threshold=0.5)
    label = np.array([t.image_labels["opacity"] for t in truths])
    score = np.array([f.image_scores["opacity"] for f in findings])
    expected = at_threshold(label, score, 0.5)
    for name in ("sensitivity", "specificity", "precision", "f1", "f2", "mcc", "accuracy"):
        assert numbers[f"{name}_opacity"] == pytest.approx(expected[name]), name
    assert numbers["average_precision_opacity"] == pytest.approx(average_precision(label, score))


def test_a_number_that_needs_calls_may_be_watched_where_its_images_allow_it() -> None:
    """An untrained network calls all images alike, and has no MCC yet; images of one kind allow
    none, whatever the network."""
    assert is_allowed("mcc", ["auc"])
    assert is_allowed("mcc_opacity", ["auc_opacity"])
    assert is_allowed("box_precision", ["box_recall"])
    assert not is_allowed("mcc", ["accuracy", "val_loss"])
    assert not is_allowed("mcc", ["auc_opacity"])
    assert not is_allowed("mccc", ["auc"])
    assert is_allowed("val_loss", ["val_loss"])
    assert not is_allowed("", [])


def test_every_name_has_words_and_a_direction() -> None:
    assert text("ap50_opacity") == "AP at IoU .5, opacity"
    assert text("dice_lungs_full") == "Dice, equal to F1 over pixels, lungs full"
    assert text("val_box") == "Validation loss, box"
    assert not higher_is_better("val_loss")
    assert not higher_is_better("fp_per_normal_image_opacity")
    assert higher_is_better("ap50_95")
    assert all(one.needs for one in METRICS.values())


def test_truths_of_a_catalog_leave_out_what_nobody_annotated() -> None:
    rows = pd.DataFrame(
        {
            "image_id": ["a", "b"],
            "patient": ["p", "q"],
            "boxes": [[1.0, 2, 3, 4], None],
            "box_labels": [["opacity"], None],
            "label_normal": [0.0, np.nan],
            "mask_lungs": ["rle:2x2:0 1", None],
        }
    )
    catalog: Catalog = build("toy", rows, Path())
    first, second = truths_of(catalog)
    assert first.label("opacity") == 1
    assert np.isnan(second.label("opacity"))
    assert second.boxes("opacity") is None
    assert first.image_labels == {"normal": 0.0}
    assert second.image_labels == {}
    assert first.masks["lungs"](2, 2).sum() == 1
    assert not second.masks


def test_a_detector_that_finds_nothing_has_an_ap_of_zero() -> None:
    """Though the first image is one without boxes, and the network says no word of any label."""
    truths = _truths(np.random.default_rng(0))
    assert not truths[0].box_labels
    renamed = [{"normal": t.image_labels["normal"], **t.image_labels} for t in truths]
    truths = [replace(t, image_labels=labels) for t, labels in zip(truths, renamed, strict=True)]
    nothing = np.zeros((0, 4), np.float32), np.zeros(0, np.float32), ()
    silent = [Findings(100, 100, *nothing, {}) for _ in truths]
    assert evaluate_predictions(truths, silent)["ap50"] == 0
