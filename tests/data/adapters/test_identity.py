"""An image is its path under the root: never is another image taken for the one annotated."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from helpers.sets import coco, picture, row, text, voc
from hilum.core.errors import DataError
from hilum.data import load

RSNA = "patientId,x,y,width,height,Target\n"


def two(root: Path, *places: str) -> None:
    for seed, place in enumerate(places):
        picture(root / place, seed=seed)


@pytest.mark.parametrize("names", [("train/0001.png", "val/0001.png"), ("0001.png", "0001.png")])
def test_coco_images_of_one_name_in_two_folders_keep_their_boxes(
    tmp_path: Path, names: tuple[str, str]
) -> None:
    """With the folder in the name, and as COCO itself has it, with the split in the file's name."""
    two(tmp_path, "train/0001.png", "val/0001.png")
    for split, name, x in zip(("train", "val"), names, (5, 60), strict=True):
        file = tmp_path / f"annotations/instances_{split}2017.json"
        coco(file, [{"id": 1, "file_name": name}], [(1, [x, 10, 20, 20])])
    catalog = load("coco", tmp_path)
    assert len(catalog) == 2
    for split, folder, x in (("train", "train", 5), ("validation", "val", 60)):
        own = row(catalog, f"{folder}/0001")
        assert (own["path"], own["split"]) == (f"{folder}/0001.png", split)
        assert own["boxes"] == [x, 10, x + 20, 30]


def test_a_name_that_may_be_either_is_an_error_that_names_both(tmp_path: Path) -> None:
    two(tmp_path, "a/0001.png", "b/0001.png")
    coco(tmp_path / "x.json", [{"id": 1, "file_name": "0001.png"}], [(1, [5, 10, 20, 20])])
    text(tmp_path / "t.csv", "file,y\n0001,1\n")
    voc(tmp_path / "Annotations/0001.xml", (5, 10, 20, 20))
    mapping = {"image_id": "file", "label_opacity": "y"}
    for read in (
        lambda: load("coco", tmp_path),
        lambda: load("voc", tmp_path),
        lambda: load("folder", tmp_path, table="t.csv", columns=mapping),
    ):
        with pytest.raises(DataError, match=r"'a/0001.png' or 'b/0001.png'"):
            read()


def test_copies_of_one_file_are_no_riddle(tmp_path: Path) -> None:
    picture(tmp_path / "a/0001.png", seed=3)
    picture(tmp_path / "b/0001.png", seed=3)
    coco(tmp_path / "x.json", [{"id": 1, "file_name": "0001.png"}], [(1, [5, 10, 20, 20])])
    assert load("coco", tmp_path).table["path"].tolist() == ["a/0001.png"]


def test_a_missing_image_is_not_replaced_by_its_namesake(tmp_path: Path) -> None:
    """train/0001.png is there, val/0001.png is not: val's annotations have no file."""
    picture(tmp_path / "train/0001.png")
    names = [{"id": i, "file_name": f"{s}/0001.png"} for i, s in enumerate(("train", "val"))]
    coco(tmp_path / "x.json", names, [(0, [5, 10, 20, 20]), (1, [60, 10, 20, 20])])
    catalog = load("coco", tmp_path)
    assert row(catalog, "train/0001")["boxes"] == [5, 10, 25, 30]
    assert row(catalog, "val/0001")["path"] == ""
    assert catalog.skips == {"no-file": 1}
    text(tmp_path / "t.csv", "file,y\ntrain/0001.png,0\nval/0001.png,1\n")
    mapping = {"image_id": "file", "label_opacity": "y"}
    table = load("folder", tmp_path, table="t.csv", columns=mapping)
    assert table.table["label_opacity"].tolist() == [0]
    assert table.skips == {"no-file": 1}
    picture(tmp_path / "flat/0001.png")  # a flat copy of one folder is that folder's
    names = [{"id": 0, "file_name": "0001.png"}, {"id": 1, "file_name": "val/0001.png"}]
    coco(tmp_path / "flat/x.json", names, [(1, [60, 10, 20, 20])])
    assert row(load("coco", tmp_path / "flat"), "0001.png")["boxes"] == []


def test_voc_and_yolo_keep_the_tree(tmp_path: Path) -> None:
    for kind, folder in (("voc", "JPEGImages"), ("yolo", "images")):
        two(tmp_path / kind, *(f"{folder}/patient{p}/view1.png" for p in (1, 2)))
    for p in (1, 2):
        voc(tmp_path / f"voc/Annotations/patient{p}/view1.xml", (1, 1, 10 * p, 20))
        text(tmp_path / f"yolo/labels/patient{p}/view1.txt", f"0 .05 .1 {p / 10} .2\n")
    text(tmp_path / "yolo/data.yaml", "names: [opacity]\n")
    for kind, folder in (("voc", "JPEGImages"), ("yolo", "images")):
        catalog = load(kind, tmp_path / kind)
        for p in (1, 2):
            own = row(catalog, f"{folder}/patient{p}/view1")
            assert own["path"] == f"{folder}/patient{p}/view1.png"
            assert own["boxes"][2] - own["boxes"][0] == pytest.approx(10 * p)


def test_roboflow_s_folders_are_yolo_s(tmp_path: Path) -> None:
    two(tmp_path, "train/images/a.png", "valid/images/a.png")
    for part, x in (("train", 0.1), ("valid", 0.5)):
        text(tmp_path / f"{part}/labels/a.txt", f"0 {x} .5 .1 .1\n")
    text(tmp_path / "data.yaml", "names: [opacity]\n")
    catalog = load("yolo", tmp_path)
    assert row(catalog, "train/images/a")["boxes"] == pytest.approx([5, 45, 15, 55])
    assert row(catalog, "valid/images/a")["boxes"] == pytest.approx([45, 45, 55, 55])
    assert row(catalog, "valid/images/a")["split"] == "validation"


def test_files_of_one_stem_and_two_suffixes_are_told_apart(tmp_path: Path) -> None:
    two(tmp_path / "folder", "x/a.png", "x/a.jpg")
    text(tmp_path / "folder/t.csv", "file,y\nx/a.png,1\na.jpg,0\n")
    mapping = {"image_id": "file", "label_opacity": "y"}
    catalog = load("folder", tmp_path / "folder", table="t.csv", columns=mapping)
    assert catalog.table["image_id"].tolist() == ["x/a.jpg", "x/a.png"]
    assert catalog.table["label_opacity"].tolist() == [0, 1]
    two(tmp_path / "coco", "a.png", "a.jpg")
    names = [{"id": i, "file_name": f"a.{s}"} for i, s in enumerate(("png", "jpg"))]
    coco(tmp_path / "coco/x.json", names, [(0, [5, 10, 20, 20])])
    catalog = load("coco", tmp_path / "coco")
    assert row(catalog, "a.png")["label_opacity"] == 1
    assert row(catalog, "a.jpg")["label_opacity"] == 0
    two(tmp_path / "voc", "images/a.png", "images/a.jpg")
    voc(tmp_path / "voc/Annotations/a.xml", (5, 10, 20, 20), more="<filename>a.jpg</filename>")
    two(tmp_path / "yolo", "images/a.png", "images/a.jpg")
    text(tmp_path / "yolo/labels/a.txt", "0 .5 .5 .1 .1\n")
    text(tmp_path / "yolo/data.yaml", "names: [opacity]\n")
    for kind in ("voc", "yolo"):
        with pytest.raises(DataError, match=r"images/a\.(jpg|png)' or 'images/a\.(jpg|png)"):
            load(kind, tmp_path / kind)
    two(tmp_path / "cx", "train/patient1/study1/view1.png", "train/patient1/study1/view1.jpg")
    path = "CheXpert-v1.0/train/patient1/study1/view1.jpg"
    text(tmp_path / "cx/train.csv", f"Path,Sex,Age,Frontal/Lateral,AP/PA,Edema\n{path},,,,,1\n")
    catalog = load("chexpert", tmp_path / "cx")
    assert row(catalog, "train/patient1/study1/view1")["path"].endswith(".jpg")
    assert np.isnan(row(catalog, "train/patient1/study1/view1.png")["label_edema"])


def test_challenge_images_of_one_id_in_two_folders(tmp_path: Path) -> None:
    """Of RSNA's two stages the table's own; of SIIM-COVID's studies the row's own."""
    from hilum.data.phantom.encode import dicom_bytes
    from hilum.data.phantom.phantom import phantom

    def dicom(place: str, seed: int) -> None:
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_bytes(dicom_bytes(phantom(seed, 40, 40).pixels, seed=seed))

    dicom("rsna/stage_1_train_images/a.dcm", 1)
    dicom("rsna/stage_2_train_images/a.dcm", 2)
    text(tmp_path / "rsna/stage_2_train_labels.csv", RSNA + "a,1,2,3,4,1\n")
    catalog = load("rsna", tmp_path / "rsna")
    assert row(catalog, "a")["path"] == "stage_2_train_images/a.dcm"
    assert np.isnan(row(catalog, "stage_1_train_images/a")["label_opacity"])
    dicom("covid/train/s1/r/i.dcm", 3)
    dicom("covid/train/s2/r/i.dcm", 4)
    head = "id,boxes,label,StudyInstanceUID\n"
    text(tmp_path / "covid/train_image_level.csv", head + "i_image,,none 1 0 0 1 1,s2\n")
    catalog = load("siim-covid", tmp_path / "covid")
    assert row(catalog, "i")["path"] == "train/s2/r/i.dcm"
    dicom("vindr/train/x/v.dicom", 5)
    dicom("vindr/train/y/v.dicom", 6)
    head = "image_id,class_name,rad_id,x_min,y_min,x_max,y_max\n"
    text(tmp_path / "vindr/train.csv", head + "v,Mass,R1,1,2,3,4\n")
    dicom("acr/dicom-images-train/1/2/u.dcm", 7)
    dicom("acr/dicom-images-train/3/4/u.dcm", 8)
    text(tmp_path / "acr/train-rle.csv", "ImageId, EncodedPixels\nu, 0 2\n")
    for kind, name in (("vindr", "vindr"), ("siim-acr", "acr")):
        with pytest.raises(DataError, match=r"' or '"):
            load(kind, tmp_path / name)
    two(
        tmp_path / "nih", "images_001/images/00000001_000.png", "images_002/images/00000001_000.png"
    )
    head = "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,"
    head += "View Position\n"
    text(tmp_path / "nih/Data_Entry_2017.csv", head + "00000001_000.png,Mass,0,1,58,M,PA\n")
    with pytest.raises(DataError, match=r"' or '"):
        load("nih", tmp_path / "nih")


@pytest.mark.parametrize(
    ("own", "theirs"),
    [("1", 1), (1, "1"), (1.0, 1), ("001", 1), (1, "001"), ("00000001_000", "00000001_000")],
)
def test_coco_ids_as_text_and_as_numbers_are_one(
    tmp_path: Path, own: object, theirs: object
) -> None:
    picture(tmp_path / "a.png")
    coco(tmp_path / "x.json", [{"id": own, "file_name": "a.png"}], [(theirs, [5, 10, 20, 20])])
    catalog = load("coco", tmp_path)
    assert row(catalog, "a")["boxes"] == [5, 10, 25, 30]
    assert row(catalog, "a")["label_opacity"] == 1


def test_ids_and_names_that_stand_twice(tmp_path: Path) -> None:
    two(tmp_path, "a.png", "b.png")
    names = [{"id": 1, "file_name": "a.png"}, {"id": 1, "file_name": "b.png"}]
    coco(tmp_path / "x.json", names, [])
    with pytest.raises(DataError, match=r"id 1 stands for 'a.png' and for 'b.png'"):
        load("coco", tmp_path)
    names = [{"id": 1, "file_name": "a.png"}, {"id": "1", "file_name": "b.png"}]
    coco(tmp_path / "x.json", names, [])
    with pytest.raises(DataError, match=r"id '1' stands for"):
        load("coco", tmp_path)
    names = [{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": "a.png"}]
    coco(tmp_path / "x.json", names, [(1, [5, 10, 20, 20]), (2, [60, 10, 20, 20])])
    catalog = load("coco", tmp_path)
    assert row(catalog, "a")["boxes"] == [5, 10, 25, 30, 60, 10, 80, 30]
    coco(tmp_path / "instances_train.json", names[:1], [])
    coco(tmp_path / "instances_val.json", names[:1], [])
    (tmp_path / "x.json").unlink()
    with pytest.raises(
        DataError, match=r"'a.png' stands twice, with split 'train' and 'validation'"
    ):
        load("coco", tmp_path)


def test_annotations_without_files_of_one_name_are_two_images(tmp_path: Path) -> None:
    for split, x in (("train", 5), ("val", 60)):
        file = tmp_path / f"annotations/instances_{split}.json"
        coco(file, [{"id": 1, "file_name": "0001.png"}], [(1, [x, 10, 20, 20])])
    catalog = load("coco", tmp_path)
    assert sorted(b[0] for b in catalog.table["boxes"]) == [5, 60]


def test_rows_that_contradict_each_other_are_named(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    text(tmp_path / "t.csv", "file,y\na.png,1\na,0\n")
    mapping = {"image_id": "file", "label_opacity": "y"}
    with pytest.raises(DataError, match=r"'a.png' has two different values of label_opacity"):
        load("folder", tmp_path, table="t.csv", columns=mapping)
    text(tmp_path / "t.csv", "file,y\na.png,1\na,yes\n")
    catalog = load("folder", tmp_path, table="t.csv", columns=mapping)
    assert catalog.table["label_opacity"].tolist() == [1]
    assert any("1 rows repeat an image" in note for note in catalog.notes)


def test_names_from_windows_and_other_systems(tmp_path: Path) -> None:
    import unicodedata

    two(tmp_path, "sub dir/A.PNG", "sub dir/é.Jpg", "wow!.png", "ü.v1.2.png")
    names = [
        "sub dir\\a.png",
        "./sub dir/é.jpg",
        "wow!.png",
        unicodedata.normalize("NFD", "ü.v1.2"),
    ]
    text(tmp_path / "t.csv", "file;y\n" + "".join(f"{n};1\n" for n in names))
    mapping = {"image_id": "file", "label_opacity": "y"}
    catalog = load("folder", tmp_path, table="t.csv", columns=mapping)
    assert catalog.table["label_opacity"].tolist() == [1] * 4
    assert catalog.skips == {}
    entries = [{"id": i, "file_name": name} for i, name in enumerate(names)]
    coco(tmp_path / "x.json", entries, [(i, [5, 10, 20, 20]) for i in range(4)])
    assert load("coco", tmp_path).table["label_opacity"].tolist() == [1] * 4


def test_what_systems_leave_behind_is_no_image(tmp_path: Path) -> None:
    two(tmp_path, "a.png", "._a.png", "__MACOSX/a.png", ".cache/a.png", "@eaDir/a.png")
    coco(tmp_path / "x.json", [{"id": 1, "file_name": "a.png"}], [(1, [5, 10, 20, 20])])
    for kind in ("coco", "folder"):
        assert load(kind, tmp_path).table["path"].tolist() == ["a.png"]


def test_linked_folders_are_read_once(tmp_path: Path) -> None:
    picture(tmp_path / "store/a.png")
    (tmp_path / "set").mkdir()
    (tmp_path / "set/images").symlink_to(tmp_path / "store")
    (tmp_path / "store/back").symlink_to(tmp_path / "set")
    assert load("folder", tmp_path / "set").table["path"].tolist() == ["images/a.png"]


def test_kinds_of_files_that_are_not_read_are_counted(tmp_path: Path) -> None:
    two(tmp_path, "a.png", "b.bmp", "c.BMP")
    catalog = load("folder", tmp_path)
    assert catalog.skips == {"unread-kind": 2}
    assert any(".bmp 2" in note for note in catalog.notes)


def test_voc_s_folder_tells_namesakes_apart(tmp_path: Path) -> None:
    two(tmp_path, "JPEGImages/p1/a.png", "JPEGImages/p2/a.png")
    for p in (1, 2):
        more = f"<folder>p{p}</folder><filename>a.png</filename>"
        voc(tmp_path / f"Annotations/x{p}.xml", (1, 1, 10 * p, 9), more=more)
    catalog = load("voc", tmp_path)
    assert row(catalog, "JPEGImages/p2/a")["boxes"] == [0, 0, 20, 9]


def test_a_patient_of_nih_is_whom_the_file_is_named_after(tmp_path: Path) -> None:
    head = "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,"
    head += "View Position\n"
    rows = "00000013_000.png,Mass,0,13,58,M,PA\n00000014_000.png,Mass,0,13,58,M,PA\n"
    two(tmp_path, "images_001/images/00000013_000.png", "images_001/images/00000014_000.png")
    text(tmp_path / "Data_Entry_2017.csv", head + rows)
    catalog = load("nih", tmp_path)
    assert catalog.table["patient"].tolist() == ["nih-13", "nih-14"]
    assert catalog.skips["patient-differs"] == 1


@pytest.mark.parametrize("lost", ["1.2E+10", "1-Feb"])
def test_ids_that_a_spreadsheet_changed_stop_the_reading(tmp_path: Path, lost: str) -> None:
    picture(tmp_path / "stage_2_train_images/a.png", seed=1)
    text(tmp_path / "stage_2_train_labels.csv", RSNA + f"a,1,2,3,4,1\n{lost},,,,,0\n")
    text(tmp_path / "t.csv", f"file,y\na,1\n{lost},0\n")
    columns = {"image_id": "file", "label_opacity": "y"}
    with pytest.raises(DataError, match="spreadsheet"):
        load("rsna", tmp_path)
    with pytest.raises(DataError, match="spreadsheet"):
        load("folder", tmp_path, table="t.csv", columns=columns)
