"""Boxes, outlines and words lie where they belong on a picture of any size."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from hilum.core.radiograph import Radiograph
from hilum.report.drawing import (
    PREDICTION,
    TRUTH,
    Canvas,
    base,
    canvas_of,
    data_uri,
    draw_boxes,
    draw_heat,
    draw_outline,
    draw_words,
    encoded,
    sheet,
)


def _has(picture: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    return np.abs(picture.astype(int) - colour).max(axis=2) < 40


@pytest.mark.parametrize("shape", [(64, 64), (300, 500), (2000, 1500)])
def test_a_box_in_source_pixels_is_drawn_where_it_is(shape: tuple[int, int]) -> None:
    height, width = shape
    canvas = canvas_of(shape, 256)
    picture = base(np.full(shape, 0.4, np.float32), canvas)
    assert max(picture.shape[:2]) == 256
    box = np.array([0.25 * width, 0.5 * height, 0.75 * width, 0.9 * height])
    draw_boxes(picture, canvas, [box], TRUTH)
    ys, xs = np.nonzero(_has(picture, TRUTH))
    shown = np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1], float)
    w, h = canvas.size
    assert np.abs(shown - [0.25 * w, 0.5 * h, 0.75 * w, 0.9 * h]).max() <= 2


def test_boxes_of_a_frame_are_drawn_on_a_radiograph_of_another_size() -> None:
    """A catalog's boxes are of its frame, whatever size the file has."""
    canvas = Canvas(width=1024, height=1024, sides=(256, 256))
    picture = base(Radiograph(np.random.default_rng(0).random((300, 300), np.float32)), canvas)
    draw_boxes(picture, canvas, [[512, 512, 1000, 1000]], PREDICTION)
    ys, xs = np.nonzero(_has(picture, PREDICTION))
    assert abs(xs.min() - 128) <= 2
    assert abs(ys.max() - 250) <= 2


def test_an_outline_follows_the_mask_and_leaves_its_inside() -> None:
    mask = np.zeros((100, 200), np.uint8)
    cv2.circle(mask, (120, 50), 30, 1, -1)
    canvas = canvas_of(mask.shape, 400)
    picture = base(np.zeros(mask.shape, np.float32), canvas)
    draw_outline(picture, canvas, mask > 0, TRUTH)
    ys, xs = np.nonzero(_has(picture, TRUTH))
    distance = np.hypot(xs - 240.5, ys - 100.5)
    assert np.abs(distance - 61).max() <= 4


def test_heat_is_nothing_where_it_is_zero() -> None:
    canvas = canvas_of((50, 50), 100)
    picture = base(np.full((50, 50), 0.5, np.float32), canvas)
    before = picture.copy()
    heat = np.zeros((10, 10), np.float32)
    heat[2, 7] = 1
    draw_heat(picture, canvas, heat)
    assert (picture[60:] == before[60:]).all()
    changed = np.abs(picture.astype(int) - before).sum(axis=2)
    y, x = np.unravel_index(changed.argmax(), changed.shape)
    assert abs(y - 25) < 8
    assert abs(x - 75) < 8


@pytest.mark.parametrize("at", [(-50, -50), (500, 500), (10, 10)])
def test_words_stay_inside_the_picture(at: tuple[int, int]) -> None:
    picture = np.full((60, 200, 3), 120, np.uint8)
    draw_words(picture, "opacity 0.83", *at, colour=PREDICTION)
    ys, xs = np.nonzero(_has(picture, PREDICTION))
    assert len(ys) > 20
    assert 0 < ys.min() < ys.max() < 59
    assert 0 < xs.min() < xs.max() < 199


def test_a_sheet_holds_every_picture_in_its_place() -> None:
    pictures = [np.full((10 + k, 20, 3), 40 * k, np.uint8) for k in range(1, 6)]
    out = sheet(pictures, 3)
    assert out.shape == (2 * 15 + 4, 3 * 20 + 8, 3)
    assert (out[0, 0] == 40).all()
    assert (out[19, 24] == 200).all()  # the fifth: second row, second column


def test_files_decode_to_what_was_drawn() -> None:
    picture = np.random.default_rng(0).integers(0, 255, (20, 30, 3), np.uint8)
    decoded = cv2.imdecode(np.frombuffer(encoded(picture), np.uint8), cv2.IMREAD_COLOR)
    assert decoded is not None
    assert (decoded[:, :, ::-1] == picture).all()
    assert data_uri(picture).startswith("data:image/jpeg;base64,")
