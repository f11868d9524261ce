"""What labelling tools write, in their own places; what is not read is told."""

from __future__ import annotations

from pathlib import Path
from zipfile import ZipFile

import pytest

from helpers.trees import has_note, png, row, text
from hilum.core.errors import DataError
from hilum.data import load

LINE = "0 .5 .5 .2 .25\n"  # of 100 x 80 px: 40, 30 to 60, 50
VOC = """<annotation><filename>a.png</filename><object><name>opacity</name><bndbox><xmin>41</xmin>
<ymin>31</ymin><xmax>60</xmax><ymax>50</ymax></bndbox></object></annotation>"""


@pytest.mark.parametrize("names", ["classes.txt", "obj.names", "labels/classes.txt"])
def test_yolo_takes_its_names_from_a_list(tmp_path: Path, names: str) -> None:
    png(tmp_path / "images/a.png", 0, (100, 80))
    text(tmp_path / "labels/a.txt", LINE)
    text(tmp_path / names, "opacity\nnodule\n")
    assert row(load("yolo", tmp_path), "images/a")["boxes"] == pytest.approx([40, 30, 60, 50])


@pytest.mark.parametrize("folder", ["", "obj_train_data/"])
def test_yolo_labels_may_stand_beside_their_images(tmp_path: Path, folder: str) -> None:
    for number, name in enumerate("ab"):
        png(tmp_path / f"{folder}{name}.png", number, (100, 80))
    text(tmp_path / f"{folder}a.txt", LINE)
    text(tmp_path / "obj.names", "opacity\n")
    text(tmp_path / "train.txt", f"data/{folder}a.png\n")  # darknet's list is no label file
    catalog = load("yolo", tmp_path)
    assert row(catalog, f"{folder}a")["boxes"] == pytest.approx([40, 30, 60, 50])
    assert len(row(catalog, f"{folder}b")["boxes"]) == 0
    assert catalog.skips == {}


def test_voc_may_stand_beside_its_images(tmp_path: Path) -> None:
    png(tmp_path / "a.png", 0, (100, 80))
    text(tmp_path / "a.xml", VOC)
    assert row(load("voc", tmp_path), "a")["boxes"] == [40, 30, 60, 50]


def test_xml_of_another_tool_is_no_image_without_boxes(tmp_path: Path) -> None:
    png(tmp_path / "a.png")
    box = '<box label="opacity" xtl="1" ytl="1" xbr="9" ybr="9"/>'
    text(
        tmp_path / "annotations.xml",
        f'<annotations><image name="a.png">{box}</image></annotations>',
    )
    with pytest.raises(DataError, match="is <annotations>, not VOC's"):
        load("voc", tmp_path)


def test_a_folder_tells_of_archives_and_annotations_that_it_does_not_read(tmp_path: Path) -> None:
    png(tmp_path / "a.png")
    text(tmp_path / "a.json", "{}")
    with ZipFile(tmp_path / "train.zip", "w") as archive:
        archive.write(tmp_path / "a.png", "b.png")
    catalog = load("folder", tmp_path)
    assert has_note(catalog, "1 archives are not looked into: unpack those that hold images")
    assert has_note(catalog, "1 tables or annotations lie there and are not read")
    with ZipFile(tmp_path / "outer.zip", "w") as archive:  # as Kaggle packs them
        archive.write(tmp_path / "train.zip", "train.zip")
        archive.write(tmp_path / "a.png", "a.png")
    assert has_note(load("folder", tmp_path / "outer.zip"), "outer.zip!train.zip")


def test_a_kind_of_file_is_counted_once_however_often_a_reader_looks(tmp_path: Path) -> None:
    png(tmp_path / "images/a.png", 0, (100, 80))
    text(tmp_path / "images/b.bmp", "")
    text(tmp_path / "labels/a.txt", LINE)
    text(tmp_path / "data.yaml", "names: [opacity]\n")
    assert load("yolo", tmp_path).skips == {"unread-kind": 1}
