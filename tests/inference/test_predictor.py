"""Results come back where they are in the source, cut to the image, the same every time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.toy import SIZE, toy_files, toy_graph, toy_manifest, write_toy
from hilum.core.bundle import write_bundle
from hilum.core.errors import BundleError, ConfigError, ModelOutputError
from hilum.core.geometry import Letterbox
from hilum.core.prediction import sigmoid
from hilum.core.radiograph import Radiograph
from hilum.inference.decode import Decoder, mean_inside
from hilum.inference.predictor import Predictor
from hilum.inference.session import RawOutputs, Session

SHAPES = {"wide": (300, 700), "tall": (911, 407), "square": (512, 512), "small": (96, 80)}


def blob(height: int, width: int, box: np.ndarray) -> Radiograph:
    """Dark picture with one bright rectangle at a box of whole pixels."""
    pixels = np.zeros((height, width), np.float32)
    x1, y1, x2, y2 = box.astype(int)
    pixels[y1:y2, x1:x2] = 1
    pixels[0, 0] = 0.5
    return Radiograph(pixels)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_box_sits_at_the_inverse_of_the_map(tmp_path: Path, shape: tuple[int, int]) -> None:
    height, width = shape
    truth = np.array([[width * 0.55, height * 0.4, width * 0.8, height * 0.75]], np.float32)
    square = Letterbox(width, height, SIZE).boxes_to_square(truth)
    predictor = Predictor(write_toy(tmp_path / "b.zip", square))
    result = predictor(blob(height, width, truth[0]))
    assert np.abs(result.boxes.boxes_px - truth).max() <= 0.5
    assert result.boxes.labels == ("opacity",)
    assert result.boxes.scores == pytest.approx([1 / (1 + np.exp(-2))])


@pytest.mark.parametrize("shape", [(300, 700), (911, 407), (512, 512)])
def test_mask_sits_where_the_picture_is_bright(tmp_path: Path, shape: tuple[int, int]) -> None:
    height, width = shape
    truth = np.array([width // 2, height // 3, width - 20, height // 3 + height // 2])
    findings = Predictor(write_toy(tmp_path / "b.zip"))(blob(height, width, truth))
    ys, xs = np.nonzero(findings.maps["opacity"].cut())
    cell = max(shape) / SIZE * 4  # one cell of the toy's mask head at source size
    edges = np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1])
    assert np.abs(edges - truth).max() <= cell
    assert not (findings.maps["opacity"].cut() & findings.maps["lungs"].cut())[5:-5, 5:-5].all()


def test_the_same_input_gives_the_same_output(tmp_path: Path) -> None:
    bundle = write_toy(tmp_path / "b.zip")
    picture = Radiograph(np.random.default_rng(1).random((200, 300), np.float32))
    first = Predictor(bundle)(picture)
    for predictor in (Predictor(bundle), Predictor(bundle, threads=2)):
        again = predictor(picture)
        np.testing.assert_array_equal(first.boxes.boxes_px, again.boxes.boxes_px)
        np.testing.assert_array_equal(first.maps["lungs"].logits, again.maps["lungs"].logits)
        assert first.image_scores == again.image_scores


def test_image_scores_are_the_named_global_classes(tmp_path: Path) -> None:
    findings = Predictor(write_toy(tmp_path / "b.zip"))(Radiograph(np.zeros((64, 64), np.float32)))
    e = np.exp([0.0, 1.0, 2.0])
    assert findings.image_scores["opacity"] == pytest.approx(e[2] / e.sum())
    assert findings.image_scores["normal"] == pytest.approx(e[0] / e.sum())


def test_nothing_is_found_in_the_padding(tmp_path: Path) -> None:
    # A 2:1 picture fills rows 32..96 of the square; this box lies above them.
    boxes = [(20, 2, 60, 28), (20, 10, 60, 60)]
    findings = Predictor(write_toy(tmp_path / "b.zip", boxes, (2.0, 1.0)))(
        Radiograph(np.zeros((200, 400), np.float32))
    )
    assert len(findings.boxes.boxes_px) == 1
    assert findings.boxes.boxes_px[0, 1] == 0


def test_nan_is_a_failure_not_a_normal_image(tmp_path: Path) -> None:
    predictor = Predictor(write_toy(tmp_path / "b.zip", poison=True))
    with pytest.raises(ModelOutputError, match="NaN"):
        predictor(Radiograph(np.zeros((64, 64), np.float32)))


def test_a_graph_that_is_not_onnx_is_a_bundle_error(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "b.zip", toy_manifest(), toy_files(b"not a graph"))
    with pytest.raises(BundleError, match="refuses the model"):
        Session(bundle)


@pytest.mark.parametrize("damage", [b"\xff" * 9, b""], ids=["name", "nothing"])
def test_a_broken_graph_is_told_once_and_prints_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], damage: bytes
) -> None:
    graph = toy_graph(np.zeros((0, 4)), np.zeros(0)).replace(b"mask_logits"[:9], damage)
    with pytest.raises((BundleError, ModelOutputError)):
        Predictor(write_bundle(tmp_path / "b", toy_manifest(), toy_files(graph)))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("logit", [3e38, -3e38])
def test_absurd_numbers_are_boxes_on_the_image_or_none(tmp_path: Path, logit: float) -> None:
    bundle = write_toy(tmp_path / "b", logits=(logit,), classes=(logit, 0, 0))
    prediction = Predictor(bundle)(Radiograph(np.full((90, 120), 0.5, np.float32)))
    assert prediction.boxes is not None
    assert (prediction.boxes.boxes_px >= 0).all()
    assert all(0 <= score <= 1 for score in prediction.image_scores.values())


def test_an_unknown_precision_lists_the_known(tmp_path: Path) -> None:
    bundle = write_toy(tmp_path / "b.zip")
    with pytest.raises(BundleError, match="fp32"):
        Session(bundle, "int8")
    with pytest.raises(ConfigError, match="at least 1"):
        Session(bundle, threads=0)


def test_anchors_of_another_model_are_noticed(tmp_path: Path) -> None:
    anchors = toy_manifest()["anchors"] | {"levels": [5]}
    predictor = Predictor(write_toy(tmp_path / "b.zip", anchors=anchors))
    with pytest.raises(ModelOutputError, match="anchors"):
        predictor(Radiograph(np.zeros((64, 64), np.float32)))


def test_image_weights_lower_boxes_on_calm_images(tmp_path: Path) -> None:
    decoding = {"image_weights": {"normal": 1.0}, "mask_weights": {"lungs": 1.0}}
    picture = Radiograph(np.zeros((64, 64), np.float32))
    plain = Predictor(write_toy(tmp_path / "a.zip"))(picture)
    weighted = Predictor(write_toy(tmp_path / "b.zip", decoding=decoding))(picture)
    # Prepared black is -1; the toy's lung logit there is +8.
    expected = plain.boxes.scores * plain.image_scores["normal"] * sigmoid(8.0)
    np.testing.assert_allclose(weighted.boxes.scores, expected, rtol=1e-5)


def test_a_higher_temperature_calms_the_scores(tmp_path: Path) -> None:
    picture = Radiograph(np.zeros((64, 64), np.float32))
    calibration = {"class_temperature": 2.0, "class_bias": -0.5}
    findings = Predictor(write_toy(tmp_path / "b.zip", calibration=calibration))(picture)
    assert findings.boxes.scores == pytest.approx([1 / (1 + np.exp(-0.5))])


def test_overlapping_boxes_of_one_label_are_one_finding(tmp_path: Path) -> None:
    boxes = [(30, 40, 62, 80), (50, 60, 110, 110)]
    bundle = write_toy(tmp_path / "b.zip", boxes, (2.0, 1.0))
    decoder = Decoder(bundle.manifest)
    n = len(decoder.anchors)
    logits = np.full((n, 1), -12, np.float32)
    logits[:50] = 1  # neighbouring anchors of the first cells
    raw = RawOutputs(logits, np.zeros((n, 4), np.float32))
    result = decoder(raw, Letterbox(256, 256, SIZE))
    assert 0 < len(result.boxes.boxes_px) < 50
    assert result.image_scores == {}
    assert (np.diff(result.boxes.scores) <= 0).all()


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_mean_inside_is_the_mean_of_the_touched_cells(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.random((16, 16)).astype(np.float32)
    low = rng.random((3, 2)) * 0.9
    boxes = np.concatenate([low, low + rng.random((3, 2)) * (1 - low)], 1).astype(np.float32)
    for box, mean in zip(boxes, mean_inside(values, boxes), strict=True):
        x1, y1 = np.floor(box[:2] * 16).astype(int)
        x2, y2 = np.maximum(np.ceil(box[2:] * 16).astype(int), (x1 + 1, y1 + 1))
        assert mean == pytest.approx(values[y1:y2, x1:x2].mean(), abs=1e-5)


def test_specks_of_a_mask_go_and_its_large_parts_stay() -> None:
    from hilum.core.prediction import without_specks

    logits = np.full((32, 32), -3, np.float32)
    logits[2:20, 2:10] = 2  # one lung
    logits[4:18, 20:28] = 2  # the other
    logits[28:30, 14:16] = 4  # a speck in the stomach
    cleaned = without_specks(logits, 0.0, 0.15)
    assert (cleaned[28:30, 14:16] < 0).all()
    np.testing.assert_array_equal(cleaned[:24], logits[:24])
    np.testing.assert_array_equal(without_specks(logits, 0.0, 0.0), logits)


def test_boxes_around_components_sit_on_the_mask_and_raise_boxes_that_agree() -> None:
    from hilum.inference.decode import components

    logits = np.full((32, 32), -4, np.float32)
    logits[8:16, 4:12] = 4
    boxes, scores = components(logits, 128, 0.5)
    assert boxes.shape == (1, 4)
    np.testing.assert_allclose(boxes[0], [16, 32, 48, 64], atol=2.5)
    assert 0.7 < scores[0] <= 1
    none, empty = components(np.full((32, 32), -4, np.float32), 128, 0.5)
    assert none.shape == (0, 4)
    assert empty.shape == (0,)
