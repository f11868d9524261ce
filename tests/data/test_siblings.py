"""One fault in many places: what a table is read right in, COCO, VOC and YOLO are, or say so."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from helpers.sets import coco, picture, row, text, voc
from helpers.trees import has_note
from hilum.core.errors import DataError
from hilum.data import Catalog, load
from hilum.data.adapters.values import number_of, numbers
from hilum.data.split import person

XYWH = {"image_id": "f", "x": "x", "y": "y", "w": "w", "h": "h"}
PEOPLE = {"image_id": "f", "patient": "p"}


def table(root: Path, rows: str, columns: Mapping[str, str], **options: str) -> Catalog:
    for name in "abcd":
        picture(root / f"{name}.png", seed=ord(name))
    text(root / "t.csv", rows)
    return load("folder", root, table="t.csv", columns=dict(columns), **options)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (["1 024", "7"], [1024, 7]),
        (["1\u00a0024,5", "7"], [1024.5, 7]),
        (["1'024.5", "7"], [1024.5, 7]),
        (["1.024,5", "7,25"], [1024.5, 7.25]),
        (["1,024.5", "7"], [1024.5, 7]),
        (["1.234.567", "-2"], [1234567, -2]),
        (["12.345", "100.250"], [12.345, 100.25]),
        (["1.5", "1.024", "3"], [1.5, 1.024, 3]),
    ],
)
def test_numbers_with_marks_of_thousands(written: list[str], meant: list[float]) -> None:
    np.testing.assert_array_equal(numbers(pd.Series(written)), meant)
    np.testing.assert_array_equal([number_of(w) for w in written], meant)


@pytest.mark.parametrize("word", ["1.024", "1,024", "-1,024"])
def test_a_mark_that_may_be_of_thousands_is_no_number(word: str) -> None:
    with pytest.raises(DataError, match="decimal mark or one of thousands"):
        numbers(pd.Series([word, "950"]))
    assert "," not in word or np.isnan(number_of(word))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Müller", unicodedata.normalize("NFD", "Müller")),
        ("123", "123.0"),
        ("123", "123,0"),
        ("ab-1", "AB 01"),
        ("P１２", "p12"),
    ],
)
def test_one_patient_however_the_id_was_typed(tmp_path: Path, one: str, other: str) -> None:
    catalog = table(tmp_path, f'f;p\na;"{one}"\nb;"{other}"\nc;x\nd;y\n', PEOPLE)
    people = catalog.table["patient"].map(person)
    assert people.nunique() == 3
    assert person(one) == person(other) or one == "123"  # whose ".0" reading takes away


def test_a_column_that_stands_twice_is_one_where_both_say_the_same(tmp_path: Path) -> None:
    same = table(tmp_path, "f,p,p\na,1,1\nb,2,2\n", PEOPLE)
    assert has_note(same, "stand there twice: the first of each counts ('p')")
    with pytest.raises(DataError, match="two columns 'p', which differ: '2' and '3'"):
        table(tmp_path, "f,p,p\na,1,1\nb,2,3\n", PEOPLE)


def test_cells_that_were_merged_say_what_the_one_above_says(tmp_path: Path) -> None:
    rows = "f,p\na,P1\nb,\nc,P2\nd,\n"
    alone = table(tmp_path, rows, PEOPLE)
    assert alone.table["patient"].nunique() == 4
    assert has_note(alone, "2 rows have no 'p': if its cells were merged, --option merged=p")
    merged = table(tmp_path, rows, PEOPLE, merged="p")
    assert merged.table["patient"].tolist() == ["P1", "P1", "P2", "P2"]
    assert has_note(merged, "2 blank cells of 'p'")
    with pytest.raises(DataError, match="no column 'q'"):
        table(tmp_path, rows, PEOPLE, merged="q")


def test_a_cell_that_names_several_classes_has_each(tmp_path: Path) -> None:
    columns = {"image_id": "f", "class": "c"}
    catalog = table(tmp_path, "f,c\na,Mass|Effusion\nb,Effusion; \nc,none\nd,Mass\n", columns)
    assert catalog.label_names == ["Effusion", "Mass"]
    assert row(catalog, "a")[["label_Effusion", "label_Mass"]].tolist() == [1, 1]
    assert row(catalog, "b")[["label_Effusion", "label_Mass"]].tolist() == [1, 0]
    assert row(catalog, "c")[["label_Effusion", "label_Mass"]].isna().all()


def test_rows_that_say_that_nothing_is_there(tmp_path: Path) -> None:
    rows = "f,x,y,w,h,l\na,0,0,0,0,\nb,0,0,1,1,No Finding\nc,9,9,9,9,\nc,,,,,\nd,9,9,9,9,o\n"
    catalog = table(tmp_path, rows, XYWH | {"box_label": "l"})
    assert [len(row(catalog, i)["boxes"]) for i in "abcd"] == [0, 0, 4, 4]
    assert catalog.label_names == ["box", "o"]
    for words in ("0, 0, 0, 0", "1 images have rows with a box and a row", "no label: they are c"):
        assert has_note(catalog, words)


def _one_in_parts(root: Path, form: str) -> Catalog:
    """Three images with a box in pixels, of the first in parts of the image."""
    boxes = [[0.1, 0.1, 0.2, 0.3], [9, 9, 20, 20], [8, 8, 20, 20]]
    if form == "folder":
        rows = "".join(f"{n},{','.join(map(str, b))}\n" for n, b in zip("abc", boxes, strict=True))
        return table(root, "f,x,y,w,h\n" + rows, XYWH)
    for name in "abc":
        picture(root / f"JPEGImages/{name}.png", seed=ord(name))
    if form == "coco":
        images = [{"id": i, "file_name": f"{n}.png"} for i, n in enumerate("abc")]
        coco(root / "c.json", images, list(enumerate(boxes)))
    else:
        for name, (x, y, w, h) in zip("abc", boxes, strict=True):
            voc(root / f"Annotations/{name}.xml", (x + 1, y + 1, x + w, y + h))
    return load(form, root)


@pytest.mark.parametrize("form", ["folder", "coco", "voc"])
def test_one_box_in_parts_among_pixels_makes_its_image_unknown(tmp_path: Path, form: str) -> None:
    catalog = _one_in_parts(tmp_path, form)
    known = catalog.table["boxes"].notna()
    assert known.sum() == 2
    assert not known[catalog.table["image_id"].str.endswith("a")].any()
    assert catalog.skips["damaged-box"] == 1
    assert has_note(catalog, "parts of the image: no box of their images is known")


def _coco(root: Path, annotations: list[dict[str, Any]]) -> Catalog:
    for name in "ab":
        picture(root / f"{name}.png", 40, 30, seed=ord(name))
    images = [
        {"id": i, "file_name": f"{n}.png", "width": 40, "height": 30} for i, n in enumerate("ab")
    ]
    own = [{"id": i, "category_id": 1, **a} for i, a in enumerate(annotations, 1)]
    content = {"images": images, "categories": [{"id": 1, "name": "o"}], "annotations": own}
    text(root / "c.json", json.dumps(content))
    return load("coco", root)


def test_annotations_that_name_their_image_by_its_file_are_its(tmp_path: Path) -> None:
    named = [{"image_id": "a.png", "bbox": [5, 5, 9, 9]}, {"image_id": "b", "bbox": [6, 6, 9, 9]}]
    catalog = _coco(tmp_path, named)
    assert [row(catalog, i)["boxes"] for i in "ab"] == [[5, 5, 14, 14], [6, 6, 15, 15]]
    assert not catalog.skips


def test_an_annotation_without_a_box_has_the_one_around_its_segmentation(tmp_path: Path) -> None:
    outline = [[5, 6, 15, 6, 15, 26, 5, 26]]
    catalog = _coco(tmp_path, [{"image_id": 0, "segmentation": outline}])
    assert row(catalog, "a")["boxes"] == [5, 6, 15, 26]
    assert has_note(catalog, "1 annotations have a segmentation and no box")


def test_where_box_and_segmentation_differ_neither_is_known(tmp_path: Path) -> None:
    mask = np.zeros((30, 40), bool)
    mask[6:26, 5:15] = True
    ends = np.flatnonzero(np.diff(mask.ravel().astype(int), prepend=0, append=0))  # row by row
    counts = np.diff(ends, prepend=0, append=mask.size).tolist()
    wrong = {"size": [30, 40], "counts": counts}
    catalog = _coco(tmp_path, [{"image_id": 0, "bbox": [5, 6, 10, 20], "segmentation": wrong}])
    assert row(catalog, "a")["boxes"] is None
    assert row(catalog, "a")["mask_o"] is None
    assert row(catalog, "b")["mask_o"] == ""
    assert catalog.skips["box-differs"] == 1


def test_names_of_yolo_and_voc_are_read_as_those_of_tables(tmp_path: Path) -> None:
    for name in "ab":
        picture(tmp_path / f"y/images/{name}.png", seed=ord(name))
    text(tmp_path / "y/labels/a.txt", "0 0,5 0,5 0,2 0,2\n1 .5 .5 .1 .1\n")
    text(tmp_path / "y/labels/b.txt", "")
    text(tmp_path / "y/classes.txt", "o \n o\n")
    yolo = load("yolo", tmp_path / "y")
    assert yolo.box_names == yolo.label_names == ["o"]
    assert len(row(yolo, "images/a")["boxes"]) == 8
    picture(tmp_path / "v/JPEGImages/a.png")
    voc(tmp_path / "v/Annotations/a.xml", ("5,5", 5, 20, 20), name="")
    named = load("voc", tmp_path / "v")
    assert row(named, "JPEGImages/a")["boxes"] == [4.5, 4, 20, 20]
    assert named.box_names == ["box"]
    assert has_note(named, "1 boxes have no label")


@pytest.mark.parametrize("stated", [False, True])
def test_boxes_of_a_table_are_of_turned_pictures_as_shown_unless_it_says_otherwise(
    tmp_path: Path, stated: bool
) -> None:
    for name in "ab":
        picture(tmp_path / f"{name}.jpg", 40, 100, seed=ord(name), turned=6)
    # Shown, 40 wide and 100 high; stored, 100 wide and 40 high.
    boxes = ["a,10,26,30,10,100,40\n", "b,60,2,30,10,100,40\n"] if stated else ["a,4,10,9,60,,\n"]
    text(tmp_path / "t.csv", "f,x,y,w,h,W,H\n" + "".join(boxes))
    columns = XYWH | ({"width": "W", "height": "H"} if stated else {})
    catalog = load("folder", tmp_path, table="t.csv", columns=columns)
    assert row(catalog, "a")[["width", "height"]].tolist() == [40, 100]
    assert row(catalog, "a")["boxes"] == ([4, 10, 14, 40] if stated else [4, 10, 13, 70])
    words = "drawn unturned and are turned along" if stated else "annotated as they are shown"
    assert has_note(catalog, f"2 images are turned by EXIF{', their' if stated else ':'}")
    assert has_note(catalog, words)


def test_a_table_that_states_another_shape_than_the_file_is_told(tmp_path: Path) -> None:
    columns = XYWH | {"width": "W", "height": "H"}
    rows = "f,x,y,w,h,W,H\na,9,9,9,9,50,50\nb,9,9,9,9,100,50\n"
    catalog = table(tmp_path, rows, columns)
    assert row(catalog, "a")[["width", "height"]].tolist() == [50, 50]  # a smaller copy
    assert catalog.skips["wrong-shape"] == 1
