"""A setting is used only where it answers as fp32; what was chosen is used, and said."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from helpers.pictures import write_png
from helpers.toy import toy_files, toy_graph, toy_manifest, write_text
from hilum.cli.main import app
from hilum.core.bundle import write_bundle
from hilum.core.errors import ConfigError
from hilum.core.findings import Findings
from hilum.dicom.discover import discover
from hilum.inference import bench, tuning
from hilum.inference.bench import Limits, Setting, apart, compared, settings
from hilum.inference.pipeline import Pipeline
from hilum.serve.config import Config
from hilum.serve.pipelines import workers_of

BOX = np.array([[30.0, 40.0, 62.0, 80.0]], np.float32)
ONE = Findings(
    width=100,
    height=100,
    boxes_px=BOX,
    scores=np.array([0.8], np.float32),
    labels=("opacity",),
    image_scores={"opacity": 0.7},
    masks={},
)
INT8 = Setting(precision="int8", workers=1, threads=1)


def made(folder: Path, int8: bytes | None = None) -> Path:
    """A pipeline whose bundle has both precisions; without `int8` they are equal."""
    fp32 = toy_graph(BOX, np.array([2.0], np.float32))
    write_bundle(
        folder / "toy.zip",
        toy_manifest(precisions={"fp32": "model.onnx", "int8": "model.int8.onnx"}),
        toy_files(fp32) | {"model.int8.onnx": int8 or fp32},
    )
    write_png(folder / "images" / "a.png", 1, 96, 80)
    return write_text(folder / "toy.yaml", "")


def hilum(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(autouse=True)
def _own_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


def test_every_setting_fits_the_cores_and_all_cores_are_tried() -> None:
    tried = list(settings(("fp32", "int8"), 6))
    assert tried[0] == Setting(precision="fp32", workers=1, threads=1)
    assert all(one.workers * one.threads <= 6 for one in tried)
    assert Setting(precision="int8", workers=6, threads=1) in tried
    assert len(tried) == len(set(tried))
    assert [(one.workers, one.threads) for one in settings(["fp32"], 1)] == [(1, 1)]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({}, ""),
        ({"boxes_px": BOX + 0.9, "image_scores": {"opacity": 0.709}}, ""),
        ({"boxes_px": BOX + 1.5}, "boxes differ by 1.5 px, allowed 1"),
        ({"image_scores": {"opacity": 0.72}}, "scores differ by 0.020, allowed 0.01"),
        ({"scores": np.array([0.78], np.float32)}, "scores differ by 0.020, allowed 0.01"),
        ({"labels": ("lungs",)}, "other boxes"),
        ({"image_scores": {"normal": 0.7}}, "scores differ by inf, allowed 0.01"),
    ],
)
def test_only_near_answers_are_accepted(change: dict[str, object], why: str) -> None:
    other = replace(ONE, **change)  # type: ignore[arg-type]
    assert compared(INT8, 1.0, [ONE, ONE], [ONE, other], Limits()).refused == why


def test_a_box_more_or_less_is_far_away() -> None:
    none = np.zeros((0, 4), np.float32)
    empty = replace(ONE, boxes_px=none, scores=none[:, 0], labels=())
    assert apart(ONE, empty)[1] == apart(empty, ONE)[1] == np.inf
    assert apart(empty, empty) == (0.0, 0.0)


def test_the_machine_is_named_by_its_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "CPUINFO", tmp_path / "cpuinfo")
    tuning.CPUINFO.write_text("processor\t: 0\nmodel name\t: A CPU\n")
    assert tuning.machine().startswith("A CPU, ")


def test_bench_stores_what_predict_then_uses_and_says(tmp_path: Path) -> None:
    pipeline = made(tmp_path)
    image = tmp_path / "images" / "a.png"
    done = hilum(
        "bench", image, "--pipeline", pipeline, *["--images", "2", "--rounds", "1", "--json"]
    )
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert report["settings"][0]["precision"] == "fp32"
    assert {one["precision"] for one in report["settings"]} == {"fp32", "int8"}
    assert all(one["score"] == one["box_px"] == 0 for one in report["settings"])
    best = report["best"]
    assert best["files_per_s"] == max(one["files_per_s"] for one in report["settings"])
    choice = tuning.chosen(Pipeline.load(pipeline))
    assert choice is not None
    assert (choice.precision, choice.workers) == (best["precision"], best["workers"])

    command = ("predict", tmp_path / "images", "--pipeline", pipeline, "--out")
    assert "as hilum bench chose on" in hilum(*command, tmp_path / "a").stderr
    given = hilum(*command, tmp_path / "b", "--precision", "fp32", "--workers", "1")
    assert "hilum bench" not in given.stderr
    assert tuning.chosen(Pipeline.load()) is None  # another pipeline


def test_a_precision_that_crashes_or_answers_otherwise_is_never_chosen(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    broken, other = tmp_path / "broken", tmp_path / "other"
    lower = toy_graph(BOX, np.array([1.0], np.float32))
    for folder, graph, why in (
        (broken, b"no graph", "refuses the model"),
        (other, lower, "scores"),
    ):
        pipeline = Pipeline.load(made(folder, graph))
        items = list(discover([folder / "images"]))
        measured = bench.bench(pipeline, items, cores=1, images=1, rounds=1)
        assert [one.setting.precision for one in measured] == ["fp32", "int8"]
        assert why in measured[1].refused
        assert bench.best([replace(measured[1], files_per_s=1e9), measured[0]]) == measured[0]
        json.dumps(measured[1].to_json(), allow_nan=False)


def test_an_image_that_is_not_analysed_cannot_measure(tmp_path: Path) -> None:
    pipeline = Pipeline.load(made(tmp_path))
    (tmp_path / "images" / "a.png").write_bytes(b"no image")
    with pytest.raises(ConfigError, match="unreadable"):
        bench.bench(pipeline, list(discover([tmp_path / "images"])), cores=1)
    with pytest.raises(ConfigError, match="no radiographs"):
        bench.bench(pipeline, [], cores=1)


CHOICE = tuning.Choice(
    precision="int8",
    workers=3,
    threads=2,
    files_per_s=9.0,
    score=0.0,
    box_px=0.0,
    date="2026-01-01",
    hilum="0",
)


def test_options_go_before_the_choice_and_another_bundle_has_none(tmp_path: Path) -> None:
    pipeline = Pipeline.load(made(tmp_path))
    assert tuning.running(pipeline, usual=4) == tuning.Running(precision=None, workers=4, threads=1)
    tuning.store(pipeline, CHOICE)
    how = tuning.running(pipeline)
    assert (how.precision, how.workers, how.threads) == ("int8", 3, 2)
    how = tuning.running(pipeline, workers=1)
    assert (how.precision, how.workers, how.threads) == ("int8", 1, 1)
    how = tuning.running(pipeline, precision="fp32")
    assert (how.precision, how.workers, how.threads) == ("fp32", 3, 2)
    (tmp_path / "toy.zip").unlink()
    made(tmp_path, toy_graph(BOX, np.array([1.0], np.float32)))
    assert tuning.chosen(Pipeline.load(tmp_path / "toy.yaml")) is None


@pytest.mark.parametrize("damage", ["{", "[1]", '{"KEY": {"precision": "int8"}}'])
def test_a_damaged_file_of_choices_is_named(tmp_path: Path, damage: str) -> None:
    pipeline = Pipeline.load(made(tmp_path))
    file = tuning.store(pipeline, CHOICE)
    key = next(iter(json.loads(file.read_text())))
    file.write_text(damage.replace("KEY", key))
    with pytest.raises(ConfigError, match=r"bench\.json is damaged .*; delete it"):
        tuning.running(pipeline)


def test_the_service_uses_the_choice_unless_configured(tmp_path: Path) -> None:
    path = made(tmp_path)
    config = Config(pipelines={"default": str(path)})
    assert workers_of(config) == 1
    tuning.store(Pipeline.load(path), CHOICE)
    assert workers_of(config) == 3
    assert workers_of(config.model_copy(update={"workers": 0})) == 0
    assert workers_of(config.model_copy(update={"threads": 1})) == 1
