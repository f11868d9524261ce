"""Outlines say where a mask lies, in a text that any drawing program reads."""

from __future__ import annotations

import re

import cv2
import numpy as np
import pytest

from hilum.core.outlines import svg_path


def filled(path: str, shape: tuple[int, int]) -> np.ndarray:
    """The mask that a path encloses, by the even-odd rule."""
    lines = []
    for part in filter(None, path.split("z")):
        points = np.array(re.findall(r"-?\d+", part), int).reshape(-1, 2).cumsum(axis=0)
        lines.append(points.astype(np.int32))
    out = np.zeros(shape, np.uint8)
    cv2.fillPoly(out, lines, 1)
    return out.astype(bool)


@pytest.mark.parametrize("shape", [(300, 200), (1024, 1024), (2500, 2048)])
def test_an_outline_encloses_its_mask(shape: tuple[int, int]) -> None:
    mask = np.zeros(shape, np.uint8)
    h, w = shape
    cv2.ellipse(mask, (w // 3, h // 2), (w // 6, h // 3), 20, 0, 360, 1, -1)
    cv2.circle(mask, (3 * w // 4, h // 3), w // 9, 1, -1)
    cv2.circle(mask, (w // 3, h // 2), w // 20, 0, -1)  # a hole
    again = filled(svg_path(mask.astype(bool)), shape)
    both = (again & (mask > 0)).sum()
    assert 2 * both / (again.sum() + mask.sum()) > 0.98
    assert not again[h // 2, w // 3]


def test_a_single_pixel_and_an_empty_mask() -> None:
    mask = np.zeros((50, 40), bool)
    assert svg_path(mask) == ""
    mask[20, 10] = True
    assert svg_path(mask).startswith("M1")


def test_a_path_is_short() -> None:
    mask = np.zeros((1024, 1024), np.uint8)
    cv2.ellipse(mask, (500, 500), (200, 400), 0, 0, 360, 1, -1)
    assert len(svg_path(mask.astype(bool))) < 600
