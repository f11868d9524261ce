"""Average precision against pycocotools, and FROC on cases that can be counted by hand."""

import contextlib
import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hilum.core.errors import ConfigError, DataError, GeometryError
from hilum.evaluate import (
    any_box_classification,
    coco_metrics,
    detection_ap,
    false_positives_per_normal_image,
    froc,
)

NAMES = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
BOX = [10.0, 10.0, 60.0, 60.0]
OFF = [200.0, 200.0, 260.0, 260.0]

Sets = tuple[list[Any], list[Any], list[Any], list[Any]]


def _random_set(seed: int, ties: bool) -> Sets:
    """Truth, predictions and their classes; half of the predictions lie near a true box."""
    rng = np.random.default_rng(seed)
    truth, predictions, true_labels, labels = [], [], [], []
    for _ in range(rng.integers(1, 12)):
        n, m = rng.integers(0, 5), rng.integers(0, 9)
        corner = rng.integers(0, 150, (n + m, 2))
        boxes = np.c_[corner, corner + rng.integers(5, 150, (n + m, 2))].astype(float)
        t, p = boxes[:n], boxes[n:]
        if n:
            near = t[rng.integers(0, n, m // 2)] + rng.integers(-4, 5, (m // 2, 4))
            p[: m // 2] = np.c_[near[:, :2], np.maximum(near[:, 2:], near[:, :2] + 1)]
        truth.append(t)
        predictions.append((p, rng.random(m).round(1 if ties else 9)))
        true_labels.append(rng.integers(1, 3, n))
        labels.append(rng.integers(1, 3, m))
    return truth, predictions, true_labels, labels


def _pycocotools(truth: Any, predictions: Any, true_labels: Any, labels: Any) -> np.ndarray:
    coco = pytest.importorskip("pycocotools.coco")
    cocoeval = pytest.importorskip("pycocotools.cocoeval")

    def rows(boxes: Any, names: Any, image: int) -> list[dict[str, Any]]:
        return [
            {
                "image_id": image + 1,
                "category_id": int(name),
                "bbox": [b[0], b[1], b[2] - b[0], b[3] - b[1]],
                "area": (b[2] - b[0]) * (b[3] - b[1]),
                "iscrowd": 0,
            }
            for b, name in zip(np.asarray(boxes).tolist(), names, strict=True)
        ]

    annotations = [r for i, t in enumerate(truth) for r in rows(t, true_labels[i], i)]
    for number, row in enumerate(annotations):
        row["id"] = number + 1  # an id of 0 is never matched
    result = []
    for i, (boxes, scores) in enumerate(predictions):
        for row, score in zip(rows(boxes, labels[i], i), scores, strict=True):
            result.append({**row, "score": float(score)})
    classes = sorted({int(n) for part in true_labels for n in part})
    with contextlib.redirect_stdout(io.StringIO()):
        data = coco.COCO()
        data.dataset = {
            "images": [{"id": i + 1} for i in range(len(truth))],
            "annotations": annotations,
            "categories": [{"id": n} for n in classes],
        }
        data.createIndex()
        evaluator = cocoeval.COCOeval(data, data.loadRes(result), "bbox")
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    return np.where(evaluator.stats == -1, np.nan, evaluator.stats)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32), st.booleans())
def test_all_twelve_numbers_equal_pycocotools(seed: int, ties: bool) -> None:
    truth, predictions, true_labels, labels = _random_set(seed, ties)
    if not sum(map(len, truth)) or not sum(len(s) for _, s in predictions):
        return
    want = _pycocotools(truth, predictions, true_labels, labels)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hilum.core.jit.WORTH_LOADING", 0)
        for numba in "10":
            patch.setenv("HILUM_NUMBA", numba)
            got = coco_metrics(truth, predictions, truth_labels=true_labels, labels=labels)
            np.testing.assert_allclose([got[name] for name in NAMES], want, atol=1e-6)
    one = [np.ones_like(part) for part in true_labels], [np.ones_like(part) for part in labels]
    want = _pycocotools(truth, predictions, *one)
    assert detection_ap(truth, predictions) == pytest.approx(want[1], abs=1e-6)
    spread = np.linspace(0.5, 0.95, 10).tolist()
    assert detection_ap(truth, predictions, spread) == pytest.approx(want[0], abs=1e-6)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32))
def test_order_of_images_and_boxes_does_not_matter(seed: int) -> None:
    truth, predictions, _, _ = _random_set(seed, ties=False)
    rng = np.random.default_rng(seed)
    images = rng.permutation(len(truth))
    mixed_truth = [truth[i][rng.permutation(len(truth[i]))] for i in images]
    mixed = []
    for i in images:
        rows = rng.permutation(len(predictions[i][1]))
        mixed.append((predictions[i][0][rows], predictions[i][1][rows]))
    for metric in (detection_ap, lambda t, p: froc(t, p).score):
        before, after = metric(truth, predictions), metric(mixed_truth, mixed)
        assert after == pytest.approx(before, abs=1e-9, nan_ok=True)


def test_only_the_best_hundred_boxes_of_an_image_take_part() -> None:
    boxes, scores = [OFF] * 100 + [BOX], [0.9] * 100 + [0.1]
    assert detection_ap([[BOX]], [(boxes, scores)]) == 0
    assert detection_ap([[BOX]], [(boxes, scores)], max_boxes=101) > 0


def test_without_truth_there_is_no_precision() -> None:
    assert np.isnan(detection_ap([[]], [([BOX], [0.5])]))
    assert all(np.isnan(v) for v in coco_metrics([[]], [([BOX], [0.5])]).values())
    assert detection_ap([[BOX]], [([], [])]) == 0


def test_froc_counts_lesions_and_false_marks() -> None:
    truth = [[BOX, OFF], [], []]
    predictions = [([BOX, OFF, BOX], [0.9, 0.3, 0.8]), ([BOX, OFF], [0.5, 0.2]), ([], [])]
    curve = froc(truth, predictions, rates=(0, 0.5, 1))
    assert curve.thresholds.tolist() == [0.9, 0.8, 0.5, 0.3, 0.2]
    assert curve.sensitivity.tolist() == [0.5, 0.5, 0.5, 1, 1]
    np.testing.assert_allclose(curve.fp_per_image, np.array([0, 1, 2, 2, 3]) / 3)
    np.testing.assert_allclose(curve.fp_per_normal_image, [0, 0, 0.5, 0.5, 1])
    assert curve.at_rates == {0: 0.5, 0.5: 0.5, 1: 1}
    assert curve.at(0.5) == pytest.approx((0.5, 2 / 3, 0.5))
    assert curve.at(0.95) == (0, 0, 0)
    assert false_positives_per_normal_image(truth, predictions, 0.2) == 1
    assert false_positives_per_normal_image(truth, predictions, 0.5) == 0.5


def test_any_box_makes_an_image_level_classifier() -> None:
    got = any_box_classification([[BOX], []], [([BOX], [0.9]), ([OFF], [0.6])], threshold=0.7)
    assert got["auc"] == 1
    assert (got["tp"], got["tn"]) == (1, 1)


@pytest.mark.parametrize("metric", [detection_ap, coco_metrics, froc])
@pytest.mark.parametrize(
    ("truth", "predictions", "error"),
    [
        ([[BOX]], [([BOX], [-0.1])], GeometryError),
        ([[BOX]], [([BOX], [np.nan])], GeometryError),
        ([[BOX]], [([BOX[::-1]], [0.5])], GeometryError),
        ([[BOX]], [([BOX], [])], DataError),
        ([[BOX]], [], DataError),
        ([[BOX]], [([BOX],)], DataError),
    ],
)
def test_bad_values_are_refused(
    metric: Any, truth: Any, predictions: Any, error: type[Exception]
) -> None:
    with pytest.raises(error):
        metric(truth, predictions)


def test_bad_options_are_refused() -> None:
    with pytest.raises(ConfigError):
        detection_ap([[BOX]], [([BOX], [0.5])], iou=1.5)
    with pytest.raises(DataError):
        coco_metrics([[BOX]], [([BOX], [0.5])], labels=[[1]])
    with pytest.raises(DataError):
        coco_metrics([[BOX]], [([BOX], [0.5])], truth_labels=[[1]], labels=[[1, 2]])


def test_froc_without_any_prediction_finds_nothing() -> None:
    box = [[0.0, 0.0, 10.0, 10.0]]
    empty = ([], [])
    curve = froc([box, []], [empty, empty])
    assert curve.at_rates[1.0] == 0
    assert curve.at(0.5) == (0, 0, 0)
    assert np.isnan(froc([[]], [empty]).at_rates[1.0])
