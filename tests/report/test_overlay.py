"""What is drawn sits where it is, covers nothing it need not, and can be read at any size."""

from __future__ import annotations

import numpy as np
import pytest

from hilum.core.findings import Findings
from hilum.core.labels import VOCABULARY
from hilum.core.radiograph import Radiograph
from hilum.data.phantom.phantom import phantom
from hilum.report.drawing import MAX_SIDE, MIN_SIDE, Canvas, base
from hilum.report.overlay import draw

SHAPES = {"wide": (1400, 500), "tall": (407, 911), "square": (512, 512), "large": (2500, 2048)}


def flat(width: int, height: int, boxes: np.ndarray, **masks: np.ndarray) -> np.ndarray:
    """An overlay on a black picture."""
    pixels = np.zeros((height, width), np.float32)
    scores = np.linspace(0.9, 0.5, len(boxes)).astype(np.float32)
    labels = ("opacity",) * len(boxes)
    findings = Findings(width, height, boxes, scores, labels, {"opacity": 0.9}, masks)
    return draw(Radiograph(pixels), findings)


def coloured(picture: np.ndarray, name: str) -> np.ndarray:
    """Pixels that have at least half of a label's colour."""
    colour = np.array(VOCABULARY[name].colour_rgb)
    return (picture.astype(float) @ colour / (colour @ colour)) > 0.5


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_the_drawn_box_lies_on_the_phantoms_opacity(shape: tuple[int, int]) -> None:
    width, height = shape
    truth = phantom(seed=5, width=width, height=height, opacities=1).boxes_px
    canvas = Canvas(width, height)
    picture = flat(width, height, truth)[: canvas.size[1]]
    box = truth[0] * np.array([*canvas.size, *canvas.size]) / [width, height, width, height]
    # The middle rows and columns of the box: only its own sides are drawn there.
    row = coloured(picture[int(box[1::2].mean())], "opacity")
    column = coloured(picture[:, int(box[0::2].mean())], "opacity")
    for line, (low, high) in ((row, box[0::2]), (column[int(box[1]) - 8 :], box[1::2])):
        at = np.flatnonzero(line) + (0 if line is row else int(box[1]) - 8)
        near_low, near_high = at[np.abs(at - low) < 5], at[np.abs(at - high) < 5]
        assert abs(near_low.mean() + 0.5 - low) <= 0.5
        assert abs(near_high.mean() + 0.5 - high) <= 0.5


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_the_outline_surrounds_the_mask(shape: tuple[int, int]) -> None:
    width, height = shape
    mask = np.zeros((height, width), bool)
    mask[height // 4 : height // 2, width // 4 : width // 2] = True
    canvas = Canvas(width, height)
    picture = flat(width, height, np.zeros((0, 4), np.float32), lungs=mask)[: canvas.size[1]]
    ys, xs = np.nonzero(coloured(picture, "lungs"))
    middle = np.array([xs.min() + xs.max(), ys.min() + ys.max()]) / 2 + 0.5
    truth = np.array([canvas.size[0] * 3 / 8, canvas.size[1] * 3 / 8])
    assert np.abs(middle - truth).max() <= 1.5


@pytest.mark.parametrize("shape", [(64, 64), (300, 2000), (5000, 4000), (128, 1024)])
def test_pictures_have_a_readable_size_and_a_strip_outside(shape: tuple[int, int]) -> None:
    width, height = shape
    canvas = Canvas(width, height)
    picture = flat(width, height, np.zeros((0, 4), np.float32))
    assert MIN_SIDE <= max(canvas.size) <= MAX_SIDE
    assert picture.shape[1] == canvas.size[0]
    assert picture.shape[0] > canvas.size[1]
    assert (picture[: canvas.size[1]] == 0).all()  # nothing is written on the radiograph
    assert picture[canvas.size[1] :].max() > 200  # the notice


def test_tags_do_not_cover_each_other() -> None:
    boxes = np.array([[200, 200, 300, 300], [205, 205, 310, 310], [190, 210, 305, 290]], np.float32)
    picture = flat(512, 512, boxes)
    strip_colour = (picture == (16, 20, 26)).all(axis=2)[: Canvas(512, 512).size[1]]
    alone = flat(512, 512, boxes[:1])
    strip_alone = (alone == (16, 20, 26)).all(axis=2)[: Canvas(512, 512).size[1]]
    assert strip_colour.sum() > 2.7 * strip_alone.sum()


def test_a_tag_never_leaves_the_picture() -> None:
    for box in ([0, 0, 10, 10], [500, 500, 512, 512], [0, 0, 512, 512]):
        assert flat(512, 512, np.array([box], np.float32)).shape[1] == 768


def test_borders_do_not_decide_the_contrast() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.uniform(0.4, 0.6, (600, 600)).astype(np.float32)
    pixels[:200] = 1.0
    valid = np.ones((600, 600), bool)
    valid[:200] = False
    canvas = Canvas(600, 600)
    with_mask = base(Radiograph(pixels.copy(), valid=valid), canvas)[400:].std()
    without = base(Radiograph(pixels.copy()), canvas)[400:].std()
    assert with_mask > 2 * without


def test_a_blank_radiograph_is_drawn_and_no_box_is_said() -> None:
    findings = Findings(80, 90, np.zeros((0, 4), np.float32), np.zeros(0, np.float32), ())
    blank = Radiograph(np.full((90, 80), 0.5, np.float32))
    boxed = Findings(80, 90, np.array([[9, 9, 20, 20]], np.float32), np.ones(1, np.float32), ("x",))
    strips = [draw(blank, one)[Canvas(80, 90).size[1] :] for one in (findings, boxed)]
    assert strips[0].shape != strips[1].shape or (strips[0] != strips[1]).any()


def test_an_outlined_finding_without_a_box_is_not_said_to_be_absent() -> None:
    """A segmenter gives no boxes; lungs are on every picture."""
    nothing, some = np.zeros((8, 8), bool), np.eye(8, dtype=bool)

    def marked(**masks: np.ndarray) -> tuple[str, ...]:
        boxes, scores = np.zeros((0, 4), np.float32), np.zeros(0, np.float32)
        return Findings(8, 8, boxes, scores, (), masks=masks).marked

    assert marked(pneumothorax=some, lungs=some) == ("pneumothorax",)
    assert marked(pneumothorax=nothing, lungs=some) == ()
