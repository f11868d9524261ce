"""Pictures and figures: what is drawn lies where it is, and what is said is escaped."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hilum.core.radiograph import Radiograph
from hilum.report.drawing import (
    HALO,
    PREDICTION,
    Canvas,
    base,
    canvas_of,
    contrast,
    data_uri,
    draw_box,
    draw_boxes,
    encoded,
    sheet,
)
from hilum.report.figures import COLOURS, Figure, line, plain, png_uri, rendered, tiles
from hilum.report.pages import render
from hilum.report.writers.mask import png
from hilum.report.writers.picture import picture

few = settings(max_examples=15, deadline=None)
sides = st.integers(10, 400)


# --- pictures ---


@few
@given(sides, sides, st.sampled_from([64, 200, 768]))
def test_a_canvas_keeps_the_shape_and_has_the_side_asked_for(w: int, h: int, side: int) -> None:
    canvas = canvas_of((h, w), side)
    width, height = canvas.size
    assert max(width, height) == side
    assert min(width, height) == pytest.approx(side * min(w, h) / max(w, h), abs=0.51)
    corner = canvas.matrix @ [w, h, 1]
    assert corner[:2].tolist() == pytest.approx([width, height])
    free = Canvas(width=w, height=h)
    assert 768 <= max(free.size) <= 1600


@few
@given(st.integers(0, 2**32 - 1))
def test_a_box_and_its_halo_are_drawn_on_its_edges_alone(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x1, y1 = rng.integers(20, 80, 2)
    x2, y2 = x1 + rng.integers(60, 100), y1 + rng.integers(60, 100)
    canvas = canvas_of((200, 200), 200)
    grey = np.full((200, 200, 3), 120, np.uint8)
    drawn = grey.copy()
    draw_box(drawn, canvas, [x1, y1, x2, y2], PREDICTION)
    _, xs = np.nonzero((drawn != grey).any(axis=2))
    reach = 2 * canvas.line + 3
    assert xs.min() >= x1 - reach
    assert xs.max() <= x2 + reach
    inside = drawn[y1 + reach : y2 - reach, x1 + reach : x2 - reach]
    assert (inside == 120).all()
    assert (np.abs(drawn.astype(int) - PREDICTION).max(axis=2) < 40).any()
    assert (np.abs(drawn.astype(int) - HALO).max(axis=2) < 40).any()
    several = grey.copy()
    draw_boxes(several, canvas, [[x1, y1, x2, y2]], PREDICTION)
    np.testing.assert_array_equal(several, drawn)


def test_words_of_a_box_stand_in_its_corner() -> None:
    canvas = canvas_of((200, 200), 200)
    bare, named = (np.full((200, 200, 3), 120, np.uint8) for _ in range(2))
    draw_box(bare, canvas, [50, 60, 190, 190], PREDICTION)
    draw_box(named, canvas, [50, 60, 190, 190], PREDICTION, "0.87")
    ys, xs = np.nonzero((bare != named).any(axis=2))
    assert 50 <= xs.min() <= 56
    assert 60 <= ys.min() <= 66
    assert xs.max() < 110
    assert ys.max() < 85


@few
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_contrast_is_of_the_valid_pixels_and_the_picture_uses_it_all(
    seed: int, framed: bool
) -> None:
    rng = np.random.default_rng(seed)
    pixels = rng.uniform(0.3, 0.5, (60, 80)).astype(np.float32)
    valid = None
    if framed:
        valid = np.ones((60, 80), bool)
        valid[:10] = False
        pixels[:10] = 1.0  # a white border
    radiograph = Radiograph(pixels, valid=valid)
    low, high = contrast(radiograph)
    assert 0.3 <= low < high <= 0.5
    drawn = base(radiograph, canvas_of((60, 80), 80))
    assert drawn.shape == (60, 80, 3)
    assert drawn[15:].min() == 0
    assert drawn[15:].max() == 255
    assert (drawn[..., 0] == drawn[..., 2]).all()
    as_it_is = base(pixels, canvas_of((60, 80), 80))
    np.testing.assert_allclose(as_it_is[..., 0], pixels * 255, atol=1)


@few
@given(st.lists(st.tuples(sides, sides), min_size=1, max_size=7), st.integers(1, 4))
def test_every_picture_of_a_sheet_has_its_own_cell(
    shapes: list[tuple[int, int]], columns: int
) -> None:
    pictures = [np.full((h, w, 3), 10 + k, np.uint8) for k, (h, w) in enumerate(shapes)]
    whole = sheet(pictures, columns)
    for k, one in enumerate(pictures):
        assert (whole == 10 + k).all(axis=2).sum() == one.shape[0] * one.shape[1]
    tall = max(h for h, _ in shapes)
    assert whole.shape[0] >= tall * -(-len(shapes) // columns)


def test_files_hold_the_picture() -> None:
    rng = np.random.default_rng(0)
    own = cv2.GaussianBlur(rng.integers(0, 255, (40, 50, 3)).astype(np.uint8), (0, 0), 4)
    back = cv2.imdecode(np.frombuffer(encoded(own), np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    np.testing.assert_array_equal(back, own)
    small = cv2.imdecode(np.frombuffer(encoded(own, "jpg", 95), np.uint8), cv2.IMREAD_COLOR)
    assert np.abs(small[..., ::-1].astype(int) - own).mean() < 4
    assert len(encoded(own, "jpg", 40)) < len(encoded(own, "jpg", 95))
    assert data_uri(own).startswith("data:image/jpeg;base64,")
    assert png_uri(encoded(own)).startswith("data:image/png;base64,")


@few
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_a_mask_file_of_one_bit_is_the_mask(width: int, height: int, seed: int) -> None:
    mask = np.random.default_rng(seed).random((height, width)) < 0.5
    content = png(mask)
    back = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_GRAYSCALE)
    np.testing.assert_array_equal(back > 0, mask)
    assert set(np.unique(back)) <= {0, 255}
    assert len(content) < 100 + mask.size


@few
@given(sides, sides, st.sampled_from([64, 128, 1024]))
def test_a_picture_is_never_enlarged(width: int, height: int, side: int) -> None:
    pixels = np.random.default_rng(0).random((height, width)).astype(np.float32)
    own = picture(Radiograph(pixels), side)
    assert max(own.shape) == min(side, max(width, height))
    assert own.dtype == np.uint8


# --- figures ---


def figure(title: str = "A title", **changes: Any) -> Figure:
    return Figure(
        title=title, caption="Words.", draw=lambda axes: axes.plot([0, 1], [0, 1]), **changes
    )


def test_a_figure_is_the_same_file_every_time_and_needs_no_network(tmp_path: Path) -> None:
    svg = str(figure().svg)
    assert svg == str(figure().svg)
    assert "<script" not in svg
    assert not re.search(r'(?:href|src)="(?!#)', svg)
    figure("AP at IoU .5: <all>").save(tmp_path)
    (file,) = tmp_path.iterdir()
    assert re.fullmatch(r"[a-z0-9-]+\.png", file.name)
    content = file.read_bytes()
    figure("AP at IoU .5: <all>").save(tmp_path)
    assert file.read_bytes() == content


def test_a_title_cannot_break_out_of_its_figure() -> None:
    svg = str(figure('"><script>alert(1)</script>').svg)
    assert "<script>alert" not in svg


def test_a_wider_figure_is_wider() -> None:
    narrow, wide = (
        cv2.imdecode(np.frombuffer(rendered(f, format="png"), np.uint8), cv2.IMREAD_COLOR).shape
        for f in (figure(), figure(width=9.6))
    )
    assert wide[1] > 1.6 * narrow[1]
    assert wide[0] == pytest.approx(narrow[0], rel=0.1)


def test_curves_differ_in_print_too() -> None:
    looks = [tuple(sorted(line(k).items())) for k in range(len(COLOURS))]
    assert len(set(looks)) == len(looks)
    assert line(0) == line(0)
    assert plain("5 $ and $x$") == plain("5 $ and $x$")
    assert "$" not in plain("$x$").replace(r"\$", "")


def test_tiles_show_their_numbers() -> None:
    values = np.array([[0.25, np.nan], [0.5, 0.75]])
    drawn = Figure(
        title="Tiles",
        caption="",
        draw=lambda axes: tiles(axes, values, ["a", "b"], ["c", "d"], mark_best=True),
    )
    svg = str(drawn.svg)
    for text in (".25", ".50", ".75", ">a<", ">d<"):
        assert text in svg, text
    assert "nan" not in svg.lower()


def test_a_page_with_an_undefined_name_is_an_error() -> None:
    with pytest.raises(Exception, match="undefined"):
        render("sweep.html", title="x")
