"""A recipe on a set of phantoms: a run that is killed, goes on, is exported and predicts."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml
from safetensors.torch import load_file

from hilum.core.errors import ConfigError, DataError
from hilum.data.phantom.phantom import phantom, write_png
from hilum.dicom.read import read
from hilum.inference.loaded import LoadedPipeline
from hilum.inference.pipeline import Pipeline
from hilum.train import run as running
from hilum.train import sweep as sweeping
from hilum.train.recipe import Recipe, load_recipe
from hilum.train.release import export
from hilum.train.run import run
from hilum.train.sweep import Grid, compare, recipe_of, sweep

SIDE = 96


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set in the layout of YOLO: twenty phantoms, every third without an opacity."""
    folder = tmp_path_factory.mktemp("set")
    for name in ("images", "labels"):
        (folder / name).mkdir()
    (folder / "data.yaml").write_text("names: [opacity]\n")
    for seed in range(20):
        made = phantom(seed, SIDE, SIDE, opacities=0 if seed % 3 == 0 else 1)
        write_png(made, folder / "images" / f"{seed:02d}.png", bits=8)
        rows = [
            f"0 {(x1 + x2) / 2 / SIDE} {(y1 + y2) / 2 / SIDE} {(x2 - x1) / SIDE} {(y2 - y1) / SIDE}"
            for x1, y1, x2, y2 in made.boxes_px
        ]
        (folder / "labels" / f"{seed:02d}.txt").write_text("\n".join(rows))
    return folder


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    # Lightning and the ONNX exporter lean on deprecated parts of others; ours stay errors.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


CHANGES = (
    *("data.set=yolo", "data.known=[]", "data.adults=false", "data.fractions=[.6,.2,.2]"),
    *("model.pretrained=false", "model.channels=16", "model.tower=1"),
    *("model.anchors.levels=[3,4,5]", "preprocessing.size=64"),
    *("train.batch=6", "train.threads=1", "train.precision=bf16", "train.epochs=2"),
)


COMMON = {k: yaml.safe_load(v) for k, v in (change.split("=", 1) for change in CHANGES)}


def recipe(*changes: str) -> Recipe:
    torch.set_num_threads(1)
    return load_recipe("rsna-retinanet-seresnext101-small", (*CHANGES, *changes))


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_numbers_and_becomes_a_bundle(
    data: Path, tmp_path: Path
) -> None:
    whole = run(recipe(), data, tmp_path / "whole")
    rows = pd.read_parquet(whole / "metrics.parquet")
    assert list(rows["epoch"]) == [1, 2]
    assert {"loss", "val_loss", "val_focal", "learning_rate"} <= set(rows)
    assert (whole / "index.html").read_text().count("<svg") >= 3

    # The same run in a process of its own, killed without warning after its first epoch.
    file = tmp_path / "recipe.yaml"
    file.write_text(yaml.safe_dump(recipe().model_dump(mode="json")))
    parts = tmp_path / "parts"
    command = [sys.executable, "-m", "hilum", "train", file, "--data", data, "--out", parts]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while not list(parts.glob("*/last.ckpt")) and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.02)
    process.kill()
    process.wait()
    assert not (parts / "results.json").exists()
    run(recipe("train.workers=1"), data, parts)  # workers change no number
    one, two = (load_file(folder / "weights.safetensors") for folder in (whole, parts))
    assert all(torch.equal(one[key], two[key]) for key in one)
    assert (whole / "results.json").read_text() == (parts / "results.json").read_text()

    with pytest.raises(ConfigError, match="seed"):
        run(recipe("seed=8"), data, whole)

    bundle = export(whole, tmp_path / "made.zip")
    assert set(bundle.manifest.precisions) == {"fp32", "int8"}
    assert "rsna-retinanet" in bundle.read("card.md").decode()
    analyser = LoadedPipeline(Pipeline.load().with_bundle(tmp_path / "made.zip"))
    write_png(phantom(3, 200, 160), tmp_path / "image.png")
    found = analyser(read(tmp_path / "image.png"))
    assert (found.width, found.height) == (200, 160)
    assert set(found.image_scores) == {"normal", "not-normal", "opacity"}


def test_dropout_and_batch_norm_train(data: Path, tmp_path: Path) -> None:
    """Judging the untrained network must not leave it in evaluation mode."""
    made = run(recipe("train.epochs=1", "train.ema=0"), data, tmp_path / "run")
    state = load_file(made / "all" / "weights.safetensors")
    counts = [int(v) for k, v in state.items() if k.endswith("num_batches_tracked")]
    assert counts
    assert set(counts) == {2}  # of 12 images, 6 a batch


def test_no_patient_and_no_image_is_in_two_parts(data: Path, tmp_path: Path) -> None:
    catalog, rows = running.catalog_rows(recipe(), data, None, tmp_path)
    named = [set(catalog.table["patient"].iloc[part]) for part in rows.values()]
    assert sum(map(len, rows.values())) == len(catalog) == 20
    assert not named[0] & named[1] | named[0] & named[2] | named[1] & named[2]
    again = running.catalog_rows(recipe(), data, None, tmp_path)[1]
    assert again == rows


def test_other_data_in_the_same_folder_is_refused(data: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(data, tmp_path / "set")
    running.catalog_rows(recipe(), copy, None, tmp_path)
    (copy / "labels" / "01.txt").write_text("")  # one box fewer
    with pytest.raises(DataError, match="not the data"):
        running.catalog_rows(recipe(), copy, None, tmp_path)


def test_a_set_that_says_nothing_of_the_targets_is_refused(data: Path, tmp_path: Path) -> None:
    told = recipe("model={kind: classifier, pretrained: false}", "targets.classes=[typical]")
    with pytest.raises(DataError, match="typical"):
        run(told, data, tmp_path / "run")


def test_a_sweep_says_when_no_difference_is_shown() -> None:
    runs = pd.DataFrame(
        {
            "arm": ["base"] * 3 + ["same"] * 3 + ["worse"] * 3,
            "repeat": ["a", "b", "c"] * 3,
            "ap50": [0.50, 0.54, 0.52, 0.51, 0.53, 0.52, 0.30, 0.33, 0.32],
        }
    )
    table = compare(runs, "ap50").set_index("arm")
    assert table.loc["same", "verdict"] == "no difference shown"
    assert table.loc["worse", "verdict"] == "lower"
    # Student's interval of .50, .54, .52: sd .02, t(2) = 4.3027
    assert table.loc["base", "high"] - 0.52 == pytest.approx(4.3027 * 0.02 / 3**0.5, rel=1e-4)
    alone = compare(runs[runs["repeat"] == "a"], "ap50").set_index("arm")
    assert alone.loc["worse", "verdict"] == "no difference shown"  # one seed shows nothing


def test_a_grid_is_every_combination_and_its_runs_are_checked_first() -> None:
    grid = Grid.model_validate(
        {"recipe": "rsna-yolo-small", "grid": {"augment": ["none", "light"], "seed": [1, 2, 3]}}
    )
    assert len(grid.named()) == 6
    with pytest.raises(ValueError, match="exactly one"):
        Grid.model_validate({"recipe": "rsna-yolo-small", "grid": {"a": [1]}, "arms": {"b": {}}})


def test_folds_are_repetitions_judged_on_what_they_left_out() -> None:
    grid = Grid.model_validate(
        {"recipe": "rsna-yolo-small", "arms": {"base": {}}, "seeds": [5], "folds": 3}
    )
    made = [recipe_of(grid, {}, repeat) for repeat in grid.repeats]
    assert [(one.seed, one.data and one.data.fold) for one in made] == [(5, 0), (5, 1), (5, 2)]
    assert grid.part == "validation"


@pytest.mark.slow
def test_k_fold_training_judges_every_film_once(data: Path, tmp_path: Path) -> None:
    grid = Grid.model_validate(
        {
            "recipe": "rsna-retinanet-seresnext101-small",
            "arms": {"base": {}},
            "common": COMMON | {"train.epochs": 1},
            "seeds": [1],
            "folds": 2,
            "metric": "val_loss",
        }
    )
    table = sweep(grid, data, tmp_path)
    assert table["runs"].tolist() == [2]
    splits = [json.loads(file.read_text()) for file in tmp_path.glob("base/*/data.json")]
    assert [one["images"]["validation"] for one in splits] == [10, 10]
    before = {f: f.stat().st_mtime_ns for f in tmp_path.glob("base/*/weights.safetensors")}
    assert sweep(grid, data, tmp_path).equals(table)  # nothing is trained again
    assert before == {f: f.stat().st_mtime_ns for f in before}
    other = grid.model_copy(update={"common": {**grid.common, "augment": "light"}})
    with pytest.raises(ConfigError, match="augment"):
        sweep(other, data, tmp_path)


@pytest.mark.slow
def test_a_search_goes_on_with_the_trial_that_was_killed(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = Grid.model_validate(
        {
            "recipe": "rsna-retinanet-seresnext101-small",
            "search": {"trials": 2, "space": {"stages.all.learning_rate": [1e-5, 1e-2, "log"]}},
            "common": COMMON | {"train.epochs": 1},
            "seeds": [1],
            "metric": "val_loss",
        }
    )
    real, calls = sweeping.run, []

    def killed(*given: object) -> Path:
        calls.append(given)
        if len(calls) == 2:
            raise RuntimeError("killed")
        return real(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(sweeping, "run", killed)
    with pytest.raises(RuntimeError, match="killed"):
        sweep(grid, data, tmp_path)
    monkeypatch.setattr(sweeping, "run", real)
    table = sweep(grid, data, tmp_path)
    assert table["arm"].tolist() == ["trial-0", "trial-1"]
    rates = [
        yaml.safe_load((tmp_path / arm / "recipe.yaml").read_text())["stages"]["all"]
        for arm in table["arm"]
    ]
    assert rates[0] != rates[1]
    assert all(1e-5 <= one["learning_rate"] <= 1e-2 for one in rates)


@pytest.mark.slow
def test_a_run_that_leaves_the_finite_numbers_stops_and_says_so(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="lower the learning rate"):
        run(recipe("stages.all.learning_rate=1e30", "optimiser.weight_decay=0"), data, tmp_path)
    assert not list(tmp_path.rglob("*.safetensors"))


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ("train.watch=ap5", "train.watch.*'ap50'"),
        ("stages.all.schedule={kind: plateau, watch: val_bx}", "schedule.watch.*'val_box'"),
    ],
)
def test_a_number_that_cannot_be_watched_is_refused_before_training(
    data: Path, tmp_path: Path, change: str, place: str
) -> None:
    with pytest.raises(ConfigError, match=place):
        run(recipe(change), data, tmp_path / "run")
    assert not (tmp_path / "run" / "all").exists()


def test_averaged_epochs_keep_what_was_frozen(data: Path, tmp_path: Path) -> None:
    """Statistics of a frozen batch norm are not taken anew; those that move are."""
    average = "train.average={best: 2}"
    frozen = recipe(average, "stages.all.frozen_batch_norm=true")
    state = load_file(run(frozen, data, tmp_path / "frozen") / "weights.safetensors")
    means = [v for k, v in state.items() if k.endswith("running_mean")]
    assert means
    assert all((mean == 0).all() for mean in means)  # as they began
    state = load_file(run(recipe(average), data, tmp_path / "moving") / "weights.safetensors")
    counts = {int(v) for k, v in state.items() if k.endswith("num_batches_tracked")}
    assert counts == {2}  # one pass over 12 images, 6 a batch


def test_one_image_a_batch_is_refused_where_batch_norm_sees_one_value(
    data: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"raise train\.batch"):
        run(recipe("train.batch=1"), data, tmp_path / "run")


def test_an_export_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no run"):
        export(tmp_path, tmp_path / "made.zip")
    running.open_run(recipe(), tmp_path / "begun")
    with pytest.raises(ConfigError, match="not finished"):
        export(tmp_path / "begun", tmp_path / "made.zip")
    running.open_run(load_recipe("default"), tmp_path / "default")
    with pytest.raises(ConfigError, match="writes its bundle"):
        export(tmp_path / "default", tmp_path / "made.zip")
