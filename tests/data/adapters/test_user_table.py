"""Tables as hospitals have them: a row a study, words of their own, beside a tool's export."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread

from helpers.trees import dicom, has_note, png, row, text
from hilum.core.errors import DataError
from hilum.data import load

EXAM = {"AccessionNumber": "exam", "label_opacity": "y"}


def exam(path: Path, seed: int, accession: str, date: str = "20240331", **options: Any) -> None:
    dicom(path, seed, **options)
    header = dcmread(path)
    header.AccessionNumber, header.StudyDate = accession, date
    header.save_as(path)


def coco(path: Path, names: list[str]) -> None:
    images = [
        {"id": i, "file_name": name, "width": 100, "height": 80} for i, name in enumerate(names)
    ]
    box = {"id": 1, "image_id": 0, "category_id": 3, "bbox": [40, 30, 20, 20]}
    content = {"images": images, "annotations": [box], "categories": [{"id": 3, "name": "opacity"}]}
    text(path, json.dumps(content))


def test_the_row_of_a_study_is_of_all_its_images(tmp_path: Path) -> None:
    exam(tmp_path / "1/IM-0001.dcm", 0, "CR17")
    exam(tmp_path / "1/IM-0002.dcm", 1, "CR17", view="LL")
    exam(tmp_path / "2/IM-0001.dcm", 2, "CR18")
    text(tmp_path / "labels.csv", "exam,y\nCR17,1\nCR18,0\nCR99,1\n")
    catalog = load("folder", tmp_path, table="labels.csv", columns=EXAM)
    assert [row(catalog, i)["label_opacity"] for i in ("1/IM-0001", "1/IM-0002", "2/IM-0001")] == [
        *(1, 1, 0)
    ]
    assert has_note(catalog, "1 images share a row")
    assert has_note(catalog, "1 rows of the table have no file (first: 'CR99')")


def test_an_id_of_a_header_is_found_in_another_case_where_it_is_one(tmp_path: Path) -> None:
    exam(tmp_path / "a.dcm", 0, "Ab-1")
    exam(tmp_path / "b.dcm", 1, "x2")
    exam(tmp_path / "c.dcm", 2, "X2")
    text(tmp_path / "labels.csv", "exam,y\nAB-1,1\nx2,0\nX2,1\n")
    catalog = load("folder", tmp_path, table="labels.csv", columns=EXAM)
    assert [row(catalog, i)["label_opacity"] for i in "abc"] == [1, 0, 1]
    assert has_note(catalog, "1 ids differ in case")


def test_patient_and_date_are_one_study_as_a_spreadsheet_writes_them(tmp_path: Path) -> None:
    exam(tmp_path / "a.dcm", 0, "", "20240331", patient_id="0017")
    exam(tmp_path / "b.dcm", 1, "", "20240401", patient_id="0017")
    text(tmp_path / "labels.csv", "pid;day;y\n17;31.03.2024;ja\n17;2024-04-01;nein\n")
    columns = {"PatientID": "pid", "StudyDate": "day", "label_opacity": "y"}
    catalog = load("folder", tmp_path, table="labels.csv", columns=columns)
    assert [row(catalog, i)["label_opacity"] for i in "ab"] == [1, 0]
    assert has_note(catalog, "lost their leading zeros")
    text(tmp_path / "labels.csv", "pid;day;y\n17;3/4/2024;ja\n")
    with pytest.raises(DataError, match="'3/4/2024'; needed: dates"):
        load("folder", tmp_path, table="labels.csv", columns=columns)


def test_a_number_that_two_ids_may_be_is_of_neither(tmp_path: Path) -> None:
    exam(tmp_path / "a.dcm", 0, "017")
    exam(tmp_path / "b.dcm", 1, "0017")
    text(tmp_path / "labels.csv", "exam,y\n17,1\n")
    with pytest.raises(DataError, match=r"'17' is none of 2 files.*column of AccessionNumber"):
        load("folder", tmp_path, table="labels.csv", columns=EXAM)


def test_a_file_without_the_element_is_of_no_row(tmp_path: Path) -> None:
    exam(tmp_path / "a.dcm", 0, "")
    exam(tmp_path / "b.dcm", 1, "CR1")
    text(tmp_path / "labels.csv", "exam,y\n,1\nCR1,0\n")
    catalog = load("folder", tmp_path, table="labels.csv", columns=EXAM)
    assert np.isnan(row(catalog, "a")["label_opacity"])
    assert row(catalog, "b")["label_opacity"] == 0


def test_boxes_are_of_one_image_and_not_of_a_study(tmp_path: Path) -> None:
    exam(tmp_path / "a.dcm", 0, "CR17")
    exam(tmp_path / "b.dcm", 1, "CR17")
    text(tmp_path / "boxes.csv", "exam,x1,y1,x2,y2\nCR17,1,2,3,4\n")
    columns = {"AccessionNumber": "exam", **{c: c for c in ("x1", "y1", "x2", "y2")}}
    with pytest.raises(DataError, match=r"'CR17' is of several images.*SOPInstanceUID"):
        load("folder", tmp_path, table="boxes.csv", columns=columns)


@pytest.mark.parametrize("more", [{}, {"image_id": "exam", "AccessionNumber": "exam"}])
def test_whose_row_it_is_must_be_said_once(tmp_path: Path, more: dict[str, str]) -> None:
    png(tmp_path / "a.png")
    text(tmp_path / "labels.csv", "exam,y\na,1\n")
    with pytest.raises(DataError, match=r"columns\.image_id=COLUMN.*AccessionNumber"):
        load("folder", tmp_path, table="labels.csv", columns={"label_opacity": "y", **more})


def test_words_for_unknown_are_the_users(tmp_path: Path) -> None:
    for number, name in enumerate("abc"):
        png(tmp_path / f"{name}.png", number)
    text(tmp_path / "labels.csv", "file,y\na,1\nb,0\nc,Fraglich\n")
    columns = {"image_id": "file", "label_opacity": "y"}
    with pytest.raises(DataError, match=r"'Fraglich'.*unknown=WORD.*class=y"):
        load("folder", tmp_path, table="labels.csv", columns=columns)
    catalog = load(
        "folder", tmp_path, table="labels.csv", columns=columns, unknown="unklar,fraglich"
    )
    assert np.isnan(row(catalog, "c")["label_opacity"])
    assert has_note(catalog, "1 cells of 'y' say that nobody knows")


def test_a_column_of_classes_is_exclusive_labels(tmp_path: Path) -> None:
    for number, name in enumerate("abc"):
        png(tmp_path / f"{name}.png", number)
    text(tmp_path / "labels.csv", "file,diagnosis\na,normal\nb,pneumonia\nc,\n")
    columns = {"image_id": "file", "class": "diagnosis"}
    table = load("folder", tmp_path, table="labels.csv", columns=columns).table
    labels = table.set_index("image_id")[["label_normal", "label_pneumonia"]]
    assert labels.loc["a"].tolist() == [1, 0]
    assert labels.loc["b"].tolist() == [0, 1]
    assert labels.loc["c"].isna().all()


def test_a_table_may_lie_where_we_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    png(tmp_path / "images/a.png")
    text(tmp_path / "labels.csv", "file,y\na,1\n")
    monkeypatch.chdir(tmp_path)
    columns = {"image_id": "file", "label_opacity": "y"}
    catalog = load("folder", Path("images"), table="labels.csv", columns=columns)
    assert row(catalog, "a")["label_opacity"] == 1
    with pytest.raises(DataError, match=r"no table gone\.csv, neither below images nor here"):
        load("folder", Path("images"), table="gone.csv", columns=columns)


@pytest.mark.parametrize("name", ["coco", "voc", "yolo"])
def test_patients_may_stand_in_a_table_beside_annotations(tmp_path: Path, name: str) -> None:
    for number, image in enumerate("ab"):
        png(tmp_path / f"images/{image}.png", number, (100, 80))
    if name == "coco":
        coco(tmp_path / "x.json", ["a.png", "b.png"])
    elif name == "voc":
        box = "<xmin>41</xmin><ymin>31</ymin><xmax>60</xmax><ymax>50</ymax>"
        found = f"<object><name>opacity</name><bndbox>{box}</bndbox></object>"
        size = "<size><width>100</width><height>80</height></size>"
        for image, content in (("a", found), ("b", "")):
            xml = f"<annotation><filename>{image}.png</filename>{size}{content}</annotation>"
            text(tmp_path / f"Annotations/{image}.xml", xml)
    else:
        text(tmp_path / "classes.txt", "opacity\n")
        text(tmp_path / "labels/a.txt", "0 .5 .5 .2 .25\n")
    text(tmp_path / "people.csv", "file,who,age\na.png,P1,40\nb.png,P1,\n")
    columns = {"image_id": "file", "patient": "who", "age": "age"}
    table = load(name, tmp_path, table="people.csv", columns=columns).table
    assert table["patient"].tolist() == ["P1", "P1"]
    assert table["age"].tolist() == pytest.approx([40, float("nan")], nan_ok=True)
    assert table["boxes"].map(list).tolist() == [pytest.approx([40, 30, 60, 50]), []]
    assert table["label_opacity"].tolist() == [1, 0]


def test_names_that_label_studio_gave_are_of_the_files_before(tmp_path: Path) -> None:
    for number, image in enumerate(("a", "b c")):
        png(tmp_path / f"png/{image}.png", number, (100, 80))
    names = ["../../data/media/upload/3/f4eecadf-a.png", "/data/local-files/?d=png%2Fb%20c.png"]
    coco(tmp_path / "x.json", names)
    catalog = load("coco", tmp_path)
    assert row(catalog, "png/a")["boxes"] == [40, 30, 60, 50]
    assert row(catalog, "png/b c")["label_opacity"] == 0


def test_label_files_that_label_studio_named_are_of_the_pictures_before(tmp_path: Path) -> None:
    png(tmp_path / "images/a.png", 0, (100, 80))
    text(tmp_path / "labels/f4eecadf-a.txt", "0 .5 .5 .2 .25\n")
    text(tmp_path / "classes.txt", "opacity\n")
    assert row(load("yolo", tmp_path), "images/a")["label_opacity"] == 1


@pytest.mark.parametrize("name", ["coco", "voc", "yolo"])
def test_annotations_of_none_of_the_files_are_an_error(tmp_path: Path, name: str) -> None:
    png(tmp_path / "images/other.png")
    coco(tmp_path / "x.json", ["a.png"])
    text(tmp_path / "Annotations/a.xml", "<annotation><filename>a.png</filename></annotation>")
    text(tmp_path / "labels/a.txt", "0 .5 .5 .2 .25\n")
    text(tmp_path / "classes.txt", "opacity\n")
    with pytest.raises(DataError, match=r"is none of 1 like 'images/other\.png'"):
        load(name, tmp_path)


def test_masks_beside_their_images_are_named_with_a_star(tmp_path: Path) -> None:
    for number, name in enumerate(("x/a", "x/a_mask", "b")):
        png(tmp_path / f"{name}.png", number)
    assert has_note(load("folder", tmp_path), r"if masks: --option masks.NAME=*_mask")
    catalog = load("folder", tmp_path, masks={"opacity": "*_mask"})
    assert len(catalog) == 2
    assert row(catalog, "x/a")["mask_opacity"] == "x/a_mask.png"
    assert row(catalog, "b")["mask_opacity"] is None
    assert has_note(catalog, "no_mask=empty")
    catalog = load("folder", tmp_path, masks={"opacity": "*_mask"}, no_mask="empty")
    assert row(catalog, "b")["mask_opacity"] == ""
