"""The shipped bundle's recipe builds a bundle: every step of it, on phantoms, tiny."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from helpers.phantom_set import default_sets
from hilum.data.phantom.phantom import phantom, write_png
from hilum.dicom.read import read
from hilum.inference.loaded import LoadedPipeline
from hilum.inference.pipeline import Pipeline
from hilum.train.export.bundle import export
from hilum.train.recipe import load_recipe
from hilum.train.run import run

TINY = (
    *("preprocessing.size=96", "stages.small.size=64", "stages.small.steps=3"),
    *("stages.full.steps=2", "stages.small.schedule.warmup=1", "train.batch=4"),
    *("stages.again.steps=2", "stages.again.schedule.warmup=1"),
    *("stages.more.steps=2", "stages.more.schedule.warmup=1"),
    *("stages.masks.steps=2", "stages.masks.schedule.warmup=1"),
    *("train.save_every=2", "train.precision=fp32", "train.threads=1", "model.channels=8"),
    *("model.encoder=test_efficientnet", "model.pretrained=false", "train.watch=val_loss"),
    # Of twelve images a source five per cent are none.
    "data.siim_covid_256.hold_out={validation: .2, test: .2}",
    *(f"data.{i}.hold_out={{validation: .2, test: .2}}" for i in range(1, 7)),
)


def test_the_default_recipe_builds_a_bundle_on_phantoms(tmp_path: Path) -> None:
    data = default_sets(tmp_path / "sets")
    out = run(load_recipe("default", TINY), data, tmp_path / "run")
    rows = pd.read_parquet(out / "metrics.parquet")
    assert rows["stage"].tolist() == ["small", "small", "full", "again", "more", "masks"]
    assert {"val_focal", "val_mask", "val_global", "val_finding", "val_loss"} <= set(rows)
    assert "dice_lungs" in json.loads((out / "results.json").read_text())["test"]
    document = json.loads((out / "data.json").read_text())
    assert document["sources"]["covid_opacity_512"]["test"] == 6
    assert document["sources"]["covid_opacity_512"]["train"] == 0
    bundle = export(out, tmp_path / "made.zip")
    manifest = bundle.manifest
    assert manifest.labels == ("opacity",)
    assert set(manifest.masks) == {"opacity", "lungs"}
    assert manifest.global_classes == ("normal", "not-normal", "opacity")
    assert manifest.positive == "opacity"
    assert manifest.default_precision == "fp32"
    named = {licence.name for licence in manifest.data_licences}
    assert {"siim_covid_256", "rsna_128", "kermany_lungs_320"} <= named
    card = bundle.read("card.md").decode()
    assert "trained at 64 px then 96 px" in card
    assert "test, covid_opacity_512 (int8)" in card
    write_png(phantom(3, 200, 160), tmp_path / "image.png")
    loaded = LoadedPipeline(Pipeline.load().with_bundle(tmp_path / "made.zip"))
    findings = loaded(read(tmp_path / "image.png"))
    assert set(findings.masks) == {"opacity", "lungs"}
    assert findings.masks["lungs"].shape == (160, 200)
