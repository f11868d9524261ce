"""Annotations come back as they went out, exactly or to the stated rounding."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from hilum.core.errors import ConfigError, DataError
from hilum.data import Catalog, load
from hilum.data.catalog import build
from hilum.data.convert import convert, mask_of_outlines, outlines
from hilum.data.phantom import phantom, write_mask, write_png
from hilum.data.pixels import open_mask


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    root = tmp_path / "source"
    rows = []
    for seed, (width, height) in enumerate([(96, 64), (64, 80), (70, 70), (64, 64)]):
        made = phantom(seed, width, height, opacities=seed)
        write_png(made, root / f"images/train/i{seed}.png", 8)
        write_mask(made.masks["opacity"], root / f"m{seed}.png")
        boxes = (made.boxes_px + 0.3).ravel().tolist() if seed < 3 else None
        rows.append(
            {
                "image_id": f"i{seed}",
                "path": f"images/train/i{seed}.png",
                "patient": f"p{seed // 2}",
                "split": "train",
                "width": width,
                "height": height,
                "boxes": boxes,
                "box_labels": None if boxes is None else ["opacity", "nodule"][:seed],
                "mask_opacity": f"m{seed}.png",
            }
        )
    return build("phantoms", pd.DataFrame(rows), root)


@pytest.mark.parametrize(("form", "grown"), [("coco", 0.0), ("yolo", 0.0), ("voc", 1.0)])
def test_boxes_return(catalog: Catalog, tmp_path: Path, form: str, grown: float) -> None:
    out = tmp_path / form
    done = convert(catalog, form, out)
    assert (done.images, done.left_out) == (3, 1)
    (out / "images").symlink_to(catalog.root / "images")  # YOLO's sizes come from the pictures
    again = load(form, out)
    for i in range(3):
        want, got = catalog.boxes(i), again.boxes(_row(again, f"i{i}"))
        assert want is not None
        assert got is not None
        assert got[1] == want[1]
        outwards = (want[0] - got[0]) * [1, 1, -1, -1]
        assert (outwards >= -1e-4).all()
        assert (outwards < max(grown, 1e-4)).all()
    if form != "yolo":
        assert again.table["patient"][_row(again, "i2")] == "p1"


def test_coco_ids_start_at_1(catalog: Catalog, tmp_path: Path) -> None:
    convert(catalog, "coco", tmp_path / "coco")
    content = json.loads((tmp_path / "coco/annotations/instances_train.json").read_text())
    for kind in ("images", "annotations", "categories"):
        ids = [entry["id"] for entry in content[kind]]
        assert ids == list(range(1, len(ids) + 1))
    assert content["categories"][0]["name"] == "nodule"


def test_masks_return_through_run_lengths_and_pictures(catalog: Catalog, tmp_path: Path) -> None:
    convert(catalog, "masks", tmp_path / "masks", "opacity")
    convert(catalog, "rle", tmp_path / "rle", "opacity")
    rows = pd.read_csv(tmp_path / "rle/train-rle.csv").set_index("ImageId")["EncodedPixels"]
    for row in catalog.table.itertuples():
        want = open_mask(catalog.root, row.mask_opacity, row.height, row.width)
        picture = open_mask(tmp_path / "masks", f"{row.image_id}.png", row.height, row.width)
        text = f"rle:{row.height}x{row.width}:{rows[row.image_id]}"
        np.testing.assert_array_equal(picture, want)
        np.testing.assert_array_equal(open_mask(Path(), text, row.height, row.width), want)


def test_outlines_return_exactly_but_fill_holes(catalog: Catalog, tmp_path: Path) -> None:
    convert(catalog, "yolo-segments", tmp_path / "yolo", "opacity")
    for row in catalog.table.itertuples():
        mask = open_mask(catalog.root, row.mask_opacity, row.height, row.width)
        lines = (tmp_path / f"yolo/labels/train/{row.image_id}.txt").read_text().splitlines()
        size = np.array([row.width, row.height])
        pieces = [np.array(ln.split()[1:], float).reshape(-1, 2) * size for ln in lines]
        back = mask_of_outlines(pieces, row.height, row.width)
        assert (back | mask).sum() == back.sum()
        assert (back & ~mask).sum() <= 3
    ring = np.ones((5, 5), bool)
    ring[2, 2] = False
    assert mask_of_outlines(outlines(ring), 5, 5).all()


def test_what_cannot_be_converted_says_why(catalog: Catalog, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="known: coco, voc"):
        convert(catalog, "xls", tmp_path / "x")
    with pytest.raises(ConfigError, match="not empty"):
        convert(catalog, "coco", catalog.root)
    with pytest.raises(DataError, match="no mask 'lungs'; it has: opacity"):
        convert(catalog, "rle", tmp_path / "x", "lungs")
    unsized = Catalog("x", catalog.table.assign(width=0), catalog.root)
    with pytest.raises(DataError, match="no known size"):
        convert(unsized, "coco", tmp_path / "x")


def test_command(catalog: Catalog, tmp_path: Path) -> None:
    from hilum.cli.main import app

    catalog.save(tmp_path / "c.parquet")
    words = ["data", "convert", str(tmp_path / "c.parquet"), "--to", "voc"]
    result = CliRunner().invoke(app, [*words, "--out", str(tmp_path / "voc")])
    assert result.exit_code == 0, result.output
    assert "3 images" in result.stdout
    assert "1 without annotation" in result.stdout


def _row(catalog: Catalog, image: str) -> int:
    return int(np.flatnonzero(catalog.table["image_id"] == image)[0])
