"""Annotations come back as they went out, exactly or to the stated rounding."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from hilum.core.errors import ConfigError, DataError
from hilum.data import Catalog, load
from hilum.data.box_masks import mask_of_boxes
from hilum.data.catalog import build
from hilum.data.convert import convert
from hilum.data.formats.polygons import coco_counts, mask_of_coco, mask_of_polygons, polygons
from hilum.data.phantom.phantom import phantom, write_mask, write_png
from hilum.data.pixels import open_mask


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    root = tmp_path / "source"
    rows = []
    for seed, (width, height) in enumerate([(96, 64), (64, 80), (70, 70), (64, 64)]):
        image = phantom(seed, width, height, opacities=seed)
        write_png(image, root / f"images/train/i{seed}.png", 8)
        write_mask(image.masks["opacity"], root / f"m{seed}.png")
        boxes = (image.boxes_px + 0.3).ravel().tolist() if seed < 3 else None
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
    (out / "images").symlink_to(catalog.root / "images")  # YOLO's sizes come from the images
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


def test_masks_return_through_run_lengths_and_images(catalog: Catalog, tmp_path: Path) -> None:
    convert(catalog, "masks", tmp_path / "masks", "opacity")
    convert(catalog, "rle", tmp_path / "rle", "opacity")
    rows = pd.read_csv(tmp_path / "rle/train-rle.csv").set_index("ImageId")["EncodedPixels"]
    for row in catalog.table.itertuples():
        want = open_mask(catalog.root, row.mask_opacity, row.height, row.width)
        picture = open_mask(tmp_path / "masks", f"{row.image_id}.png", row.height, row.width)
        text = f"rle:{row.height}x{row.width}:{rows[row.image_id]}"
        np.testing.assert_array_equal(picture, want)
        np.testing.assert_array_equal(open_mask(Path(), text, row.height, row.width), want)


def test_polygons_return_exactly_but_fill_holes(catalog: Catalog, tmp_path: Path) -> None:
    convert(catalog, "yolo-segments", tmp_path / "yolo", "opacity")
    for row in catalog.table.itertuples():
        mask = open_mask(catalog.root, row.mask_opacity, row.height, row.width)
        lines = (tmp_path / f"yolo/labels/train/{row.image_id}.txt").read_text().splitlines()
        size = np.array([row.width, row.height])
        pieces = [np.array(ln.split()[1:], float).reshape(-1, 2) * size for ln in lines]
        back = mask_of_polygons(pieces, row.height, row.width)
        assert (back | mask).sum() == back.sum()
        assert (back & ~mask).sum() <= 3
    ring = np.ones((5, 5), bool)
    ring[2, 2] = False
    assert mask_of_polygons(polygons(ring), 5, 5).all()


def test_masks_return_through_the_adapters(catalog: Catalog, tmp_path: Path) -> None:
    """COCO, run lengths and mask images exactly; YOLO's polygons fill the few holes."""
    for form in ("coco-segments", "yolo-segments", "rle", "masks"):
        convert(catalog, form, tmp_path / form, "opacity")
    (tmp_path / "yolo-segments/images").symlink_to(catalog.root / "images")
    for row in catalog.table.itertuples():
        write_png(
            phantom(0, row.width, row.height), tmp_path / f"masks/images/{row.image_id}.png", 8
        )
    mapping = {"image_id": "image_id", "mask_opacity": "mask"}
    images = {
        "coco-segments": load("coco", tmp_path / "coco-segments"),
        "yolo-segments": load("yolo", tmp_path / "yolo-segments"),
        "rle": load("siim-acr", tmp_path / "rle"),
        "masks": load(
            "folder", tmp_path / "masks", folder="images", table="masks.csv", columns=mapping
        ),
    }
    for form, again in images.items():
        column = "mask_pneumothorax" if form == "rle" else "mask_opacity"
        assert len(again) == len(catalog)
        for row in catalog.table.itertuples():
            size = row.height, row.width
            want = open_mask(catalog.root, row.mask_opacity, *size)
            reference = again.table[column][_row(again, row.image_id)]
            got = open_mask(again.root, reference, *size)
            assert not (want & ~got).any(), form
            assert (got & ~want).sum() <= (3 if form == "yolo-segments" else 0), form


def test_masks_of_boxes_return_as_the_boxes(tmp_path: Path) -> None:
    """Apart, in whole pixels: the pieces of the mask are the boxes, by images and run lengths."""
    boxes = np.array([[3, 5, 20, 30], [30, 2, 44, 12], [0, 40, 8, 48]], float)
    made = phantom(1, 48, 48)
    for name in "abc":
        write_png(made, tmp_path / f"set/{name}.png", 8)
    row = {
        **{"image_id": "a", "path": "a.png", "patient": "p", "width": 48, "height": 48},
        **{"boxes": boxes.ravel().tolist(), "box_labels": ["opacity", "nodule", "opacity"]},
    }
    empty = row | {"image_id": "b", "path": "b.png", "boxes": [], "box_labels": []}
    unknown = row | {"image_id": "c", "path": "c.png", "boxes": None, "box_labels": None}
    catalog = build("own", pd.DataFrame([row, empty, unknown]), tmp_path / "set")
    for label, want in (("", boxes), ("opacity", boxes[[0, 2]])):
        out = tmp_path / f"masks-{label}"
        done = convert(catalog, "masks", out, label, from_boxes=True)
        assert (done.images, done.left_out) == (2, 1)
        convert(catalog, "rle", tmp_path / f"rle-{label}", label, from_boxes=True)
        runs = load("siim-acr", tmp_path / f"rle-{label}")
        text = runs.table["mask_pneumothorax"][_row(runs, "a")]
        for mask in (open_mask(out, "a.png", 48, 48), open_mask(Path(), text, 48, 48)):
            pieces = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)[2][1:]
            found = {tuple(map(int, (x, y, x + w, y + h))) for x, y, w, h, _ in pieces}
            assert found == {tuple(map(int, box)) for box in want}
        assert not open_mask(out, "b.png", 48, 48).any()
    convert(catalog, "coco-segments", tmp_path / "coco", "opacity", from_boxes=True)
    names = {
        c["name"]
        for f in (tmp_path / "coco").rglob("*.json")
        for c in json.loads(f.read_text())["categories"]
    }
    assert names == {"opacity"}
    with pytest.raises(
        DataError, match="no box is called 'effusion'; name one of: nodule, opacity"
    ):
        convert(catalog, "masks", tmp_path / "x", "effusion", from_boxes=True)
    with pytest.raises(ConfigError, match="masks of boxes belong to"):
        convert(catalog, "voc", tmp_path / "x", from_boxes=True)


def test_a_pixel_is_in_a_box_where_its_centre_is() -> None:
    mask = mask_of_boxes([[0.4, -3, 2.6, 1.5], [9, 9, 12, 12]], 4, 5)
    want = np.zeros((4, 5), bool)
    want[0:1, 0:3] = True  # centres .5 to 2.5, and .5; 1.5 is the edge
    np.testing.assert_array_equal(mask, want)


@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")  # inside pycocotools
def test_coco_run_lengths_are_those_of_the_reference() -> None:
    """Both codings and polygons, against pycocotools."""
    reference = pytest.importorskip("pycocotools.mask")
    rng = np.random.default_rng(0)
    for _ in range(40):
        h, w = rng.integers(1, 40, 2).tolist()
        mask = rng.random((h, w)) < rng.choice([0.0, 0.1, 0.5, 1.0])
        coded = reference.encode(np.asfortranarray(mask.astype(np.uint8)))
        assert reference.frPyObjects(coco_counts(mask), h, w)["counts"] == coded["counts"]
        text = coded | {"counts": coded["counts"].decode()}
        for segmentation in (text, coco_counts(mask)):
            np.testing.assert_array_equal(mask_of_coco(segmentation, h, w), mask)
    polygons = [[2.5, 2, 30, 4, 25, 28.25], [1, 20, 9, 22, 4, 31]]
    whole = reference.merge(reference.frPyObjects(polygons, 32, 40))
    np.testing.assert_array_equal(mask_of_coco(polygons, 32, 40), reference.decode(whole) > 0)


@pytest.mark.parametrize(
    "segmentation",
    [
        *([], [[]], [[1, 2, 3, 4]], [[1, 2, 3, 4, 5, float("nan")]], [[0, 0, 1e12, 0, 5, 5]]),
        *("text", [["a"]], {"counts": [5]}, {"counts": [-1, 10]}, {"counts": "é"}, {}),
        *({"counts": "o" * 50}, {"counts": [9], "size": [9, 9]}, {"counts": [9, "1"]}, None),
    ],
)
def test_damaged_segmentations_are_refused(segmentation: object) -> None:
    with pytest.raises(DataError):
        mask_of_coco(segmentation, 3, 3)


def test_a_damaged_segmentation_makes_its_mask_unknown(tmp_path: Path) -> None:
    content = {
        "images": [{"id": i, "file_name": f"{i}.png", "width": 4, "height": 3} for i in (1, 2, 3)],
        "categories": [{"id": 1, "name": "opacity"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 1, 3],
             "segmentation": {"counts": [0, 3, 9], "size": [3, 4]}},
            {"id": 2, "image_id": 2, "category_id": 1, "bbox": [0, 0, 1, 1], "segmentation": [[1]]},
            {"id": 3, "image_id": 2, "category_id": 1, "bbox": "none"},
        ],
    }  # fmt: skip
    (tmp_path / "a.json").write_text(json.dumps(content))
    catalog = load("coco", tmp_path)
    assert catalog.table["mask_opacity"].tolist() == ["rle:3x4:0 3", None, ""]
    assert any("1 masks have a missing, damaged" in note for note in catalog.notes)
    assert any("1 boxes with NaN" in note for note in catalog.notes)


def test_ids_that_would_share_a_file_do_not(tmp_path: Path) -> None:
    from hilum.data.formats.file_names import file_names

    ids = ["a/b", "a__b", "A__b", "..", "x:y", "plain"]
    names = file_names(ids)
    assert len({name.lower() for name in names.values()}) == len(ids)
    assert names["plain"] == "plain"
    assert not any(set(name) & set("/:\\") or name in ("", ".", "..") for name in names.values())


def test_what_cannot_be_converted_says_why(catalog: Catalog, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="known: coco, voc"):
        convert(catalog, "xls", tmp_path / "x")
    with pytest.raises(ConfigError, match="not empty"):
        convert(catalog, "coco", catalog.root)
    with pytest.raises(DataError, match="no mask 'lungs'; name one of: opacity"):
        convert(catalog, "rle", tmp_path / "x", "lungs")
    unsized = Catalog("x", catalog.table.assign(width=0, path=""), catalog.root)
    with pytest.raises(DataError, match="no known size"):
        convert(unsized, "coco", tmp_path / "x")


def test_command(catalog: Catalog, tmp_path: Path) -> None:
    from hilum.cli.main import app

    gone = catalog.table.iloc[[0]].assign(image_id="gone", path="")
    table = pd.concat([catalog.table, gone], ignore_index=True)
    Catalog("x", table, catalog.root).save(tmp_path / "c.parquet")
    words = ["data", "convert", str(tmp_path / "c.parquet"), "--to", "voc"]
    result = CliRunner().invoke(app, [*words, "--out", str(tmp_path / "voc")])
    assert result.exit_code == 0, result.output
    assert "3 images" in result.stdout
    assert "1 without annotation, 1 without file" in result.stdout


def _row(catalog: Catalog, image: str) -> int:
    return int(np.flatnonzero(catalog.table["image_id"] == image)[0])
