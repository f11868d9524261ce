"""What users' directories have wrong, put into every adapter's own layout at once.

In each tree: a byte order mark in every table; rows twice; boxes with NaN, outside, partly outside,
without area; a label without a file; a file without a label; non-square pictures of 8 to 16 bits,
both photometric interpretations, compressed and not; PatientID empty or shared by studies.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from hilum.core.errors import DataError
from hilum.data import load
from hilum.data.check.files import file_facts
from hilum.data.check.findings import check
from hilum.data.explore.explore import Summary, read_files
from hilum.data.explore.figures import plots
from hilum.data.images import ImageFormat, finish, write_images
from hilum.data.phantom.encode import dicom_bytes
from hilum.data.phantom.phantom import Phantom, phantom, write_png
from hilum.data.registry import ADAPTERS
from hilum.data.split import hold_out
from hilum.report.explore import explore_page

NAN = float("nan")
# x, y, width, height of image i
BOXES = (
    [10, 5, 20, 30],
    [NAN] * 4,
    [-5, -5, 20, 20],
    [2000, 2000, 10, 10],
    [9, 9, 0, 5],
    None,
    [1] * 4,
)
FILES: list[dict[str, Any]] = [
    {"syntax": "jpeg-baseline", "bits": 8},
    {"photometric": "MONOCHROME1", "bits": 16},
    {"syntax": "jpeg-2000", "patient_id": ""},
    {"syntax": "rle", "bits": 10, "patient_id": "shared"},
    {"syntax": "jpeg-ls", "bits": 14, "patient_id": "shared", "photometric": "MONOCHROME1"},
    {"syntax": "deflated"},
    {"syntax": "htj2k", "bits": 16},
]
Tree = tuple[dict[str, Any], int]  # options of the adapter, images it must find


@cache  # every tree has the same images
def image(i: int, square: bool = False) -> Phantom:
    return phantom(i, 40 if square else 48 + i, 40, opacities=0)


@pytest.fixture(autouse=True)
def quick_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Coarse ones without a layout engine: how they look is seen elsewhere."""
    monkeypatch.setattr("hilum.data.explore.figures.DPI", 20)
    for module in ("figures", "box_figures"):
        monkeypatch.setattr(
            f"hilum.data.explore.{module}.figure",
            lambda width, height: Figure(figsize=(width, height)),
        )


def dicom(path: Path, i: int, square: bool = False, **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(dicom_bytes(image(i, square).pixels, seed=i, **options))


def png(path: Path, i: int, square: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_png(image(i, square), path, 16 if i % 2 else 8)


def table(path: Path, *rows: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\ufeff" + "\n".join(rows) + "\n", encoding="utf-8")


def cells(box: list[float] | None, corners: bool = False) -> str:
    if box is None or np.isnan(box).any():
        return ",,,"
    x, y, w, h = box
    return ",".join(map(str, (x, y, x + w, y + h) if corners else box))


def rsna(d: Path) -> Tree:
    labels, classes = ["patientId,x,y,width,height,Target"], ["patientId,class"]
    for i, (box, options) in enumerate(zip(BOXES, FILES, strict=True)):
        dicom(d / f"stage_2_train_images/i{i}.dcm", i, **options)
        labels.append(f"i{i},{cells(box)},{int(box is not None)}")
        classes += [f"i{i},{'Normal' if box is None else 'Lung Opacity'}"] * 2
    table(d / "stage_2_train_labels.csv", *labels, "lost,1,2,3,4,1")
    table(d / "stage_2_detailed_class_info.csv", *classes, "lost,Lung Opacity")
    dicom(d / "stage_2_train_images/extra.dcm", 30)
    return {"headers": True}, 9


def siim_covid(d: Path) -> Tree:
    images = ["id,boxes,label,StudyInstanceUID"]
    studies = [
        "id,Negative for Pneumonia,Typical Appearance,Indeterminate Appearance,Atypical Appearance"
    ]
    for i, (box, options) in enumerate(zip(BOXES, FILES, strict=True)):
        dicom(d / f"train/s{i // 2}/r{i}/i{i}.dcm", i, study=i // 2, **options)
        keys = ("x", "y", "width", "height")
        text = "" if box is None else f'"{[dict(zip(keys, box, strict=True))]}"'
        images.append(f"i{i}_image,{text},none 1 0 0 1 1,s{i // 2}")
    studies += [f"s{i}_study,1,0,0,0" for i in range(4)] * 2
    table(d / "train_image_level.csv", *images, *["lost_image,,none 1 0 0 1 1,s9"] * 2)
    table(d / "train_study_level.csv", *studies)
    dicom(d / "train/s20/r/extra.dcm", 30)
    return {}, 9


def siim_acr(d: Path) -> Tree:
    rows = ["ImageId, EncodedPixels"]
    for i, options in enumerate(FILES):
        dicom(d / f"dicom-images-train/1.{i}/2.{i}/1.2.{i}.dcm", i, square=True, **options)
        rows += [f"1.2.{i}, {'-1' if i % 2 else '5 3'}"] * 2
    table(d / "train-rle.csv", *rows, "lost, -1")
    dicom(d / "dicom-images-train/9/9/extra.dcm", 30)
    return {}, 9


def nih(d: Path) -> Tree:
    rows = [
        "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,"
        "View Position,OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
    ]
    boxes = ["Image Index,Finding Label,Bbox [x,y,w,h],,,"]
    for i, box in enumerate(BOXES):
        name = f"0000000{i // 2}_00{i}.png"
        png(d / f"images_00{1 + i % 2}/images/{name}", i, square=True)
        rows += [f"{name},Mass|Edema,{i},{i // 2},058Y,M,PA,2682,2749,.1,.1"] * 2
        boxes.append(f"{name},Mass,{cells(box)},,,")
    table(d / "Data_Entry_2017_v2020.csv", *rows, "00000090_000.png,Mass,0,90,58,M,PA,1,1,1,1")
    table(d / "BBox_List_2017.csv", *boxes)
    table(d / "train_val_list.txt", "00000000_000.png")
    png(d / "images_001/images/00000091_000.png", 30)
    return {}, 9


def vindr(d: Path) -> Tree:
    rows = ["image_id,class_name,class_id,rad_id,x_min,y_min,x_max,y_max"]
    for i, (box, options) in enumerate(zip(BOXES, FILES, strict=True)):
        dicom(d / f"train/i{i}.dicom", i, **options)
        name = "No finding,14" if box is None else "Edema,1"
        rows += [f"i{i},{name},R{r},{cells(box, corners=True)}" for r in (1, 2)] * 2
    table(d / "train.csv", *rows, "lost,Edema,1,R1,1,2,3,4")
    dicom(d / "train/extra.dicom", 30)
    return {"headers": True}, 9


def chexpert(d: Path) -> Tree:
    rows = ["Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding,Lung Opacity"]
    for i in range(len(BOXES)):
        place = f"train/patient0000{i // 2}/study{i}/view1_frontal"
        png(d / f"{place}.png", i)
        rows += [
            f"CheXpert-v1.0-small/{place}.jpg,Male,60,Frontal,AP,,{-1.0 if i % 2 else 1.0}"
        ] * 2
    table(d / "train.csv", *rows, "train/patient00009/study1/view1_frontal.jpg,,,Frontal,AP,,")
    png(d / "train/patient00010/study1/view1_frontal.png", 30)
    return {}, 9


def mimic_cxr(d: Path) -> Tree:
    images, found = ["dicom_id,subject_id,study_id,ViewPosition"], ["subject_id,study_id,Edema"]
    for i in range(len(BOXES)):
        dicom(d / f"files/p10/p1000{i // 2}/s5{i}/i{i}.dcm", i, **FILES[i])
        images += [f"i{i},1000{i // 2},5{i},AP"] * 2
        found += [f"1000{i // 2},5{i},{-1.0 if i % 2 else 1.0}"] * 2
    table(d / "mimic-cxr-2.0.0-metadata.csv", *images, "lost,10009,59,PA")
    table(d / "mimic-cxr-2.0.0-chexpert.csv", *found, "10009,59,")
    dicom(d / "files/p10/p10010/s60/extra.dcm", 30)
    return {}, 9


def coco(d: Path) -> Tree:
    images: list[dict[str, Any]] = [{"id": 50, "file_name": "lost.png", "width": 9, "height": 9}]
    result: list[dict[str, Any]] = [{"id": 9, "image_id": 777, "category_id": 1, "bbox": [1] * 4}]
    for i, box in enumerate(BOXES):
        png(d / f"images/i{i}.png", i)
        images.append({"id": i, "file_name": f"i{i}.png", "width": 48 + i, "height": 40})
        if box:
            result.append({"id": i, "image_id": i, "category_id": 1, "bbox": box})
    names = [{"id": 1, "name": "opacity"}]
    content = {"images": images, "annotations": result, "categories": names}
    table(d / "annotations/instances_train.json", json.dumps(content))
    png(d / "images/extra.png", 30)
    return {}, 9


def voc(d: Path) -> Tree:
    for i, box in enumerate(BOXES):
        png(d / f"JPEGImages/i{i}.png", i)
        corners = zip(("xmin", "ymin", "xmax", "ymax"), cells(box, True).split(","), strict=True)
        inside = "".join(f"<{key}>{value}</{key}>" for key, value in corners)
        drawn = f"<object><name>opacity</name><bndbox>{inside}</bndbox></object>" if box else ""
        size = f"<size><width>{48 + i}</width><height>40</height></size>"
        table(d / f"Annotations/i{i}.xml", f"<annotation>{size}{drawn}</annotation>")
    table(d / "Annotations/lost.xml", "<annotation/>")
    png(d / "JPEGImages/extra.png", 30)
    return {}, 9


def yolo(d: Path) -> Tree:
    table(d / "data.yaml", "names: [opacity]")
    for i, box in enumerate(BOXES):
        png(d / f"images/train/i{i}.png", i)
        parts = [] if box is None else [str(v / 48) for v in box]
        table(d / f"labels/train/i{i}.txt", "0 " + " ".join(parts) if parts else "")
    table(d / "labels/train/lost.txt", "0 .5 .5 .1 .1")
    png(d / "images/train/extra.png", 30)
    return {}, 9


def folder(d: Path) -> Tree:
    rows = ["file,pid,y"]
    for i, options in enumerate(FILES):
        dicom(d / f"x/i{i}.dcm", i, **options)
        rows += [f"i{i}.dcm,p{i // 2},{i % 2}"] * 2
    table(d / "labels.csv", *rows, "lost.dcm,p,1")
    png(d / "extra.png", 30)
    columns = {"image_id": "file", "patient": "pid", "label_opacity": "y"}
    return {"table": "labels.csv", "columns": columns}, 8


TREES: dict[str, Callable[[Path], Tree]] = {
    f.__name__.replace("_", "-"): f
    for f in (rsna, siim_covid, siim_acr, nih, vindr, chexpert, mimic_cxr, coco, voc, yolo, folder)
}


@pytest.mark.parametrize("name", list(TREES))
def test_everything_downstream_survives_what_users_have(tmp_path: Path, name: str) -> None:
    root = tmp_path / "set"
    options, images = TREES[name](root)
    catalog = load(name, root, **options)
    assert len(catalog) == images
    assert (catalog.table["patient"] != "").all()
    assert (catalog.table["path"] == "").sum() == (0 if name == "folder" else 1)  # lost
    corners = np.concatenate([b for b in catalog.table["boxes"] if b is not None] or [[]])
    assert np.isfinite(corners.astype(float)).all()

    report = check(catalog, file_facts(catalog, tmp_path / "files.jsonl"))
    assert {"no-label", "no-file"} - {"no-file" if name == "folder" else ""} <= set(report.counts())
    assert "unreadable" not in report.counts()
    if len(corners):
        assert {"box-outside", "box-empty"} <= set(report.counts())
    cleaned = report.cleaned()
    assert "box-empty" not in check(cleaned).counts()

    summary = Summary(catalog, read_files(catalog))
    assert "</html>" in explore_page(summary, list(plots(summary)), 1, 0)
    assert set(hold_out(catalog, (0.5, 0.5)).proof()["patients_in_both"].values()) == {0}
    out = tmp_path / "out"
    copies, left = finish(catalog, list(write_images(catalog, ImageFormat(side=24), out)), out)
    assert (len(copies), len(left)) == ((images, 0) if name == "folder" else (images - 1, 1))


@pytest.mark.parametrize("name", list(TREES))
def test_a_wrong_directory_names_the_files_looked_for(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="none of the files looked for: "):
        load(name, tmp_path)
    with pytest.raises(DataError, match=r"no directory|neither a directory"):
        load(name, tmp_path / "gone")
    assert name in ADAPTERS


def test_patients_shared_by_studies_are_one_and_empty_ones_their_study(tmp_path: Path) -> None:
    siim_covid(tmp_path)
    patients = load("siim-covid", tmp_path).table.set_index("image_id")["patient"]
    assert patients["i3"] == patients["i4"] == "shared"
    assert patients["i2"] == "study:s1"
    assert isinstance(patients, pd.Series)
