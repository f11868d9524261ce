"""CheXpert beside NIH, each in its own layout, from the raw folders to a bundle that predicts."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from hilum.data.phantom.phantom import phantom
from hilum.dicom.read import read
from hilum.inference.loaded import LoadedPipeline
from hilum.inference.pipeline import Pipeline
from hilum.train.export.bundle import Choice, export
from hilum.train.recipe import Recipe, load_recipe
from hilum.train.run import run
from hilum.train.sources import open_sources

FINDINGS = ("edema", "lung-opacity", "no-finding")
TINY = (
    "data.nih.cache=false",
    "data.chexpert.cache=false",
    *("data.nih.hold_out={validation: .2, test: .2}", "preprocessing.size=64"),
    "data.chexpert.hold_out={validation: .2, test: .2}",
    f"targets.findings=[{', '.join(FINDINGS)}]",
    *("model.encoder=test_efficientnet", "model.pretrained=false", "train.oversample=0.5"),
    *("train.batch=4", "train.precision=fp32", "train.threads=1", "train.epochs=1"),
)


def picture(path: Path, seed: int) -> None:
    image = phantom(seed, 96, 96, opacities=seed % 2)
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), (image.pixels * 255).astype(np.uint8))


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CheXpert: 20 patients, a lateral view of every fourth; of NIH ten."""
    folder = tmp_path_factory.mktemp("sets")
    lines = ["Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding,Lung Opacity,Edema"]
    for i in range(20):
        part = "valid" if i == 19 else "train"
        place = f"CheXpert-v1.0-small/{part}/patient{i:05d}/study1/view1_frontal.jpg"
        picture(folder / "chexpert" / place.split("/", 1)[1], i)
        # Every fourth opacity is unsure; nothing is said of the others.
        opacity = ("-1.0" if i % 4 == 1 else "1.0") if i % 2 else ""
        lines.append(f"{place},Male,60,Frontal,AP,{'' if i % 2 else 1.0},{opacity},0.0")
        if i % 4 == 0:
            place = place.replace("view1_frontal", "view2_lateral")
            picture(folder / "chexpert" / place.split("/", 1)[1], i + 50)
            lines.append(f"{place},Male,60,Lateral,,,1.0,")
    tables = {"train": [x for x in lines[1:] if "/train/" in x], "valid": [lines[-1]]}
    for name, rows in tables.items():
        (folder / "chexpert" / f"{name}.csv").write_text("\n".join([lines[0], *rows]) + "\n")
    lines = [
        "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,"
        "View Position,OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
    ]
    for i in range(10):
        picture(folder / f"nih/images_001/images/{i:08d}_000.png", 100 + i)
        found = "Edema" if i % 2 else "No Finding"
        lines.append(f"{i:08d}_000.png,{found},0,{i},058Y,M,PA,96,96,.1,.1")
    (folder / "nih" / "Data_Entry_2017_v2020.csv").write_text("\n".join(lines) + "\n")
    return folder


def recipe(*changes: str) -> Recipe:
    return load_recipe("nih-chexpert-resnext101", (*TINY, *changes))


def test_lateral_views_are_left_out_and_unsure_findings_unknown(sets: Path) -> None:
    _, chexpert = open_sources(recipe(), sets)
    assert chexpert.left_out["lateral views"] == 5
    opacity = chexpert.lessons.table["label_lung-opacity"]
    assert (opacity.isna().sum(), (opacity == 1).sum(), (opacity == 0).sum()) == (5, 5, 10)
    sure = "data.chexpert.options.uncertain=ones"
    _, chexpert = open_sources(recipe(sure), sets)
    assert (chexpert.lessons.table["label_lung-opacity"] == 1).sum() == 10


def test_two_raw_folders_become_a_bundle_that_predicts(sets: Path, tmp_path: Path) -> None:
    out = run(recipe(), sets, tmp_path / "run")
    counts = json.loads((out / "data.json").read_text())["sources"]
    assert sum(counts["chexpert"][part] for part in ("train", "validation", "test")) == 20
    assert sum(counts["nih"][part] for part in ("train", "validation", "test")) == 10
    bundle = export(out, tmp_path / "bundle.zip", choice=Choice(int8=False))
    picture(tmp_path / "new.png", 200)
    pipeline = Pipeline.load().with_bundle(bundle.path)
    findings = LoadedPipeline(pipeline)(read(tmp_path / "new.png"))
    assert set(findings.image_scores) == set(FINDINGS)
    assert (
        "CheXpert" in bundle.read("card.md").decode()
        or "chexpert" in bundle.read("card.md").decode()
    )
