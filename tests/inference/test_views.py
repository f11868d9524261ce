"""Views come back exactly where they are in the source, for every kind of model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.toy import SIZE, write_text, write_toy
from hilum.core.geometry import Letterbox
from hilum.core.prediction import Boxes, Prediction, ProbabilityMap
from hilum.core.radiograph import Radiograph
from hilum.inference.loaded import load_pipeline
from hilum.inference.predictor import Predictor
from hilum.inference.views import Mirrored, Scaled

BOX = ((20.0, 44.0, 52.0, 84.0),)


def picture(width: int, height: int, seed: int = 0) -> Radiograph:
    rng = np.random.default_rng(seed)
    cells = rng.random((-(-height // 16), -(-width // 16)), np.float32)
    return Radiograph(np.kron(cells, np.ones((16, 16), np.float32))[:height, :width])


@pytest.mark.parametrize(("width", "height"), [(128, 128), (200, 128), (131, 257)])
def test_a_mirrored_box_lies_on_the_other_side(tmp_path: Path, width: int, height: int) -> None:
    """The toy sees its box at one place of the square, however the image is shown."""
    predictor = Predictor(write_toy(tmp_path / "b.zip", BOX))
    plain, mirrored = predictor(picture(width, height)), Mirrored(predictor)(picture(width, height))
    assert plain.boxes is not None
    assert mirrored.boxes is not None
    x1, y1, x2, y2 = plain.boxes.boxes_px[0]
    np.testing.assert_allclose(
        mirrored.boxes.boxes_px[0], [width - x2, y1, width - x1, y2], atol=1e-3
    )


def test_a_map_of_a_mirrored_image_is_the_map_of_the_image(tmp_path: Path) -> None:
    """The toy's map is its picture: shown mirrored and mapped back, it is the same map."""
    predictor = Predictor(write_toy(tmp_path / "b.zip"))
    image = picture(128, 128)
    plain = predictor(image).maps["opacity"]
    back = Mirrored(predictor)(image).maps["opacity"]
    np.testing.assert_allclose(back.probabilities_on(plain), plain.probabilities, atol=1e-6)
    np.testing.assert_array_equal(back.cut(), plain.cut())


@settings(max_examples=30, deadline=None)
@given(st.integers(40, 300), st.integers(40, 300), st.sampled_from([None, 0.5, 0.7, 0.8, 0.9]))
def test_what_lies_at_a_point_is_answered_at_that_point(
    width: int, height: int, scale: float | None
) -> None:
    """A model that answers with its own picture, at a fine grid: no view moves it."""

    def model(shown: Radiograph) -> Prediction:
        box = Letterbox(shown.width, shown.height, 512)
        logits = (box.apply(shown.pixels) - 0.5).astype(np.float32)
        y, x = np.argwhere(shown.pixels > 0.5).mean(axis=0) + 0.5
        corners = [(x - 5, y - 5, x + 5, y + 5)]
        return Prediction(
            width=shown.width,
            height=shown.height,
            boxes=Boxes.of(corners, [0.5], ["opacity"]),
            maps={"opacity": ProbabilityMap.of(logits, box)},
        )

    pixels = np.zeros((height, width), np.float32)
    pixels[10:26, 8:20] = 1
    image = Radiograph(pixels)
    view = Mirrored(model if scale is None else Scaled(model, scale))
    plain, back = model(image), view(image)
    assert plain.boxes is not None
    assert back.boxes is not None
    np.testing.assert_allclose(back.boxes.boxes_px, plain.boxes.boxes_px, atol=1e-3)
    ys, xs = np.nonzero(back.maps["opacity"].cut())
    edges = [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
    assert np.abs(np.array(edges) - [8, 10, 20, 26]).max() <= 1


def test_a_smaller_view_shows_the_whole_image_with_the_same_contrast(tmp_path: Path) -> None:
    shown: list[Radiograph] = []

    def model(radiograph: Radiograph) -> Prediction:
        shown.append(radiograph)
        return Prediction(radiograph.width, radiograph.height)

    Scaled(model, 0.8)(picture(200, 100))
    (one,) = shown
    assert one.width == pytest.approx(200 / 0.8, abs=1)
    assert one.valid is not None
    assert one.valid.sum() == 200 * 100
    np.testing.assert_array_equal(one.pixels[one.valid].reshape(100, 200), picture(200, 100).pixels)


def test_views_of_a_pipeline_are_fused(tmp_path: Path) -> None:
    write_toy(tmp_path / "toy.zip", BOX)
    views = "models: {toy: {bundle: toy.zip, views: [plain, flip, {scale: 0.8}, %s]%s}}\n"
    text = views % ("{flip: true, scale: 0.9}", "")
    image = picture(128, 128)
    findings = load_pipeline(write_text(tmp_path / "p.yaml", text), threshold=0.0)(image)
    alone = load_pipeline(write_text(tmp_path / "q.yaml"), threshold=0.0)(image)
    # The toy's box lies elsewhere in each view: each is one of four voices.
    assert findings.scores.max() < alone.scores.max()
    assert findings.image_scores == pytest.approx(alone.image_scores)
    several = load_pipeline(
        write_text(tmp_path / "r.yaml", views % ("{scale: 0.9}", ", fuse: {use: nms, iou: 0.99}"))
    )
    assert len(several(image).scores) == 4  # suppression leaves all that do not overlap
    assert SIZE == 128


def test_a_view_of_a_mean_is_the_mean_of_its_bundles(tmp_path: Path) -> None:
    for name, logit in (("a", 2.0), ("b", 0.0)):
        write_toy(tmp_path / f"{name}.zip", BOX, (logit,))
    text = "models: {toy: {bundles: [a.zip, b.zip], combine: mean-outputs, views: [flip]}}\n"
    findings = load_pipeline(write_text(tmp_path / "p.yaml", text), threshold=0.0)(
        picture(128, 128)
    )
    p = 1 / (1 + np.exp([-2.0, 0.0]))
    assert findings.scores == pytest.approx([p.mean()], abs=1e-5)
    assert findings.boxes_px[0, 0] == pytest.approx(128 - 52, abs=0.05)
