"""Copies of held-out images leave, damaged files are listed, what is unknown stays so."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from helpers.phantom_set import catalog
from hilum.core.prepare import Preprocessing
from hilum.data.phantom.phantom import phantom, write_mask, write_png
from hilum.data.pixels import open_radiograph
from hilum.models.model import Targets
from hilum.train.options import SourceOptions
from hilum.train.samples import drawn_masks, prepare_row, prepare_rows, without_copies
from hilum.train.sources import Source

SPEC = Preprocessing(64)


def source(
    folder: Path, count: int = 4, targets: Targets | None = None, **options: object
) -> Source:
    images = catalog(folder, "own", count)
    chosen = SourceOptions.model_validate({"set": "own", **options})
    return Source(chosen, images, targets or Targets(), {})


def test_a_copy_of_a_held_out_image_leaves_training(tmp_path: Path) -> None:
    """Brighter, and squashed to another aspect: as sets do that others were made of."""
    one = source(tmp_path, targets=Targets(masks=()))
    one.catalog.table["boxes"] = None  # boxes and masks of another shape are refused
    images = prepare_rows(one, range(4), SPEC).images
    picture = open_radiograph(tmp_path, "own/02.png").pixels
    squashed = (cv2.resize(picture, (96, 60)) * 0.8 * 255).astype(np.uint8)
    for column in ("boxes", "box_labels", "mask_opacity", "mask_lungs"):
        one.catalog.table[column] = None  # drawn in another shape
    cv2.imwrite(str(tmp_path / "own" / "02.png"), squashed)
    twin = prepare_row(one, 2, SPEC)
    kept = without_copies([images[0], twin, images[3]], [images[1], images[2]])
    assert [k.image_id for k in kept] == ["own-00", "own-03"]


def test_an_unreadable_image_or_mask_is_listed_and_left_out(tmp_path: Path) -> None:
    one = source(tmp_path)
    (tmp_path / "own" / "01.png").write_bytes(b"\x89PNG\r\n\x1a\n, and then nothing")
    (tmp_path / "own" / "03.png").unlink()
    (tmp_path / "own" / "02-lungs.png").write_bytes(b"no mask")
    ready = prepare_rows(one, range(4), SPEC)
    assert [image.image_id for image in ready.images] == ["own-00"]
    assert ready.rows == [0]
    assert set(ready.unreadable) == {"own/own-01", "own/own-02", "own/own-03"}
    assert "03.png" in ready.unreadable["own/own-03"]


def test_a_mask_made_of_boxes_is_no_drawn_one(tmp_path: Path) -> None:
    """What stands as the truth on a run's page was drawn by somebody."""
    one = source(tmp_path, targets=Targets(masks=("opacity", "lungs")))
    drawn = [image for image in prepare_rows(one, range(4), SPEC).images if len(image.boxes)]
    assert drawn
    assert all(set(drawn_masks(image)) == {"opacity", "lungs"} for image in drawn)
    one.catalog.table["mask_opacity"] = None
    other = Source(one.options, one.catalog, one.targets, {})
    made = [image for image in prepare_rows(other, range(4), SPEC).images if len(image.boxes)]
    assert all((image.masks["opacity"] == 1).any() for image in made)
    assert all(set(drawn_masks(image)) == {"lungs"} for image in made)


def test_a_target_mask_is_the_union_of_the_sets_masks(tmp_path: Path) -> None:
    picture = phantom(1, 96, 96, opacities=2)
    one = source(tmp_path, masks={"opacity": ["ggo", "consolidation"], "lungs": []})
    half = np.zeros((96, 96), bool)
    half[:, :48] = True
    table = one.catalog.table
    for name, side in (("ggo", half), ("consolidation", ~half)):
        write_mask(picture.masks["opacity"] & side, tmp_path / f"{name}.png")
        table[f"mask_{name}"] = [f"{name}.png", None, f"{name}.png", f"{name}.png"]
    table.loc[2, "mask_consolidation"] = None  # one part unknown, the whole unknown
    write_png(picture, tmp_path / "own" / "00.png", bits=8)
    image = prepare_row(one, 0, SPEC)
    expected = image.frame.apply(picture.masks["opacity"].astype(np.float32)) >= 0.5
    np.testing.assert_array_equal(image.masks["opacity"] == 1, expected)
    assert "lungs" not in image.masks
    bare = replace(one, catalog=one.catalog)
    assert 255 in prepare_row(bare, 2, SPEC).masks["opacity"]  # the boxes' weak one instead


def test_of_a_weak_mask_only_what_is_marked_is_sure(tmp_path: Path) -> None:
    one = source(tmp_path, weak_masks=["opacity"])
    strong = source(tmp_path / "strong")
    weak = prepare_row(one, 1, SPEC).masks["opacity"]
    plain = prepare_row(strong, 1, SPEC)
    marked, lungs = plain.masks["opacity"] == 1, plain.masks["lungs"] == 1
    assert marked.any()
    assert (weak[marked] == 1).all()
    assert (weak[lungs & ~marked] == 255).all()
    assert weak[0, 0] == 0  # far from the lungs


def test_a_normal_image_has_no_opacity_and_an_unknown_one_no_boxes(tmp_path: Path) -> None:
    one = source(tmp_path)
    table = one.catalog.table
    for column in ("boxes", "box_labels"):
        table[column] = None
    normal, ill = prepare_row(one, 0, SPEC), prepare_row(one, 1, SPEC)
    assert normal.boxes is not None
    assert len(normal.boxes) == 0
    assert ill.boxes is None
    assert not normal.positive
    assert ill.positive


def test_an_image_with_a_box_beside_it_is_left_out_and_listed(tmp_path: Path) -> None:
    """Not in the padding, and not as an image without a box. One that leaves it partly stays."""
    one = source(tmp_path)
    width, height = one.catalog.frame(0)
    for row, x in ((0, width - 5.0), (1, width + 5.0)):
        one.catalog.table.at[row, "boxes"] = [x, 10.0, x + 10, height / 2]
        one.catalog.table.at[row, "box_labels"] = ["opacity"]
    ready = prepare_rows(one, [0, 1], SPEC)
    assert ready.rows == [0]
    assert ready.images[0].boxes is not None
    assert len(ready.images[0].boxes) == 1
    assert [*ready.unreadable] == ["own/own-01"]
    assert "no area in its image" in ready.unreadable["own/own-01"]


@pytest.mark.parametrize("class_", ["opacity", "not-normal"])
def test_the_positive_class_is_the_one_the_recipe_states(tmp_path: Path, class_: str) -> None:
    images = catalog(tmp_path, "own", 4)
    targets = Targets(positive=(class_,))
    one = Source(SourceOptions(set="own"), images, targets, {})
    flags = [prepare_row(one, row, SPEC).positive_class for row in range(4)]
    assert flags == [(v == 1) for v in images.table[f"label_{class_}"]]


def test_boxes_follow_an_image_that_was_resized_since(tmp_path: Path) -> None:
    """Drawn at 96 px; a copy of half the size has the same boxes in the square, one of another
    shape is left out."""
    one = source(tmp_path)
    before = prepare_row(one, 1, SPEC)
    picture = open_radiograph(tmp_path, "own/01.png").pixels
    for size, readable in (((48, 48), True), ((96, 60), False)):
        small = (cv2.resize(picture, size, interpolation=cv2.INTER_AREA) * 255).astype(np.uint8)
        cv2.imwrite(str(tmp_path / "own" / "01.png"), small)
        ready = prepare_rows(one, [1], SPEC)
        assert bool(ready.images) is readable
        if readable:
            np.testing.assert_allclose(ready.images[0].boxes, before.boxes, atol=1e-3)
        else:
            assert "another shape" in ready.unreadable["own/own-01"]
