"""A damaged annotation makes an image unknown, and is counted; it is never a negative."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from helpers.sets import coco, picture, row, text, voc
from hilum.core.errors import DataError
from hilum.data import load

NAN = float("nan")


@pytest.mark.parametrize(
    "box", [[NAN, 1, 2, 3], ["text", 1, 2, 3], [1, 2, -3, 4], [1, 2, 3], None, "1 2 3 4"]
)
def test_coco(tmp_path: Path, box: list[object]) -> None:
    picture(tmp_path / "a.png")
    picture(tmp_path / "b.png", seed=1)
    entries = [{"id": i, "file_name": f"{n}.png"} for i, n in enumerate("ab")]
    coco(tmp_path / "x.json", entries, [(0, [5, 10, 20, 20]), (0, box)])
    catalog = load("coco", tmp_path)
    assert row(catalog, "a")["boxes"] is None  # nobody knows where the other one is
    assert row(catalog, "a")["label_opacity"] == 1
    coco(tmp_path / "x.json", entries, [(0, box)])
    catalog = load("coco", tmp_path)
    assert row(catalog, "a")["boxes"] is None
    assert np.isnan(row(catalog, "a")["label_opacity"])
    assert row(catalog, "b")["boxes"] == []
    assert row(catalog, "b")["label_opacity"] == 0
    assert catalog.skips == {"damaged-box": 1}
    assert any("(first: 'a')" in note for note in catalog.notes)


@pytest.mark.parametrize("box", [("nan", 1, 2, 3), ("text", 1, 2, 3), (9, 1, 2, 3), ("", 1, 2, 3)])
def test_voc(tmp_path: Path, box: tuple[object, ...]) -> None:
    picture(tmp_path / "JPEGImages/a.png")
    voc(tmp_path / "Annotations/a.xml", box)
    catalog = load("voc", tmp_path)
    assert row(catalog, "JPEGImages/a")["boxes"] is None
    assert np.isnan(row(catalog, "JPEGImages/a")["label_opacity"])
    assert catalog.skips == {"damaged-box": 1}


@pytest.mark.parametrize("line", ["0 nan .5 .1 .1", "0 text .5 .1 .1", "0 .5 .5 -.1 .1"])
def test_yolo(tmp_path: Path, line: str) -> None:
    picture(tmp_path / "images/a.png")
    text(tmp_path / "labels/a.txt", f"{line}\n")
    text(tmp_path / "data.yaml", "names: [opacity]\n")
    catalog = load("yolo", tmp_path)
    assert row(catalog, "images/a")["boxes"] is None
    assert np.isnan(row(catalog, "images/a")["label_opacity"])
    assert catalog.skips == {"damaged-box": 1}
    text(tmp_path / "labels/a.txt", "0 .1 .1 nan .2 .3 .3\n")
    polygon = row(load("yolo", tmp_path), "images/a")
    assert polygon["boxes"] is None


@pytest.mark.parametrize(
    "line", ["1 .5 .5 .1 .1", "x .5 .5 .1 .1", "0.5 .5 .5 .1 .1", "0 .5 .5 .1"]
)
def test_yolo_lines_of_no_class_or_shape_are_errors(tmp_path: Path, line: str) -> None:
    picture(tmp_path / "images/a.png")
    text(tmp_path / "labels/a.txt", f"{line}\n")
    text(tmp_path / "data.yaml", "names: [opacity]\n")
    with pytest.raises(DataError, match=r"a\.txt, line 1"):
        load("yolo", tmp_path)


@pytest.mark.parametrize("cells", ["a,nan,2,3,4,1", "a,left,2,3,4,1", "a,1,2,-3,4,1", "a,,,,,1"])
def test_rsna(tmp_path: Path, cells: str) -> None:
    head = "patientId,x,y,width,height,Target\n"
    text(tmp_path / "stage_2_train_labels.csv", f"{head}{cells}\nb,,,,,0\n")
    catalog = load("rsna", tmp_path)
    assert row(catalog, "a")["boxes"] is None
    assert row(catalog, "a")["label_opacity"] == 1
    assert row(catalog, "b")["boxes"] == []
    assert catalog.skips == {"damaged-box": 1}


@pytest.mark.parametrize("value", ["nan", "-3"])
def test_siim_covid(tmp_path: Path, value: str) -> None:
    box = f"\"[{{'x': 1, 'y': 2, 'width': {value}, 'height': 4}}]\""
    head = "id,boxes,label,StudyInstanceUID\n"
    text(tmp_path / "train_image_level.csv", f"{head}a_image,{box},,s\nb_image,,,s\n")
    catalog = load("siim-covid", tmp_path)
    assert row(catalog, "a")["boxes"] is None
    assert row(catalog, "a")["label_opacity"] == 1
    assert row(catalog, "b")["boxes"] == []
    assert catalog.skips["damaged-box"] == 1


@pytest.mark.parametrize("readers", ["union", "majority", "consensus"])
def test_vindr(tmp_path: Path, readers: str) -> None:
    rows = "v,Mass,R1,{},10,20,20\nw,No finding,R1,,,,\n"
    head = "image_id,class_name,rad_id,x_min,y_min,x_max,y_max\n"
    for value in ("nan", "left", "99"):
        text(tmp_path / "train.csv", head + rows.format(value))
        catalog = load("vindr", tmp_path, readers=readers)
        assert row(catalog, "v")["boxes"] is None
        assert row(catalog, "v")["label_mass"] == 1
        assert row(catalog, "w")["boxes"] == []
        assert catalog.skips["damaged-box"] == 1


def test_nih(tmp_path: Path) -> None:
    head = "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,"
    rows = "1_0.png,Mass,0,1,58,M,PA\n"
    text(tmp_path / "Data_Entry_2017.csv", f"{head}View Position\n{rows}")
    head = "Image Index,Finding Label,Bbox [x,y,w,h],,,\n"
    boxes = "1_0.png,Mass,1,2,3,4,,,\n1_0.png,Mass,1,text,3,4,,,\n9_0.png,Mass,1,2,3,4,,,\n"
    text(tmp_path / "BBox_List_2017.csv", head + boxes)
    catalog = load("nih", tmp_path)
    assert row(catalog, "1_0")["boxes"] is None
    assert catalog.skips == {"damaged-box": 1, "box-lost": 1}


@pytest.mark.parametrize(
    "cell", ["yes", "1 2 3", "-2", "1.5 2", "0 0", "-1 5", "1048576 1", "5 -1", "0 2;3 1"]
)
def test_siim_acr_text_that_is_no_run_length_names_its_image(tmp_path: Path, cell: str) -> None:
    text(tmp_path / "train-rle.csv", f"ImageId, EncodedPixels\na, -1\nb, {cell}\n")
    with pytest.raises(DataError, match="image 'b'"):
        load("siim-acr", tmp_path)


def test_siim_acr_images_both_empty_and_not(tmp_path: Path) -> None:
    text(tmp_path / "train-rle.csv", "ImageId, EncodedPixels\na, -1\na, 0 2\n")
    with pytest.raises(DataError, match="'a' has an empty mask and one that is not"):
        load("siim-acr", tmp_path)
    text(tmp_path / "train-rle.csv", "ImageId, EncodedPixels\na, -1\na, -1\nb,nan\nc,\n")
    catalog = load("siim-acr", tmp_path)
    assert row(catalog, "a")["label_pneumothorax"] == 0
    for image in ("b", "c"):
        assert np.isnan(row(catalog, image)["label_pneumothorax"])
        assert row(catalog, image)["mask_pneumothorax"] is None
    assert catalog.skips == {"row-blank": 2}


def test_run_lengths_in_a_folder_s_table(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    mapping = {"image_id": "file", "mask_lungs": "m"}
    text(tmp_path / "t.csv", "file,m\na.png,rle:100x100:0 2\n")
    catalog = load("folder", tmp_path, table="t.csv", columns=mapping)
    assert catalog.table["mask_lungs"].tolist() == ["rle:100x100:0 2"]
    for damaged in ("rle:100x100:0 2 3", "rle:100:0 2", "rle:9x9:80 9", "rle:x"):
        text(tmp_path / "t.csv", f"file,m\na.png,{damaged}\n")
        with pytest.raises(DataError, match=r"image 'a\.png': mask"):
            load("folder", tmp_path, table="t.csv", columns=mapping)


def test_masks_that_are_not_there_are_unknown_and_masks_are_no_radiographs(tmp_path: Path) -> None:
    for place in ("i/a.png", "i/b.png", "i/c.png", "m/a.png"):
        picture(tmp_path / place, seed=len(place) + ord(place[2]))
    text(tmp_path / "t.csv", "file,m\na,m\\a.png\nb.png,m/b.png\ni/c.png,\n")
    mapping = {"image_id": "file", "mask_lungs": "m"}
    catalog = load("folder", tmp_path, table="t.csv", columns=mapping)
    assert catalog.table["path"].tolist() == ["i/a.png", "i/b.png", "i/c.png"]
    assert catalog.table["mask_lungs"].tolist() == ["m/a.png", None, ""]
    assert catalog.skips == {"mask-without-file": 1}


def test_coco_test_files_without_annotations_are_not_negative(tmp_path: Path) -> None:
    picture(tmp_path / "test2017/a.png")
    content = {"images": [{"id": 1, "file_name": "a.png"}], "categories": [{"id": 1, "name": "o"}]}
    for more in ({}, {"annotations": []}):
        text(tmp_path / "annotations/image_info_test2017.json", json.dumps(content | more))
        catalog = load("coco", tmp_path)
        assert catalog.table["boxes"].tolist() == [None]
        assert np.isnan(catalog.table["label_o"]).all()
        assert catalog.withheld.all()


def test_yolo_splits_without_label_files_are_not_negative(tmp_path: Path) -> None:
    for place in ("train/a.png", "train/b.png", "test/c.png"):
        picture(tmp_path / f"images/{place}", seed=ord(place[-5]))
    text(tmp_path / "labels/train/a.txt", "0 .5 .5 .1 .1\n")
    text(tmp_path / "data.yaml", "names: [opacity]\n")
    catalog = load("yolo", tmp_path)
    assert row(catalog, "images/train/b")["boxes"] == []
    assert row(catalog, "images/test/c")["boxes"] is None
    assert catalog.withheld.tolist() == [True, False, False]
    assert catalog.skips == {"no-row": 1}


def test_coco_categories_that_a_file_does_not_ask_for_are_unknown(tmp_path: Path) -> None:
    for i, split in enumerate(("train", "val")):
        picture(tmp_path / f"{split}/a.png", seed=i)
        coco(tmp_path / f"{split}.json", [{"id": 1, "file_name": "a.png"}], [(1, [1, 2, 3, 4])])
    content = json.loads((tmp_path / "val.json").read_text())
    content["categories"].append({"id": 2, "name": "nodule"})
    text(tmp_path / "val.json", json.dumps(content))
    catalog = load("coco", tmp_path)
    assert np.isnan(row(catalog, "train/a")["label_nodule"])
    assert row(catalog, "val/a")["label_nodule"] == 0


def test_boxes_that_contradict_their_image_are_counted(tmp_path: Path) -> None:
    head = "patientId,x,y,width,height,Target\n"
    text(tmp_path / "r/stage_2_train_labels.csv", f"{head}a,1,2,3,4,0\n")
    rsna = load("rsna", tmp_path / "r")
    assert row(rsna, "a")["label_opacity"] == 0
    assert rsna.skips == {"box-lost": 1}
    head = "id,boxes,label,StudyInstanceUID\n"
    rows = f"{head}a_image,,opacity 1 1 2 3 4,s\nb_image,,none 1 0 0 1 1,s\n"
    text(tmp_path / "s/train_image_level.csv", rows)
    covid = load("siim-covid", tmp_path / "s")
    assert row(covid, "a")["boxes"] is None
    assert row(covid, "a")["label_opacity"] == 1
    assert row(covid, "b")["label_opacity"] == 0


def test_an_unclosed_quote_swallows_no_rows(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    text(tmp_path / "t.csv", 'file,y\n"a.png,1\nb.png,0\n')
    with pytest.raises(DataError, match="not a readable CSV"):
        load("folder", tmp_path, table="t.csv", columns={"image_id": "file"})


@pytest.mark.parametrize("kind", ["coco", "voc"])
def test_annotations_of_another_shape_are_said(tmp_path: Path, kind: str) -> None:
    picture(tmp_path / "images/a.png", 40, 30)
    if kind == "coco":
        entry = {"id": 1, "file_name": "a.png", "width": 30, "height": 40}
        coco(tmp_path / "x.json", [entry], [(1, [5, 10, 20, 20])])
    else:
        voc(tmp_path / "Annotations/a.xml", (5, 10, 20, 20), size=(30, 40))
    catalog = load(kind, tmp_path)
    assert catalog.skips == {"wrong-shape": 1}
    with pytest.raises(DataError, match="another shape"):
        catalog.boxes_in(0, 40, 30)


def test_labelimg_s_list_of_classes_is_no_image(tmp_path: Path) -> None:
    picture(tmp_path / "images/a.png")
    text(tmp_path / "labels/a.txt", "0 .5 .5 .1 .1\n")
    text(tmp_path / "labels/classes.txt", "opacity\n")
    text(tmp_path / "data.yaml", "names: [opacity]\n")
    assert load("yolo", tmp_path).table["image_id"].tolist() == ["images/a"]


def test_coco_annotations_of_nothing_that_is_listed(tmp_path: Path) -> None:
    """Of an unknown category the image is unknown; of unknown images only, the file is refused."""
    picture(tmp_path / "a.png")
    coco(tmp_path / "x.json", [{"id": 1, "file_name": "a.png"}], [(1, [1, 2, 3, 4])])
    content = json.loads((tmp_path / "x.json").read_text())
    content["annotations"][0]["category_id"] = 7
    text(tmp_path / "x.json", json.dumps(content))
    catalog = load("coco", tmp_path)
    assert catalog.table["boxes"].tolist() == [None]
    assert np.isnan(catalog.table["label_opacity"]).all()
    assert catalog.skips == {"annotation-lost": 1, "damaged-box": 1}
    content["annotations"][0] |= {"category_id": 1, "image_id": "IM1"}
    text(tmp_path / "x.json", json.dumps(content))
    with pytest.raises(DataError, match=r"no annotation is of a listed image; .*'IM1'"):
        load("coco", tmp_path)


HEADS = {
    "rsna": ("stage_2_train_labels.csv", "patientId,x,y,width,height,Target"),
    "vindr": ("train.csv", "image_id,class_name,rad_id,x_min,y_min,x_max,y_max"),
    "siim-covid": ("train_image_level.csv", "id,boxes,label,StudyInstanceUID"),
    "siim-acr": ("train-rle.csv", "ImageId,EncodedPixels"),
    "nih": (
        "Data_Entry_2017.csv",
        "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,"
        "View Position",
    ),
    "chexpert": ("train.csv", "Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding"),
}


@pytest.mark.parametrize("name", HEADS)
def test_a_table_without_rows_is_a_set_without_images(tmp_path: Path, name: str) -> None:
    file, head = HEADS[name]
    text(tmp_path / file, head + "\n")
    assert len(load(name, tmp_path)) == 0


@pytest.mark.parametrize("width", ["64", 1e9, 10**12, float("inf")])
@pytest.mark.parametrize(
    "segmentation",
    [
        {"size": 5, "counts": [0, 4]},
        {"size": {"a": 1}, "counts": [0, 4]},
        {"size": [48, 64], "counts": [10**12]},
        {"counts": "\u00e9"},
        [[1, 2, 3, 4, 5, 1e300]],
        [1, 2],
    ],
)
def test_a_damaged_segmentation_is_an_unknown_mask(
    tmp_path: Path, segmentation: object, width: object
) -> None:
    picture(tmp_path / "a.png")
    box = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]}
    content = {
        "images": [{"id": 1, "file_name": "a.png", "width": width, "height": 48}],
        "categories": [{"id": 1, "name": "mass"}],
        "annotations": [box | {"segmentation": segmentation}],
    }
    text(tmp_path / "x.json", json.dumps(content))
    try:
        catalog = load("coco", tmp_path)
    except DataError:
        assert width != "64"  # no image is so wide
    else:
        assert row(catalog, "a")["mask_mass"] is None
        assert catalog.skips["damaged-mask"] == 1


def test_an_image_known_and_not_known_to_be_positive_is_a_contradiction(tmp_path: Path) -> None:
    head = HEADS["rsna"][1]
    text(tmp_path / HEADS["rsna"][0], f"{head}\na,1,2,3,4,1\na,5,6,7,8,\n")
    with pytest.raises(DataError, match="two different values of Target"):
        load("rsna", tmp_path)
