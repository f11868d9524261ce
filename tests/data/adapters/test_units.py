"""Numbers in another unit than their format's are refused or unknown, never taken as they are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from helpers.sets import coco, picture, row, text, voc
from hilum.core.errors import DataError
from hilum.data import load


def yolo(root: Path, *lines: str) -> Path:
    for number, line in enumerate(lines):
        picture(root / f"images/{number}.png", 100, 50, seed=number)
        text(root / f"labels/{number}.txt", line)
    text(root / "data.yaml", "names: [opacity]\n")
    return root


@pytest.mark.parametrize(
    "line", ["0 50 25 20 10", "0 50 50 20 20", "0 40 20 60 20 50 30", "0 .5 .5 100 .2"]
)
def test_yolo_in_pixels_or_per_cent_is_refused(tmp_path: Path, line: str) -> None:
    with pytest.raises(DataError, match=r"needed: parts of the image.*pixels"):
        load("yolo", yolo(tmp_path, line, line, "0 .5 .5 .1 .1"))


def test_one_line_of_yolo_in_pixels_makes_its_image_unknown(tmp_path: Path) -> None:
    catalog = load("yolo", yolo(tmp_path, "0 50 25 20 10\n0 .5 .5 .1 .1", *["0 .5 .5 .1 .2"] * 2))
    assert row(catalog, "images/0")["boxes"] is None
    assert row(catalog, "images/1")["boxes"] == pytest.approx([45, 20, 55, 30])
    assert catalog.skips == {"damaged-box": 1}
    assert any("1 boxes hold numbers above 1.5" in note for note in catalog.notes)


def test_a_yolo_box_that_leaves_its_image_is_no_other_unit(tmp_path: Path) -> None:
    catalog = load("yolo", yolo(tmp_path, "0 .95 .5 .2 .2"))
    assert row(catalog, "images/0")["boxes"] == pytest.approx([85, 20, 105, 30])


def test_parts_of_an_image_are_refused_where_pixels_are_needed(tmp_path: Path) -> None:
    for name in ("coco/a.png", "voc/JPEGImages/a.png"):
        picture(tmp_path / name)
    coco(tmp_path / "coco/x.json", [{"id": 1, "file_name": "a.png"}], [(1, [0.1, 0.1, 0.2, 0.3])])
    voc(tmp_path / "voc/Annotations/a.xml", (0.1, 0.1, 0.3, 0.4))
    for form in ("coco", "voc"):
        with pytest.raises(DataError, match=r"parts of the image.*needed: pixels"):
            load(form, tmp_path / form)
    coco(tmp_path / "coco/x.json", [{"id": 1, "file_name": "a.png"}], [(1, [0, 0, 1, 1])])
    assert row(load("coco", tmp_path / "coco"), "a")["boxes"] == [0, 0, 1, 1]  # a true pixel


def test_voc_that_counts_from_0_is_told(tmp_path: Path) -> None:
    picture(tmp_path / "JPEGImages/a.png")
    for first, told in ((0, True), (1, False)):
        voc(tmp_path / "Annotations/a.xml", (first, 5, 20, 20))
        notes = load("voc", tmp_path).notes
        assert any("1 boxes begin at 0, VOC counts from 1" in n for n in notes) is told


def test_a_crowd_is_there_and_nobody_knows_where_each_is(tmp_path: Path) -> None:
    """COCO's iscrowd: a region of many objects, which its own evaluation leaves out."""
    for name in "abc":
        picture(tmp_path / f"{name}.png", seed=ord(name))
    entries = [{"id": i, "file_name": f"{n}.png"} for i, n in enumerate("abc", 1)]
    file = coco(tmp_path / "x.json", entries, [(1, [10, 10, 50, 50]), (2, [1, 1, 9, 9])])
    content = json.loads(file.read_text())
    content["annotations"][0] |= {
        "iscrowd": 1,
        "segmentation": {"size": [100, 100], "counts": [1010, 50, 8940]},
    }
    file.write_text(json.dumps(content))
    catalog = load("coco", tmp_path)
    assert [row(catalog, n)["boxes"] for n in "abc"] == [None, [1, 1, 10, 10], []]
    assert [row(catalog, n)["label_opacity"] for n in "abc"] == [1, 1, 0]
    assert catalog.skips["box-crowd"] == 1
