"""Cells that users write: read rightly, named, or counted; never a silent 0 or NaN."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from helpers.sets import coco, picture, row, text, voc
from hilum.core.errors import DataError
from hilum.data import Catalog, load
from hilum.data.adapters.source import Source
from hilum.data.adapters.values import age_years, ages, sexes, split_of, text_of

MAPPING = {
    "image_id": "file",
    "patient": "pid",
    "label_opacity": "y",
    "age": "age",
    "sex": "sex",
    "split": "part",
}
HEAD = "file,pid,y,age,sex,part\n"


def folder(root: Path, rows: str, **change: str) -> Catalog:
    for name in "abcd":
        picture(root / f"{name}.png", seed=ord(name))
    text(root / "t.csv", HEAD + rows)
    return load("folder", root, table="t.csv", columns=MAPPING | change)


@pytest.mark.parametrize(
    ("yes", "no"),
    [
        ("1", "0"),
        ("True", "False"),
        ("yes", "no"),
        ("Y", "N"),
        ("positive", "Negative"),
        ("1.0", "0.0"),
        ("1.00", "0."),
        (" TRUE ", " false "),
        ("present", "absent"),
    ],
)
def test_labels_as_people_write_them(tmp_path: Path, yes: str, no: str) -> None:
    rows = f"a.png,p1,{yes},,,\nb.png,p2,{no},,,\nc.png,p3,,,,\nd.png,p4,nan,,,\n"
    labels = folder(tmp_path, rows).table["label_opacity"]
    np.testing.assert_array_equal(labels, [1, 0, np.nan, np.nan])


@pytest.mark.parametrize("word", ["perhaps", "-1", "2", "0.5", "opacity", "1;0"])
def test_a_label_that_means_nothing_is_an_error_that_names_it(tmp_path: Path, word: str) -> None:
    with pytest.raises(DataError, match=rf"'y' holds '{word}' \(first of image 'b.png'\)"):
        folder(tmp_path, f"a.png,p1,1,,,\nb.png,p2,{word},,,\n")


def test_labels_of_the_challenges_too(tmp_path: Path) -> None:
    head = "patientId,x,y,width,height,Target\n"
    text(tmp_path / "r/stage_2_train_labels.csv", head + "a,1,2,3,4,True\nb,,,,,no\n")
    rsna = load("rsna", tmp_path / "r")
    assert rsna.table["label_opacity"].tolist() == [1, 0]
    assert row(rsna, "a")["boxes"] == [1, 2, 4, 6]
    text(tmp_path / "r/stage_2_train_labels.csv", head + "a,1,2,3,4,maybe\n")
    with pytest.raises(DataError, match=r"'Target' holds 'maybe' \(first of image 'a'\)"):
        load("rsna", tmp_path / "r")
    head = "Path,Sex,Age,Frontal/Lateral,AP/PA,Edema,Mass\n"
    rows = "train/patient1/study1/v.jpg,Male,045Y,Frontal,AP,True,-1.0\n"
    text(tmp_path / "c/train.csv", head + rows)
    chexpert = load("chexpert", tmp_path / "c", uncertain="ones").table.iloc[0]
    assert (chexpert["label_edema"], chexpert["label_mass"]) == (1, 1)
    assert (chexpert["sex"], chexpert["age"]) == ("M", 45)
    text(tmp_path / "c/train.csv", head + rows.replace("True", "severe"))
    with pytest.raises(DataError, match="'Edema' holds 'severe'"):
        load("chexpert", tmp_path / "c")
    text(tmp_path / "s/train_image_level.csv", "id,boxes,label,StudyInstanceUID\ni_image,,,s\n")
    names = "Negative for Pneumonia,Typical Appearance,Indeterminate Appearance"
    study = f"id,{names},Atypical Appearance\ns_study,FALSE,TRUE,0,0\n"
    text(tmp_path / "s/train_study_level.csv", study)
    assert load("siim-covid", tmp_path / "s").table["study_typical"].tolist() == [1]
    text(tmp_path / "s/train_study_level.csv", study.replace("TRUE", "likely"))
    with pytest.raises(DataError, match="'Typical Appearance' holds 'likely'"):
        load("siim-covid", tmp_path / "s")


def test_ages_and_sexes_as_people_write_them(tmp_path: Path) -> None:
    rows = "a.png,p1,,045Y,Male,\nb.png,p2,,0,female,\nc.png,p3,,6 months,M,\nd.png,p4,,old,x,\n"
    catalog = folder(tmp_path, rows)
    np.testing.assert_allclose(catalog.table["age"], [45, 0, 0.5, np.nan])
    assert catalog.table["sex"].tolist() == ["M", "F", "M", ""]
    assert catalog.skips == {"age-unread": 1, "sex-unread": 1}
    assert any("no age" in note and "'old'" in note for note in catalog.notes)


@pytest.mark.parametrize(
    ("written", "years"),
    [
        ("045Y", 45),
        ("45", 45),
        ("45.5", 45.5),
        ("45 years", 45),
        ("45 y", 45),
        ("45yrs", 45),
        ("000Y", 0),
        ("018M", 1.5),
        ("6 mo", 0.5),
        ("90+", 90),
        (">89", 89),
        ("45 years old", 45),
        ("3 weeks", 3 / 52.18),
        ("014D", 14 / 365.25),
        ("45 yo", 45),
        ("1 day", 1 / 365.25),
    ],
)
def test_ages_in_years(written: str, years: float) -> None:
    assert age_years(written) == pytest.approx(years)


@pytest.mark.parametrize("written", ["", "Y", "-3", "414", "45-50", "adult", "1e3"])
def test_what_is_no_age(written: str) -> None:
    assert np.isnan(age_years(written))


def test_what_is_unread_is_counted(tmp_path: Path) -> None:
    source = Source("x", tmp_path)
    ages(pd.Series(["5", "", "adult", "414"]), source)
    sexes(pd.Series(["m", "unknown", "1", "2"]), source)
    assert source.skips == {"age-unread": 2, "sex-unread": 2}


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train2017", "train"),
        ("val2017", "validation"),
        ("valid", "validation"),
        ("dev", "validation"),
        ("Training", "train"),
        ("TEST", "test"),
        ("instances_val2014", "validation"),
        ("latest", ""),
        ("image_info_test-dev2017", "test"),
        ("trainval", ""),
        ("train_val", ""),
        ("fold-1", ""),
        ("contest", ""),
        ("test_set", "test"),
        ("device", ""),
        ("x.train", "train"),
    ],
)
def test_splits_by_any_name(name: str, split: str) -> None:
    assert split_of(name) == split


def test_splits_reach_the_catalog_by_one_name(tmp_path: Path) -> None:
    rows = "a.png,p1,,,,train2017\nb.png,p2,,,,Valid\nc.png,p3,,,,test\nd.png,p4,,,,fold-3\n"
    splits = folder(tmp_path / "f", rows).table["split"].tolist()
    assert splits == ["train", "validation", "test", "fold-3"]
    for name, split in (("train2017", "train"), ("dev", "validation"), ("valid", "validation")):
        root = tmp_path / name
        picture(root / f"{name}/a.png")
        coco(root / f"annotations/instances_{name}.json", [{"id": 1, "file_name": "a.png"}], [])
        assert load("coco", root).table["split"].tolist() == [split]
        picture(root / f"y/images/{name}/a.png")
        text(root / f"y/labels/{name}/a.txt", "0 .5 .5 .1 .1\n")
        text(root / "y/data.yaml", "names: [opacity]\n")
        assert load("yolo", root / "y").table["split"].tolist() == [split]
        picture(root / "v/JPEGImages/a.png")
        voc(root / "v/Annotations/a.xml", (1, 1, 2, 2))
        text(root / f"v/ImageSets/Main/{name}.txt", "a\n")
        assert load("voc", root / "v").table["split"].tolist() == [split]


def test_voc_names_with_blanks(tmp_path: Path) -> None:
    for name in ("patient 1", "patient 2", "c"):
        picture(tmp_path / f"JPEGImages/{name}.png", seed=len(name))
        voc(tmp_path / f"Annotations/{name}.xml", (1, 1, 2, 2))
    text(tmp_path / "ImageSets/Main/train.txt", "patient 1\nc.png\n")
    text(tmp_path / "ImageSets/Main/opacity_val.txt", "patient 2  1\nnobody -1\n")
    catalog = load("voc", tmp_path)
    splits = dict(zip(catalog.table["path"].str[11:], catalog.table["split"], strict=True))
    assert splits == {"patient 1.png": "train", "patient 2.png": "validation", "c.png": "train"}
    assert catalog.skips == {"list-unread": 1}
    text(tmp_path / "ImageSets/Main/test.txt", "c\n")
    with pytest.raises(DataError, match="'c' stands in the lists of"):
        load("voc", tmp_path)


def test_patient_0_and_age_0_are_values(tmp_path: Path) -> None:
    """Headers fill what is blank only, and 0 is not; nor is it in COCO."""
    from hilum.data.phantom.encode import dicom_bytes
    from hilum.data.phantom.phantom import phantom

    rows = []
    for i in range(4):
        data = dicom_bytes(phantom(i, 40, 40).pixels, seed=i, patient_id="other", study=i)
        (tmp_path / f"{i}.dcm").write_bytes(data)
        rows.append(f"{i}.dcm,{'' if i == 3 else 0},1,0,,\n")
    text(tmp_path / "t.csv", HEAD + "".join(rows))
    catalog = load("folder", tmp_path, table="t.csv", columns=MAPPING)
    assert catalog.table["patient"].tolist() == ["0", "0", "0", "other"]
    assert catalog.table["age"].tolist() == [0] * 4
    picture(tmp_path / "c/a.png")
    picture(tmp_path / "c/b.png", seed=1)
    entries = [
        {"id": 0, "file_name": "a.png", "patient": 0, "age": 0},
        {"id": 1, "file_name": "b.png"},
    ]
    coco(tmp_path / "c/x.json", entries, [(0, [5, 10, 20, 20])])
    images = load("coco", tmp_path / "c")
    assert row(images, "a")["patient"] == "0"
    assert row(images, "a")["age"] == 0
    assert row(images, "a")["boxes"] == [5, 10, 25, 30]
    assert row(images, "b")["patient"] == "image:b"


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (1, "1"),
        (1.0, "1"),
        ("1", "1"),
        (" p 1 ", "p 1"),
        (0, "0"),
        (None, ""),
        (np.nan, ""),
        ("nan", ""),
        ("N/A", ""),
        ("001", "001"),
        (1.5, "1.5"),
    ],
)
def test_names_as_text(value: object, name: str) -> None:
    assert text_of(value) == name


def test_ids_that_a_spreadsheet_made_numbers_are_one_patient(tmp_path: Path) -> None:
    catalog = folder(tmp_path, "a.png,1.0,,,,\nb.png,1,,,,\nc.png,01,,,,\nd.png,NaN,,,,\n")
    assert catalog.table["patient"].tolist() == ["1", "1", "01", "image:d"]


def test_tables_as_spreadsheets_write_them(tmp_path: Path) -> None:
    plain = "file,who,y\na.png,Müller,1\nb.png,Bär,0\n"
    forms = {
        "bom": ("\ufeff" + plain).encode(),
        "semicolon": plain.replace(",", ";").encode(),
        "tab": plain.replace(",", "\t").encode(),
        "utf-16": plain.encode("utf-16"),
        "latin": plain.encode("cp1252"),
        "windows": plain.replace("\n", "\r\n").encode(),
        "index": (",file,who,y\n0,a.png,Müller,1\n1,b.png,Bär,0\n").encode(),
        "blank lines": ("\n\n" + plain.replace("\n", "\n,,\n")).encode(),
        "quoted": b'file, who ,y\n"a.png","M\xc3\xbcller","1"\n"b.png","B\xc3\xa4r","0"\n',
        "commas at the end": plain.replace("\n", ",,\n").encode(),
    }
    for i, name in enumerate(("a.png", "b.png")):
        picture(tmp_path / name, seed=i)
    mapping = {"image_id": "file", "patient": "who", "label_opacity": "y"}
    for form, content in forms.items():
        (tmp_path / "t.csv").write_bytes(content)
        table = load("folder", tmp_path, table="t.csv", columns=mapping).table
        assert table["patient"].tolist() == ["Müller", "Bär"], form
        assert table["label_opacity"].tolist() == [1, 0], form


def test_rows_that_do_not_fit_their_header(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    text(tmp_path / "t.csv", "file,y\na.png,1,2\n")
    with pytest.raises(DataError, match="row 2 has 3 cells for 2 columns"):
        load("folder", tmp_path, table="t.csv", columns={"image_id": "file"})
    text(tmp_path / "t.csv", "file,y\na.png\n")
    mapping = {"image_id": "file", "label_opacity": "y"}
    catalog = load("folder", tmp_path, table="t.csv", columns=mapping)
    assert catalog.skips == {"row-cut": 1}
    text(tmp_path / "t.csv", "file,y\nnothing.png,1\n")
    with pytest.raises(DataError, match=r"no row of the table is of a file: 'nothing\.png'"):
        load("folder", tmp_path, table="t.csv", columns=mapping)
