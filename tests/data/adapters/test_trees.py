"""Adapters on small trees of the sets' own layouts, and everything that users' files have wrong."""

from __future__ import annotations

import json
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
from pydicom import dcmread

from helpers.trees import dicom, has_note, png, row, text
from hilum.core.errors import DataError
from hilum.data import load
from hilum.data.pixels import open_mask, open_radiograph

RSNA_LABELS = """patientId,x,y,width,height,Target
a,10.0,5.0,20.0,30.0,1
a,40.0,5.0,20.0,30.0,1
b,,,,,0
nan-box,,,,,1
outside,-5,-5,20,20,1
far,2000,2000,10,10,1
flat,10,10,0,30,1
backwards,10,10,-5,30,1
no-file,1,2,3,4,1
"""
RSNA_CLASSES = """patientId,class
a,Lung Opacity
a,Lung Opacity
b,Normal
nan-box,Lung Opacity
outside,Lung Opacity
far,Lung Opacity
flat,Lung Opacity
backwards,Lung Opacity
no-file,Lung Opacity
"""


@pytest.fixture
def rsna_tree(tmp_path: Path) -> Path:
    text(tmp_path / "stage_2_train_labels.csv", RSNA_LABELS)
    text(tmp_path / "stage_2_detailed_class_info.csv", RSNA_CLASSES)
    train = tmp_path / "stage_2_train_images"
    dicom(train / "a.dcm", 1, syntax="jpeg-baseline", bits=8)
    dicom(train / "b.dcm", 2, photometric="MONOCHROME1", bits=16, size=(40, 64))
    for i, name in enumerate(("nan-box", "outside", "far", "flat", "backwards", "no-label")):
        dicom(train / f"{name}.dcm", 3 + i)
    dicom(tmp_path / "stage_2_test_images" / "t.dcm", 20)
    return tmp_path


def test_rsna_survives_its_table(rsna_tree: Path) -> None:
    catalog = load("rsna", rsna_tree)
    assert len(catalog) == 10
    assert row(catalog, "a")["boxes"] == [10, 5, 30, 35, 40, 5, 60, 35]
    assert row(catalog, "b")["boxes"] == []
    assert row(catalog, "outside")["boxes"] == [-5, -5, 15, 15]
    assert row(catalog, "far")["boxes"] == [2000, 2000, 2010, 2010]
    assert row(catalog, "flat")["boxes"] == [10, 10, 10, 40]
    for image in ("nan-box", "backwards"):
        assert row(catalog, image)["boxes"] is None  # something is there, nobody knows where
        assert row(catalog, image)["label_opacity"] == 1
    assert has_note(catalog, "2 boxes with NaN or reversed corners")


def test_rsna_keeps_labels_without_files_and_files_without_labels(rsna_tree: Path) -> None:
    catalog = load("rsna", rsna_tree)
    assert row(catalog, "no-file")["path"] == ""
    assert row(catalog, "no-file")["label_opacity"] == 1
    for image, split in (("no-label", "train"), ("t", "test")):
        result = row(catalog, image)
        assert result["split"] == split
        assert result["boxes"] is None
        assert np.isnan(result["label_opacity"])
    assert has_note(catalog, "1 labelled images have no file")
    assert has_note(catalog, "1 files have no label row")


def test_sizes_photometric_and_view_come_from_the_headers(rsna_tree: Path) -> None:
    catalog = load("rsna", rsna_tree, headers=True)
    b = row(catalog, "b")
    assert (b["width"], b["height"]) == (40, 64)
    assert (b["photometric"], b["view"], b["modality"]) == ("MONOCHROME1", "PA", "CR")
    assert 0 < b["age"] < 120
    assert row(catalog, "no-file")["width"] == 1024
    for image in ("a", "b"):
        pixels = open_radiograph(catalog.root, row(catalog, image)["path"]).pixels
        assert pixels[:4, :6].mean() < 0.2  # air is dark, whatever the file's coding


def test_rsna_classes_that_contradict_each_other_are_an_error(rsna_tree: Path) -> None:
    text(rsna_tree / "stage_2_detailed_class_info.csv", RSNA_CLASSES + "b,Lung Opacity\n")
    with pytest.raises(DataError, match="'b' has two different values of class"):
        load("rsna", rsna_tree)


def test_a_byte_order_mark_and_blanks_in_column_names_do_no_harm(tmp_path: Path) -> None:
    text(tmp_path / "stage_2_train_labels.csv", RSNA_LABELS, "utf-8-sig")
    assert len(load("rsna", tmp_path)) == 8
    text(tmp_path / "acr" / "train-rle.csv", "ImageId, EncodedPixels\nx, -1\n", "utf-8-sig")
    assert row(load("siim-acr", tmp_path / "acr"), "x")["mask_pneumothorax"] == ""


def test_a_table_with_missing_columns_says_which(tmp_path: Path) -> None:
    text(tmp_path / "stage_2_train_labels.csv", "patientId,x,y\na,1,2\n")
    with pytest.raises(DataError, match=r"lacks the columns width, height, Target"):
        load("rsna", tmp_path)


COVID_IMAGES = """id,boxes,label,StudyInstanceUID
i1_image,"[{'x': 1.5, 'y': 2, 'width': 10, 'height': 20}]",opacity 1 1.5 2 11.5 22,s1
i2_image,,none 1 0 0 1 1,s1
i3_image,,none 1 0 0 1 1,s2
i4_image,,none 1 0 0 1 1,s3
"""
COVID_STUDIES = """id,Negative for Pneumonia,Typical Appearance,Indeterminate Appearance,\
Atypical Appearance
s1_study,0,1,0,0
s2_study,1,0,0,0
s3_study,0,0,0,1
"""


def test_siim_covid_patients_come_from_headers_or_the_study(tmp_path: Path) -> None:
    text(tmp_path / "train_image_level.csv", COVID_IMAGES)
    text(tmp_path / "train_study_level.csv", COVID_STUDIES)
    dicom(tmp_path / "train/s1/r1/i1.dcm", 1, patient_id="p", syntax="jpeg-2000")
    dicom(tmp_path / "train/s1/r2/i2.dcm", 2, patient_id="p", syntax="rle")
    dicom(tmp_path / "train/s2/r3/i3.dcm", 3, patient_id="p")  # shared by two studies
    dicom(tmp_path / "train/s3/r4/i4.dcm", 4, patient_id="")
    dicom(tmp_path / "test/s9/r9/i9.dcm", 5, patient_id="q")
    catalog = load("siim-covid", tmp_path)
    assert [row(catalog, f"i{i}")["patient"] for i in (1, 2, 3, 4, 9)] == [
        *("p", "p", "p"),
        "study:s3",
        "q",
    ]
    assert row(catalog, "i1")["boxes"] == [1.5, 2, 11.5, 22]
    assert row(catalog, "i2")["label_opacity"] == 0
    assert row(catalog, "i3")["study_negative"] == 1
    assert (row(catalog, "i9")["study"], row(catalog, "i9")["split"]) == ("s9", "test")
    assert np.isnan(row(catalog, "i9")["label_opacity"])
    assert has_note(catalog, "1 images have no patient id: each study is one patient")


def test_uids_of_the_challenge_that_are_none_are_read_without_a_word(tmp_path: Path) -> None:
    """pydicom's warnings, two a file, would quote values; here a warning is an error."""
    text(tmp_path / "train_image_level.csv", COVID_IMAGES)
    text(tmp_path / "train_study_level.csv", COVID_STUDIES)
    file = tmp_path / "train/s1/r1/i1.dcm"
    dicom(file, 1, patient_id="p")
    uid = dcmread(file, specific_tags=["StudyInstanceUID"]).StudyInstanceUID.encode()
    file.write_bytes(file.read_bytes().replace(uid, b"5776db0cec75".ljust(len(uid), b"f")))
    assert row(load("siim-covid", tmp_path), "i1")["patient"] == "p"


def test_siim_covid_damaged_box_list_names_its_image(tmp_path: Path) -> None:
    text(tmp_path / "train_image_level.csv", COVID_IMAGES.replace("'width': 10, ", ""))
    with pytest.raises(DataError, match="image 'i1'"):
        load("siim-covid", tmp_path)


@pytest.mark.parametrize(
    ("table", "place", "image"),
    [
        ("train-rle.csv", "dicom-images-train/1.2/1.3", "1.2.276.0.1"),
        ("stage_2_train.csv", "stage_2_images", "ID_0011fe81e"),
    ],
)
def test_both_editions_of_siim_acr(tmp_path: Path, table: str, place: str, image: str) -> None:
    content = f"ImageId, EncodedPixels\n{image},0 2\n{image},3 1\nempty, -1\nblank,\n"
    text(tmp_path / table, content)
    dicom(tmp_path / place / f"{image}.dcm", 1, (1024, 1024), syntax="jpeg-baseline", bits=8)
    catalog = load("siim-acr", tmp_path)
    result = row(catalog, image)
    assert result["mask_pneumothorax"] == "rle:1024x1024:0 2;3 1"
    mask = open_mask(catalog.root, result["mask_pneumothorax"], 1024, 1024)
    assert np.argwhere(mask).tolist() == [[0, 0], [1, 0], [3, 0]]
    assert result["path"] == f"{place}/{image}.dcm"
    assert result["patient"] == "PHANTOM-000001"
    assert row(catalog, "empty")["mask_pneumothorax"] == ""
    assert row(catalog, "blank")["mask_pneumothorax"] is None
    assert np.isnan(row(catalog, "blank")["label_pneumothorax"])


NIH_ENTRY = """Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,\
View Position,OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]
00000001_000.png,Cardiomegaly|Pleural_Thickening,0,1,058Y,M,PA,2682,2749,0.143,0.143
00000001_001.png,No Finding,1,1,059Y,M,AP,2682,2749,0.143,0.143
00000002_000.png,Mass,0,2,6,F,PA,2682,2749,0.143,0.143
"""
NIH_BOXES = """Image Index,Finding Label,Bbox [x,y,w,h],,,
00000001_000.png,Cardiomegaly,10.5,20,30,40,,,
00000002_000.png,Infiltrate,1,2,3,4,,,
"""


def test_nih_with_lists_boxes_and_images(tmp_path: Path) -> None:
    text(tmp_path / "Data_Entry_2017_v2020.csv", NIH_ENTRY)
    text(tmp_path / "BBox_List_2017.csv", NIH_BOXES)
    text(tmp_path / "train_val_list.txt", "00000001_000.png\n00000001_001.png\n")
    text(tmp_path / "test_list.txt", "00000002_000.png\n")
    png(tmp_path / "images_001/images/00000001_000.png")
    png(tmp_path / "images_002/images/00000002_000.png")
    png(tmp_path / "images_002/images/00000003_000.png")
    catalog = load("nih", tmp_path)
    first = row(catalog, "00000001_000")
    assert first["label_cardiomegaly"] == first["label_pleural-thickening"] == 1
    assert first["label_no-finding"] == 0
    assert first["path"] == "images_001/images/00000001_000.png"
    assert first["boxes"] == [10.5, 20, 40.5, 60]
    assert first["age"] == 58
    assert row(catalog, "00000001_001")["boxes"] is None
    assert row(catalog, "00000001_001")["patient"] == first["patient"] == "nih-1"
    assert row(catalog, "00000002_000")["split"] == "test"
    assert row(catalog, "00000002_000")["box_labels"] == ["infiltration"]
    assert row(catalog, "00000003_000")["patient"] == "nih-3"
    text(tmp_path / "Data_Entry_2017_v2020.csv", NIH_ENTRY.replace("Mass", "PneumoniaMass"))
    with pytest.raises(DataError, match="unknown findings PneumoniaMass"):
        load("nih", tmp_path)


VINDR = """image_id,class_name,class_id,rad_id,x_min,y_min,x_max,y_max
v1,Nodule/Mass,8,R1,10,10,30,30
v1,Nodule/Mass,8,R2,12,10,32,30
v1,No finding,14,R3,,,,
v1,Consolidation,4,R1,50,50,60,60
v2,No finding,14,R1,,,,
v2,No finding,14,R2,,,,
v2,No finding,14,R3,,,,
"""


def test_vindr_readers_as_union_majority_and_consensus(tmp_path: Path) -> None:
    text(tmp_path / "train.csv", VINDR)
    dicom(tmp_path / "train" / "v1.dicom", 1)
    union = load("vindr", tmp_path)
    assert len(row(union, "v1")["boxes"]) == 12
    assert row(union, "v1")["label_consolidation"] == 1
    assert row(union, "v1")["label_no-finding"] == 0
    assert {*union.box_names} <= {*union.label_names}  # one finding has one name
    majority = row(load("vindr", tmp_path, readers="majority"), "v1")
    assert majority["boxes"] == [11, 10, 31, 30]
    assert (majority["label_nodule-mass"], majority["label_consolidation"]) == (1, 0)
    consensus = load("vindr", tmp_path, readers="consensus")
    assert row(consensus, "v1")["boxes"] == []
    assert row(consensus, "v2")["label_no-finding"] == 1
    assert row(consensus, "v1")["path"] == "train/v1.dicom"
    with pytest.raises(DataError, match="known: union, majority, consensus"):
        load("vindr", tmp_path, readers="vote")


def test_vindr_test_part_is_what_its_readers_agreed_on(tmp_path: Path) -> None:
    text(tmp_path / "annotations/annotations_train.csv", VINDR)
    consensus = "image_id,class_name,x_min,y_min,x_max,y_max\nt1,Consolidation,1,2,9,8\n"
    text(tmp_path / "annotations/annotations_test.csv", consensus + "t2,No finding,,,,\n")
    for name in ("train/v1", "test/t1", "test/t2"):
        dicom(tmp_path / f"{name}.dicom", len(name))
    for rule in ("union", "majority", "consensus"):
        catalog = load("vindr", tmp_path, readers=rule)
        own = row(catalog, "t1")
        assert (own["path"], own["split"], own["boxes"]) == ("test/t1.dicom", "test", [1, 2, 9, 8])
        assert row(catalog, "t2")["boxes"] == []
        assert row(catalog, "v1")["split"] == "train"
        assert not catalog.withheld.any()
    text(tmp_path / "annotations/annotations_test.csv", consensus.replace("t1", "v1"))
    with pytest.raises(DataError, match="'v1' has two different values of split"):
        load("vindr", tmp_path)


CHEXPERT = """Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding,Lung Opacity,Edema
CheXpert-v1.0-small/train/patient00001/study1/view1_frontal.jpg,Female,68,Frontal,AP,1.0,,
CheXpert-v1.0-small/train/patient00002/study2/view1_frontal.jpg,Male,87,Frontal,PA,,-1.0,0.0
CheXpert-v1.0-small/train/patient00002/study2/view2_lateral.jpg,Male,87,Lateral,,,1.0,
"""


def test_chexpert_uncertainty_policies(tmp_path: Path) -> None:
    text(tmp_path / "train.csv", CHEXPERT)
    png(tmp_path / "train/patient00001/study1/view1_frontal.png")
    image = "train/patient00002/study2/view1_frontal"
    values = {
        policy: row(load("chexpert", tmp_path, uncertain=policy), image)["label_lung-opacity"]
        for policy in ("ones", "zeros", "ignore")
    }
    assert (values["ones"], values["zeros"]) == (1, 0)
    assert np.isnan(values["ignore"])
    catalog = load("chexpert", tmp_path, unmentioned="zeros")
    assert row(catalog, image)["label_edema"] == 0
    assert row(catalog, image)["label_no-finding"] == 0
    lateral = row(catalog, "train/patient00002/study2/view2_lateral")
    assert (lateral["view"], lateral["sex"], lateral["patient"]) == ("LATERAL", "M", "patient00002")
    assert row(catalog, "train/patient00001/study1/view1_frontal")["path"].endswith(".png")
    with pytest.raises(DataError, match="known: ones, zeros, ignore"):
        load("chexpert", tmp_path, uncertain="maybe")


def test_coco_voc_and_yolo_give_the_same_boxes(tmp_path: Path) -> None:
    coco = {
        "images": [{"id": 1, "file_name": "a.png", "width": 48, "height": 40, "patient": "p"}],
        "categories": [{"id": 1, "name": "opacity"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [6, 10, 12, 20]}],
    }
    text(tmp_path / "coco/annotations/instances_train.json", json.dumps(coco))
    png(tmp_path / "coco/images/a.png")
    text(
        tmp_path / "voc/Annotations/a.xml",
        "<annotation><size><width>48</width><height>40</height></size><object><name>opacity</name>"
        "<bndbox><xmin>7</xmin><ymin>11</ymin><xmax>18</xmax><ymax>30</ymax></bndbox></object>"
        "</annotation>",
    )
    png(tmp_path / "voc/JPEGImages/a.png")
    text(tmp_path / "yolo/data.yaml", "names: [opacity]\n")
    text(tmp_path / "yolo/labels/train/a.txt", "0 0.25 0.5 0.25 0.5\n")
    png(tmp_path / "yolo/images/train/a.png")
    png(tmp_path / "yolo/images/train/b.png")
    ids = {"coco": "images/a", "voc": "JPEGImages/a", "yolo": "images/train/a"}
    for name, image in ids.items():
        catalog = load(name, tmp_path / name)
        result = row(catalog, image)
        assert result["boxes"] == pytest.approx([6, 10, 18, 30]), name
        assert result["box_labels"] == ["opacity"]
        assert result["label_opacity"] == 1
        assert (result["width"], result["height"]) == (48, 40)
        assert open_radiograph(catalog.root, result["path"]).width == 48
    assert row(catalog, "images/train/b")["boxes"] == []
    assert row(load("coco", tmp_path / "coco"), "images/a")["patient"] == "p"


def test_damaged_annotations_are_named(tmp_path: Path) -> None:
    text(tmp_path / "coco/x.json", '{"images": []}')
    text(tmp_path / "voc/Annotations/a.xml", '<!DOCTYPE a [<!ENTITY b "c">]><annotation/>')
    text(tmp_path / "yolo/data.yaml", "names: [opacity]\n")
    text(tmp_path / "yolo/labels/a.txt", "7 0.25 0.5 0.25 0.5\n")
    png(tmp_path / "yolo/images/a.png")
    for name, reason in (("coco", "lacks"), ("voc", "DOCTYPE"), ("yolo", "line 1")):
        with pytest.raises(DataError, match=reason):
            load(name, tmp_path / name)
    for name in ("coco", "voc", "yolo", "folder"):
        (tmp_path / "none").mkdir(exist_ok=True)
        with pytest.raises(DataError, match="looked for"):
            load(name, tmp_path / "none")


def test_folder_of_anything_with_a_mapping(tmp_path: Path) -> None:
    dicom(tmp_path / "x/1.2.3", 1, patient_id="p1")  # DICOM without a suffix
    dicom(tmp_path / "x/b.dcm", 2, patient_id="")
    png(tmp_path / "c.png", 3)
    (tmp_path / "x/broken.dcm").write_bytes(b"not DICOM")
    text(tmp_path / "labels.csv", "file,who,y\nc.png,p9,1\nx/b,p8,0\ngone.png,p7,1\n")
    mapping = {"image_id": "file", "patient": "who", "label_opacity": "y"}
    catalog = load("folder", tmp_path, table="labels.csv", columns=mapping)
    assert set(catalog.table["image_id"]) == {"x/1.2.3", "x/b", "c", "x/broken"}
    assert row(catalog, "c")["patient"] == "p9"
    assert row(catalog, "c")["label_opacity"] == 1
    assert row(catalog, "x/b")["patient"] == "p8"
    assert row(catalog, "x/1.2.3")["patient"] == "p1"
    assert np.isnan(row(catalog, "x/1.2.3")["label_opacity"])
    assert has_note(catalog, "1 files have no readable header")
    assert has_note(catalog, "1 rows of the table have no file")
    with pytest.raises(DataError, match="no column 'nope'"):
        load("folder", tmp_path, table="labels.csv", columns={"image_id": "nope"})
    with pytest.raises(DataError, match="no catalog column"):
        load("folder", tmp_path, table="labels.csv", columns={**mapping, "mood": "y"})


def test_a_zip_is_a_folder_too(tmp_path: Path) -> None:
    dicom(tmp_path / "a.dcm", 4)
    with ZipFile(tmp_path / "images.zip", "w") as archive:
        archive.write(tmp_path / "a.dcm", "deep/a.dcm")
    catalog = load("folder", tmp_path / "images.zip")
    result = row(catalog, "deep/a")
    assert result["path"] == "images.zip!deep/a.dcm"
    assert result["patient"] == "PHANTOM-000004"
    assert open_radiograph(catalog.root, result["path"]).height == 40


@pytest.mark.parametrize("readers", ["union", "majority", "consensus"])
def test_vindr_boxes_that_are_none_are_left_out_by_every_rule(tmp_path: Path, readers: str) -> None:
    backwards, blank = "v1,Mass,8,R1,30,30,10,10\n", "v1,Mass,8,R1,,,,\n"
    text(tmp_path / "train.csv", VINDR + backwards + blank)
    catalog = load("vindr", tmp_path, readers=readers)
    assert row(catalog, "v1")["boxes"] is None
    assert row(catalog, "v2")["boxes"] == []
    assert has_note(catalog, "2 boxes with NaN or reversed corners")


def test_rsna_rows_that_repeat_give_one_box(tmp_path: Path) -> None:
    rows = "a,1,2,3,4,1\n" * 2 + "a,1,2,3,5,1\n"
    text(tmp_path / "stage_2_train_labels.csv", "patientId,x,y,width,height,Target\n" + rows)
    catalog = load("rsna", tmp_path)
    assert row(catalog, "a")["boxes"] == [1, 2, 4, 6, 1, 2, 4, 7]
    assert has_note(catalog, "1 rows repeat another")


def test_a_folder_a_class_gives_exclusive_labels_and_the_parts(tmp_path: Path) -> None:
    for number, place in enumerate(("train/NORMAL/images/a", "train/COVID/b", "val/NORMAL/c")):
        png(tmp_path / "chest_xray" / f"{place}.png", seed=number)
    catalog = load("folder", tmp_path, classes="folders")
    table = catalog.table.set_index(catalog.table["path"].map(lambda p: Path(p).stem)).sort_index()
    assert catalog.label_names == ["COVID", "NORMAL"]
    assert table["split"].tolist() == ["train", "train", "validation"]
    assert table["label_NORMAL"].tolist() == [1, 0, 1]
    assert table["label_COVID"].tolist() == [0, 1, 0]


def test_an_image_outside_of_the_classes_is_unknown(tmp_path: Path) -> None:
    for number, place in enumerate(("normal/a", "covid/b", "c")):
        png(tmp_path / f"{place}.png", seed=number)
    catalog = load("folder", tmp_path, classes="folders")
    assert np.isnan(row(catalog, "c")["label_normal"])
    assert catalog.skips["no-row"] == 1


def test_a_folder_a_patient_is_no_class(tmp_path: Path) -> None:
    for number in range(40):
        png(tmp_path / f"p{number}" / "a.png", seed=number)
    with pytest.raises(DataError, match="40 folders"):
        load("folder", tmp_path, classes="folders")
    png(tmp_path / "one" / "p1" / "a.png")
    with pytest.raises(DataError, match="needed: 2 to"):
        load("folder", tmp_path / "one", classes="folders")


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("images/a.png", "masks/a.png"),
        ("CXR_png/a.png", "masks/a_mask.png"),
        ("Train/COVID/images/a.png", "Train/COVID/masks/a.png"),
    ],
)
def test_masks_in_a_folder_are_of_the_images_of_their_names(
    tmp_path: Path, image: str, mask: str
) -> None:
    png(tmp_path / image)
    png(tmp_path / mask)
    png(tmp_path / image.replace("a.png", "b.png"), seed=1)
    catalog = load("folder", tmp_path, masks={"opacity": "masks"})
    assert list(catalog.table["path"]) == [image, image.replace("a.png", "b.png")]
    assert catalog.table["mask_opacity"].fillna("unknown").tolist() == [mask, "unknown"]
    assert has_note(catalog, "1 images have no mask of opacity")


def test_a_folder_without_masks_of_the_images_is_an_error(tmp_path: Path) -> None:
    png(tmp_path / "images" / "a.png")
    png(tmp_path / "masks" / "other.png")
    for folder in ("masks", "mask"):
        with pytest.raises(DataError, match="named as the images are"):
            load("folder", tmp_path, masks={"opacity": folder})


def test_what_looks_like_classes_or_masks_is_said(tmp_path: Path) -> None:
    for number, place in enumerate(("normal/a", "normal/b", "covid/c", "covid/d", "masks/a")):
        png(tmp_path / f"{place}.png", seed=number)
    catalog = load("folder", tmp_path)
    assert has_note(catalog, "masks.NAME=masks")
    assert has_note(catalog, "classes=folders")


def test_columns_without_a_table_are_an_error(tmp_path: Path) -> None:
    png(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"table=labels\.csv"):
        load("folder", tmp_path, columns={"image_id": "file"})
