"""Boxes are read in the frame they were drawn in, and follow the pixels, or are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from helpers.sets import coco, row, stored, text, voc
from hilum.core.errors import DataError
from hilum.core.orientation import turn, turn_boxes
from hilum.data import Catalog, load, open_catalog
from hilum.data.adapters.headers import read_headers
from hilum.data.adapters.source import Source
from hilum.data.catalog import build
from hilum.data.check.files import file_facts
from hilum.data.check.findings import check
from hilum.data.convert import convert
from hilum.data.enrich import Enrichment, enrich
from hilum.data.frames import into, same_shape
from hilum.data.images import ImageFormat, finish, write_images
from hilum.data.pixels import open_mask, open_radiograph

BOX = [4, 10, 14, 40]  # in the image as it is shown, 40 wide and 100 high


def bright(width: int = 40, height: int = 100) -> Any:
    grey = np.full((height, width), 30, np.uint8)
    grey[BOX[1] : BOX[3], BOX[0] : BOX[2]] = 220
    return grey


def under(catalog: Catalog, image: int = 0) -> float:
    """Mean grey under the image's first box, in its own pixels."""
    radiograph = open_radiograph(catalog.root, catalog.table["path"].iat[image])
    result = catalog.boxes_in(image, radiograph.width, radiograph.height)
    assert result is not None
    x1, y1, x2, y2 = result[0][0].round().astype(int).tolist()
    return float(radiograph.pixels[y1:y2, x1:x2].mean())


@pytest.mark.parametrize("turned", range(1, 9))
def test_the_size_in_the_headers_is_that_of_the_pixels(tmp_path: Path, turned: int) -> None:
    for suffix in ("jpg", "png", "webp"):
        file = stored(tmp_path / f"a.{suffix}", bright(), turned)
        radiograph = open_radiograph(tmp_path, file.name)
        words = read_headers(pd.Series([file.name]), Source("x", tmp_path)).iloc[0]
        assert (
            (words["width"], words["height"]) == (radiograph.width, radiograph.height) == (40, 100)
        )
        assert radiograph.pixels[12:38, 6:12].mean() > 0.8
        assert words["turned"] == turned


@pytest.mark.parametrize("turned", range(1, 9))
def test_boxes_and_masks_turn_as_the_reader_turns_pixels(turned: int) -> None:
    mask = bright() > 100
    raw = {
        1: mask, 2: mask[:, ::-1], 3: mask[::-1, ::-1], 4: mask[::-1],
        5: mask.T, 6: np.rot90(mask), 7: mask[::-1, ::-1].T, 8: np.rot90(mask, -1),
    }[turned]  # fmt: skip
    np.testing.assert_array_equal(turn(raw, turned), mask)
    y, x = np.nonzero(raw)
    box = np.array([[x.min(), y.min(), x.max() + 1, y.max() + 1]], float)
    assert turn_boxes(box, turned, raw.shape[::-1]).tolist() == [BOX]


@pytest.mark.parametrize("turned", [3, 5, 6, 8])
def test_yolo_and_folder_see_the_image_as_shown(tmp_path: Path, turned: int) -> None:
    stored(tmp_path / "images/a.jpg", bright(), turned)
    text(tmp_path / "labels/a.txt", "0 .225 .25 .25 .3\n")
    text(tmp_path / "data.yaml", "names: [opacity]\n")
    catalog = load("yolo", tmp_path)
    own = catalog.table.iloc[0]
    assert (own["width"], own["height"]) == (40, 100)
    assert own["boxes"] == pytest.approx(BOX)
    assert under(catalog) > 0.8
    assert any("1 images are turned by EXIF" in note for note in catalog.notes)
    plain = load("folder", tmp_path).table.iloc[0]
    assert (plain["width"], plain["height"]) == (40, 100)


def drawn(kind: str, root: Path, size: tuple[int, int], box: list[int]) -> Catalog:
    """One annotated image in `root`/images, loaded."""
    if kind == "coco":
        x1, y1, x2, y2 = box
        entry = {"id": 1, "file_name": "a.jpg", "width": size[0], "height": size[1]}
        coco(root / "x.json", [entry], [(1, [x1, y1, x2 - x1, y2 - y1])])
    else:
        x1, y1, x2, y2 = box
        voc(root / "Annotations/a.xml", (x1 + 1, y1 + 1, x2, y2), size=size)
    return load(kind, root)


@pytest.mark.parametrize("kind", ["coco", "voc"])
def test_annotations_of_turned_images(tmp_path: Path, kind: str) -> None:
    """As shown, as stored where the boxes say so, unknown where nobody can tell."""
    stored(tmp_path / "images/a.jpg", bright(), 6)  # stored 100 wide, 40 high
    as_shown = drawn(kind, tmp_path, (40, 100), BOX)
    assert as_shown.table["boxes"].iat[0] == BOX
    raw = [60, 4, 90, 14]  # the same in the stored image
    fits_stored = drawn(kind, tmp_path, (100, 40), raw)
    assert fits_stored.table["boxes"].iat[0] == [26, 60, 36, 90]
    assert fits_stored.table[["width", "height"]].iloc[0].tolist() == [40, 100]
    tall = drawn(kind, tmp_path, (100, 40), [4, 10, 14, 90])  # leaves the stored one
    assert tall.table["boxes"].iat[0] == [4, 10, 14, 90]
    either = drawn(kind, tmp_path, (100, 40), BOX)
    assert either.table["boxes"].iat[0] is None
    assert either.skips == {"turn-unclear": 1}
    assert either.table["label_opacity"].iat[0] == 1


def test_one_clear_image_decides_for_its_set(tmp_path: Path) -> None:
    for name in "ab":
        stored(tmp_path / f"{name}.jpg", bright(), 6)
    entries = [
        {"id": i, "file_name": f"{n}.jpg", "width": 100, "height": 40} for i, n in enumerate("ab")
    ]
    coco(tmp_path / "x.json", entries, [(0, [60, 4, 30, 10]), (1, [4, 4, 10, 10])])
    catalog = load("coco", tmp_path)
    assert row(catalog, "b")["boxes"] == [26, 4, 36, 14]
    assert catalog.skips == {}


def test_segmentations_turn_with_their_picture(tmp_path: Path) -> None:
    from hilum.data.formats.polygons import coco_counts

    stored(tmp_path / "a.png", bright(), 6)
    drawn = np.rot90(bright() > 100)  # as stored
    beside = np.zeros_like(drawn)
    beside[:10, 80:95] = True  # in the stored frame alone, so that tells which is meant
    entry = {"id": 1, "file_name": "a.png", "width": 100, "height": 40}
    coco(tmp_path / "x.json", [entry], [(1, [10, 26, 30, 10]), (1, [80, 0, 15, 10])])
    content = json.loads((tmp_path / "x.json").read_text())
    for annotation, mask in zip(content["annotations"], (drawn, beside), strict=True):
        annotation["segmentation"] = coco_counts(np.ascontiguousarray(mask))
    text(tmp_path / "x.json", json.dumps(content))
    catalog = load("coco", tmp_path)
    mask = open_mask(catalog.root, catalog.table["mask_opacity"].iat[0], 100, 40)
    np.testing.assert_array_equal(mask, np.rot90(drawn | beside, -1))


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        ((1024, 1024), (512, 512), True),
        ((3000, 2001), (512, 342), True),
        ((3000, 2001), (512, 341), True),
        ((100, 40), (40, 100), False),
        ((1024, 1024), (512, 500), False),
        ((0, 0), (5, 5), False),
    ],
)
def test_shapes(a: tuple[int, int], b: tuple[int, int], same: bool) -> None:
    assert same_shape(a, b) == same_shape(b, a) == same


def test_boxes_go_into_pixels_of_the_same_shape_only() -> None:
    box = np.array([[200.0, 200, 600, 600]])
    assert into(box, (1024, 1024), (512, 512), "a").tolist() == [[100, 100, 300, 300]]
    assert into(box, (0, 0), (512, 512), "a") is box
    with pytest.raises(DataError, match="image 'a': its boxes were drawn in 1024×1024 px"):
        into(box, (1024, 1024), (512, 500), "a")


@pytest.fixture
def half(tmp_path: Path) -> Catalog:
    """Boxes drawn in 80 × 200, on copies of half that size; the last of another shape."""
    rows = []
    for i in range(4):
        stored(tmp_path / f"set/{i}.png", bright(40, 100 if i < 3 else 60))
        rows.append(
            {
                "image_id": f"{i}",
                "path": f"{i}.png",
                "patient": f"p{i}",
                "split": "train",
                "width": 80,
                "height": 200,
                "boxes": [float(2 * v) for v in BOX],
                "box_labels": ["opacity"],
                "label_opacity": float(i == 0),
                "mask_opacity": "rle:200x80:" + "20 60",
            }
        )
    return build("half", pd.DataFrame(rows), tmp_path / "set")


def test_every_consumer_scales_boxes_to_the_pixels_or_refuses(
    half: Catalog, tmp_path: Path
) -> None:
    assert under(half) > 0.8
    report = check(half, file_facts(half, tmp_path / "m.jsonl"))
    assert report.counts() == {"wrong-shape": 1, "wrong-size": 3, **_rest(report)}
    cleaned = report.cleaned()
    assert cleaned.table["boxes"].tolist() == [BOX] * 3
    assert cleaned.table[["width", "height"]].to_numpy().tolist() == [[40, 100]] * 3
    assert cleaned.skips == {"cleaned": 1}
    out = tmp_path / "out"
    copies, left = finish(half, list(write_images(half, ImageFormat(side=50), out)), out)
    assert left["image_id"].tolist() == ["3"]
    assert "another shape" in left["reason"].iat[0]
    assert copies.table["boxes"].iat[0] == [2, 5, 7, 20]
    np.testing.assert_allclose(copies.original_boxes(0)[0], [BOX])
    rich = enrich(cleaned_copy(cleaned, tmp_path), Enrichment("light", "opacity"), ImageFormat())
    assert len(rich) > 3
    for form in ("coco", "voc", "yolo"):
        with pytest.raises(DataError, match="image '3': its boxes were drawn in 80×200"):
            convert(half, form, tmp_path / "no")
        convert(half.where(half.table["image_id"] != "3"), form, tmp_path / form)
        (tmp_path / form / "images").symlink_to(half.root)
        again = load(form, tmp_path / form)
        known = again.table[again.table["boxes"].notna()]  # 3.png was not exported
        assert len(known) == 3
        assert known["boxes"].iat[0] == pytest.approx(BOX), form
        assert known["width"].tolist() == [40] * 3


def _rest(report: Any) -> dict[str, int]:
    own = report.counts()
    return {k: own[k] for k in own if k not in ("wrong-shape", "wrong-size")}


def cleaned_copy(catalog: Catalog, tmp_path: Path) -> Catalog:
    out = tmp_path / "rich"
    return finish(catalog, list(write_images(catalog, ImageFormat(), out)), out)[0]


def test_challenge_frames(tmp_path: Path) -> None:
    """RSNA's boxes are of 1024 px, whatever size the copies have."""
    from hilum.data.phantom.encode import dicom_bytes
    from hilum.data.phantom.phantom import phantom

    for i in range(2):
        file = tmp_path / f"stage_2_train_images/{i}.dcm"
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(dicom_bytes(phantom(i, 64, 64).pixels, seed=i))
    head = "patientId,x,y,width,height,Target\n"
    text(tmp_path / "stage_2_train_labels.csv", head + "0,100,200,300,400,1\n1,16,16,32,32,1\n")
    for headers in (False, True):
        catalog = load("rsna", tmp_path, headers=headers)
        assert catalog.boxes_in(0, 64, 64)[0].tolist() == [[6.25, 12.5, 25, 37.5]]
        assert catalog.boxes_in(1, 64, 64)[0].tolist() == [[1, 1, 3, 3]]


def test_command_refuses_what_does_not_fit(half: Catalog, tmp_path: Path) -> None:
    from hilum.cli.main import app

    half.save(tmp_path / "c.parquet")
    words = ["data", "check", str(tmp_path / "c.parquet"), "--out", str(tmp_path / "o"), "--fix"]
    result = CliRunner().invoke(app, [*words, "--json"])
    assert result.exit_code == 1
    assert json.loads(result.stdout)["problems"]["wrong-shape"] == 1
    assert open_catalog(tmp_path / "o/cleaned.parquet").table["boxes"].iat[0].tolist() == BOX
