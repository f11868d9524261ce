"""The shipped gate refuses by content and names what it sees; chests pass. Shares on real pictures
stand in its card."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

import hilum
from hilum.core.bundle import open_bundle
from hilum.core.radiograph import Float32, Radiograph
from hilum.core.results import ImageResult
from hilum.data.images import open_radiograph
from hilum.data.phantom.phantom import phantom
from hilum.data.sets import load_set


def _page() -> Float32:
    page = np.full((400, 300), 240, np.uint8)
    for row in range(30, 390, 22):
        cv2.putText(page, "findings of the chest", (12, row), 0, 0.6, 20, 1, cv2.LINE_AA)
    return page.astype(np.float32) / 255


def _noise() -> Float32:
    return np.random.default_rng(3).random((256, 256), dtype=np.float32)


def _said(pixels: Float32) -> ImageResult:
    (result,) = hilum.predict(Radiograph(np.ascontiguousarray(pixels)))
    return result


def test_the_gate_is_small_and_its_card_tells_kinds_it_never_saw() -> None:
    bundle = open_bundle("gate")
    assert len(bundle.model()) <= 5 * 2**20
    assert bundle.manifest.positive == "frontal"
    card = bundle.read("card.md").decode()
    for word in ("Research use only", "kind not learnt", "Untested", "Mirrored"):
        assert word in card


@pytest.mark.parametrize("seed", range(6))
def test_a_phantom_chest_passes_the_gate(seed: int) -> None:
    assert _said(phantom(seed=seed, width=480, height=480, opacities=seed % 3).pixels).status == (
        "analysed"
    )


@pytest.mark.parametrize(
    ("pixels", "words"),
    [(_noise(), "blank or noise"), (_page(), "photograph or document")],
    ids=["noise", "page"],
)
def test_what_is_no_radiograph_is_refused_and_named(pixels: Float32, words: str) -> None:
    result = _said(pixels)
    assert result.status == "refused"
    assert words in str(result.reason)


def test_real_chests_pass_and_the_same_turned_over_are_refused(hilum_data: Path) -> None:
    catalog = load_set("shenzhen_512", hilum_data)
    for row in (0, 200, 400):
        chest = open_radiograph(catalog.root, catalog.table["path"].iat[row]).pixels
        assert _said(chest).status == "analysed"
        over = _said(chest[::-1, ::-1])
        assert over.status == "refused"
        assert "upside down" in str(over.reason)
        for turns in (1, 3):
            assert _said(np.rot90(chest, turns)).status == "refused"
        assert "inverted" in str(_said(1 - chest).reason)


def test_other_pictures_are_refused(hilum_data: Path) -> None:
    catalog = load_set("not_chest", hilum_data)
    for row in range(0, len(catalog), 5):
        picture = open_radiograph(catalog.root, catalog.table["path"].iat[row])
        assert _said(picture.pixels).status == "refused"


@pytest.mark.parametrize("grid", [(1, 2), (2, 1), (2, 2)], ids=str)
def test_several_radiographs_in_one_picture_are_refused(grid: tuple[int, int]) -> None:
    result = _said(np.tile(phantom(seed=1, width=320, height=320).pixels, grid))
    assert result.status == "refused"
    assert result.reason is not None
    assert "several frontal chest radiographs" in result.reason


def test_one_whose_halves_look_like_chests_is_not_taken_for_two(hilum_data: Path) -> None:
    halves = {  # upper and lower; left and right
        "covid_adult_512": ("fig5-day0",),
        "siim_covid_256": ("4fc5d350c335", "0b4a60630af2", "8408a0a09a25"),
    }
    for name, parts in halves.items():
        catalog = load_set(name, hilum_data)
        paths = catalog.table["path"]
        for part in parts:
            path = paths[paths.str.contains(part)].iat[0]
            assert _said(open_radiograph(catalog.root, path).pixels).status == "analysed", part
