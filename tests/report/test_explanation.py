"""A map lies beside what was found and what readers drew, each where it is and in its colour."""

from __future__ import annotations

import numpy as np
import pytest

from hilum.core.findings import Findings
from hilum.core.labels import VOCABULARY
from hilum.core.radiograph import Radiograph
from hilum.report.drawing import GAP, TRUTH
from hilum.report.explanation import SIDE, Annotations, Words, explanation

FOUND = np.array([[20, 30, 60, 70]], np.float32)
READ = np.array([[70, 10, 95, 40]], np.float32)
RAMP = Radiograph(np.tile(np.linspace(0, 1, 100, dtype=np.float32), (100, 1)))
WORDS = Words(score="opacity 0.90 of a", method="occlusion", found_by="b")


def _coloured(picture: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    return np.abs(picture.astype(int) - colour).max(axis=2) < 12


def _drawn(heat: np.ndarray, readers: Annotations | None = None, **masks: np.ndarray) -> np.ndarray:
    scores = np.array([0.8], np.float32)
    findings = Findings(100, 100, FOUND, scores, ("opacity",), masks=masks)
    return explanation(RAMP, heat, findings, WORDS, readers=readers)


@pytest.mark.parametrize("half", [0, 1], ids=["plain", "map"])
def test_what_was_found_and_what_readers_drew_is_on_both_pictures(half: int) -> None:
    drawn = _drawn(np.zeros((10, 10)), Annotations(boxes_px=READ, labels=("opacity",)))
    assert drawn.shape[1] == 2 * SIDE + GAP
    one = drawn[:SIDE, half * (SIDE + GAP) :][:, :SIDE]
    for box, colour in ((FOUND[0], VOCABULARY["opacity"].colour_rgb), (READ[0], TRUTH)):
        ys, xs = np.nonzero(_coloured(one, colour))
        edges = np.array([xs.min(), ys.max(), xs.max()]) * 100 / SIDE
        assert np.abs(edges - box[[0, 3, 2]]).max() < 1.5


def test_findings_are_outlined_and_lungs_are_not() -> None:
    """Their colour is that of what readers drew, and a score does not rest on an outline."""
    mask = np.zeros((100, 100), bool)
    mask[75:95, 75:95] = True
    plain = _drawn(np.zeros((10, 10)))
    assert (_drawn(np.zeros((10, 10)), lungs=mask) == plain).all()
    outlined = _drawn(np.zeros((10, 10)), pneumothorax=mask)
    ys, xs = np.nonzero((outlined[:SIDE, :SIDE] != plain[:SIDE, :SIDE]).any(axis=2))
    edges = np.array([xs.min(), ys.min(), xs.max(), ys.max()]) * 100 / SIDE
    assert np.abs(edges - [75, 75, 95, 95]).max() < 1


def test_the_map_is_on_the_second_picture_alone_and_words_are_below_both() -> None:
    heat = np.zeros((10, 10))
    heat[8, 8] = 1
    cold, warm = _drawn(np.zeros((10, 10))), _drawn(heat)
    changed = np.abs(cold.astype(int) - warm).sum(axis=2) > 0
    assert not changed[:, : SIDE + GAP].any()
    ys, xs = np.nonzero(changed)
    assert abs(ys.mean() - 0.85 * SIDE) < 10
    assert abs(xs.mean() - SIDE - GAP - 0.85 * SIDE) < 10
    assert (cold[: SIDE // 10, :SIDE] == cold[0, :SIDE]).all()  # no letters on the anatomy
    assert cold.shape[0] > SIDE


def test_what_readers_drew_is_named_below() -> None:
    """An outline of another finding than the one that is explained is not taken for it."""
    mask = np.eye(100, dtype=bool)
    readers = Annotations(
        boxes_px=READ, labels=("opacity",), masks={"pneumothorax": mask, "effusion": mask & False}
    )
    assert readers.names == ["opacity", "pneumothorax"]
    both, one = (
        _drawn(np.zeros((10, 10)), Annotations(boxes_px=READ, labels=labels))[SIDE:]
        for labels in (("opacity",), ("pneumothorax",))
    )
    assert both.shape != one.shape or (both != one).any()
