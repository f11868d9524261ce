"""A recipe on a set of phantoms: what a run checks, keeps and refuses."""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from helpers.phantom_set import catalog, in_stages, small
from hilum.core import progress
from hilum.core.errors import ConfigError, DataError
from hilum.core.geometry import Letterbox
from hilum.data.catalog import Catalog
from hilum.evaluate.epochs import kept_epochs, read_epochs
from hilum.evaluate.metrics.detection import detection_ap
from hilum.fuse import keep_best
from hilum.train import sweep
from hilum.train.folder import RunFolder, locked
from hilum.train.options import KeptPredictions
from hilum.train.recipe import Recipe, recipe_folder
from hilum.train.run import plans, run, summary
from hilum.train.samples import PreparedImage


def classifier(*changes: str) -> Recipe:
    """Of two images a step, so small that an epoch is nothing."""
    return small(
        "model={kind: classifier, encoder: test_efficientnet, pretrained: false}",
        "targets={masks: [], labels: []}",
        "train={epochs: 1, watch: val_loss}",
        *changes,
    )


def test_dropout_and_batch_norm_train(data: Path, tmp_path: Path) -> None:
    """Evaluating the untrained network must not leave it in evaluation mode."""
    folder = run(small("train.epochs=1", "train.ema=0"), data, tmp_path / "run")
    state = load_file(folder / "all" / "weights.safetensors")
    counts = [int(v) for k, v in state.items() if k.endswith("num_batches_tracked")]
    assert counts
    assert set(counts) == {2}  # of 12 images, 6 a batch


def test_a_run_keeps_what_it_is_and_how_it_went(data: Path, tmp_path: Path) -> None:
    folder = run(small(), data, tmp_path / "run")
    rows = pd.read_parquet(folder / "metrics.parquet")
    assert list(rows["epoch"]) == [1, 2]
    assert {"loss", "val_loss", "val_focal", "learning_rate", "ap50", "rsna_score"} <= set(rows)
    results = json.loads((folder / "results.json").read_text())
    assert set(results) == {"untrained", "validation", "test"}
    images = json.loads((folder / "data.json").read_text())["images"]
    assert list(images) == ["train", "validation", "test"]
    assert sum(images.values()) == 20
    assert "rsna-retinanet" in (folder / "index.html").read_text()
    sheets = sorted(file.name for file in (folder / "samples").iterdir())
    assert sheets == ["epoch-001.png", "finished-network.png"]
    with pytest.raises(ConfigError, match="seed"):
        run(small("seed=8"), data, folder)


def test_other_data_in_the_same_folder_is_refused(data: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(data, tmp_path / "set")
    recipe = small("train.epochs=1")
    run(recipe, copy, tmp_path / "run")
    (copy / "labels" / "01.txt").write_text("")  # one box fewer
    with pytest.raises(DataError, match="not the data"):
        run(recipe, copy, tmp_path / "run")


@pytest.mark.parametrize(
    ("change", "error", "place"),
    [
        ("train.watch=ap5", ConfigError, "train.watch.*'ap50'"),
        ("stages.all.schedule={kind: plateau, watch: val_bx}", ConfigError, "'val_box'"),
        ("targets.labels=[mass]", DataError, "mass"),
        ("train.start=nowhere", ConfigError, "nowhere"),
        ("data.set=voc", DataError, ""),
    ],
)
def test_a_start_that_fails_leaves_a_folder_that_can_be_started_again(
    data: Path, tmp_path: Path, change: str, error: type[Exception], place: str
) -> None:
    with pytest.raises(error, match=place):
        run(small(change), data, tmp_path / "run")
    assert not (tmp_path / "run" / "all").exists()
    folder = RunFolder(tmp_path / "run", small("seed=3"))
    folder.check()  # other settings, of the same and of other data, are no fault
    assert folder.split is None
    assert not (tmp_path / "run" / "data.json").exists()


def test_two_runs_never_share_a_folder(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    code = (
        "import sys, time; from pathlib import Path; from hilum.train.folder import locked\n"
        "with locked(Path(sys.argv[1])):\n    print('held', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(out)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    with pytest.raises(ConfigError, match=str(process.pid)):
        run(small(), data, out)
    process.kill()  # a killed process holds no lock
    process.wait()
    process.stdout.close()
    with locked(out):
        pass


def test_an_unreadable_image_is_listed_and_left_out(tmp_path: Path) -> None:
    images = catalog(tmp_path, "own", 12)
    for name in ("01", "05"):
        (tmp_path / "own" / f"{name}.png").write_bytes(b"damaged")
    recipe = classifier()
    out = run(recipe, tmp_path / "own.parquet", tmp_path / "run")
    document = json.loads((out / "data.json").read_text())
    assert set(document["unreadable"]) == {"own/own-01", "own/own-05"}
    assert document["left_out"]["unreadable"] == 2
    assert sum(document["images"].values()) == len(images) - 2


def test_a_set_of_damaged_files_is_refused(tmp_path: Path) -> None:
    catalog(tmp_path, "own", 12)
    for file in (tmp_path / "own").glob("*.png"):
        file.write_bytes(b"damaged")
    with pytest.raises(DataError, match="no image is left"):
        run(classifier(), tmp_path / "own.parquet", tmp_path / "run")


def test_a_catalogs_own_split_is_trained_on(tmp_path: Path) -> None:
    own = catalog(tmp_path, "own", 12)
    parts = ["train"] * 6 + ["validation"] * 4 + ["test"] * 2
    Catalog("own", own.table.assign(split=parts), tmp_path).save(tmp_path / "own.parquet")
    out = run(classifier(), tmp_path / "own.parquet", tmp_path / "run")
    images = json.loads((out / "data.json").read_text())["images"]
    assert images == {"train": 6, "validation": 4, "test": 2}


def test_auc_is_of_the_positive_class_wherever_it_stands(tmp_path: Path) -> None:
    """The study model's was of *atypical*, the last of its classes."""
    catalog(tmp_path, "own", 24)
    order = ["targets.classes=[opacity, not-normal, normal]", "train.watch=auc"]
    numbers = []
    for positive in ("[opacity]", "[opacity, not-normal]", "[normal]"):
        recipe = classifier(*order, f"targets.positive={positive}")
        out = run(recipe, tmp_path / "own.parquet", tmp_path / positive)
        numbers.append(json.loads((out / "results.json").read_text())["untrained"])
    # No image is "not normal": what is not normal is so as surely as what is normal.
    assert numbers[0]["auc"] == numbers[0]["auc_opacity"]
    assert numbers[1]["auc"] == numbers[1]["auc_positive"]
    assert numbers[2]["auc"] == numbers[2]["auc_normal"]
    assert numbers[1]["auc"] == pytest.approx(numbers[2]["auc"])


def test_a_run_that_leaves_the_finite_numbers_stops_and_says_so(data: Path, tmp_path: Path) -> None:
    changes = ("stages.all.learning_rate=1e30", "optimiser.weight_decay=0")
    with pytest.raises(ConfigError, match="lower the learning rate"):
        run(small(*changes), data, tmp_path)
    assert not list(tmp_path.rglob("*.safetensors"))


def test_averaged_epochs_keep_what_was_frozen(data: Path, tmp_path: Path) -> None:
    """Statistics of a frozen batch norm are not taken anew; those that move are."""
    average = "train.average={best: 2}"
    frozen = small(average, "stages.all.frozen_batch_norm=true")
    state = load_file(run(frozen, data, tmp_path / "frozen") / "weights.safetensors")
    means = [v for k, v in state.items() if k.endswith("running_mean")]
    assert means
    assert all((mean == 0).all() for mean in means)  # as they began
    state = load_file(run(small(average), data, tmp_path / "moving") / "weights.safetensors")
    counts = {int(v) for k, v in state.items() if k.endswith("num_batches_tracked")}
    assert counts == {2}  # one pass over 12 images, 6 a batch


def test_one_image_a_batch_is_refused_where_batch_norm_sees_one_value(
    data: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"raise train\.batch"):
        run(small("train.batch=1"), data, tmp_path / "run")


def image(number: int) -> PreparedImage:
    blank = np.zeros((64, 64), np.float16)
    nothing = np.zeros(0, np.float32)
    return PreparedImage(
        f"i{number}",
        "yolo",
        "yolo",
        f"p{number}",
        blank,
        Letterbox(64, 64, 64),
        None,
        {},
        nothing,
        nothing,
    )


def test_stages_that_continue_share_one_schedule(tmp_path: Path) -> None:
    stages = {
        "warm": {"epochs": 1, "learning_rate": 0.1, "freeze": "encoder"},
        "small": {"epochs": 2, "learning_rate": 0.01, "size": 64},
        "full": {"epochs": 3, "continues": True},
    }
    recipe = in_stages(small("preprocessing.size=96"), stages)
    warm, first, second = plans(recipe, [image(i) for i in range(12)], tmp_path)
    assert [one.steps for one in (warm, first, second)] == [2, 4, 6]
    assert [one.spec.size for one in (warm, first, second)] == [96, 64, 96]
    assert [(one.offset, one.span) for one in (warm, first, second)] == [(0, 2), (0, 10), (4, 10)]
    assert [one.first for one in (warm, first, second)] == [0, 1, 3]
    assert second.options.learning_rate == 0.01
    assert second.begin == tmp_path / "small"


def test_a_run_grows_from_small_to_large_images_under_one_schedule(
    data: Path, tmp_path: Path
) -> None:
    stages = {
        "small": {"epochs": 1, "learning_rate": 0.001, "size": 64, "schedule": {"warmup": 0}},
        "full": {"epochs": 2, "continues": True},
    }
    out = run(in_stages(small("preprocessing.size=96"), stages), data, tmp_path / "run")
    rows = pd.read_parquet(out / "metrics.parquet")
    rates = rows["learning_rate"].tolist()
    assert rows["stage"].tolist() == ["small", "full", "full"]
    assert rates == sorted(rates, reverse=True)  # one cosine, from the first to the last
    assert rates[1] < 0.8 * rates[0]
    assert not list(out.rglob("last.ckpt"))


def test_the_log_is_never_silent_for_long(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "hilum.progress")
    with progress.spoken(silence_s=0.05):
        for _ in progress.counted(range(3), "reading", 3):
            time.sleep(0.1)
    words = [record.getMessage() for record in caplog.records]
    assert any("reading: 2 of 3" in line for line in words)
    assert len(words) <= 8  # and does not chatter


def test_every_recipe_of_a_sweep_reads() -> None:
    for file in sorted((recipe_folder() / "sweeps").glob("*.yaml")):
        grid = sweep.load_grid(file)
        for changes in grid.named().values():
            for repeat in grid.repeats:
                assert sweep.recipe_of(grid, changes, repeat)


def test_a_run_keeps_the_unsuppressed_boxes_of_the_epochs_it_was_asked_for(
    data: Path, tmp_path: Path
) -> None:
    changes = ("train.epochs=3", "train.keep_predictions={last: 1, epochs: [1], floor: 0.001}")
    made = run(small(*changes), data, tmp_path / "run")
    assert list(kept_epochs(made)) == [1, 3]
    kept = read_epochs(made)
    rows = pd.read_parquet(made / "metrics.parquet").set_index("epoch")
    decoding = RunFolder.of(made).recipe.decoding
    for epoch in (1, 3):
        shown = []
        for own, scores in kept.predictions[epoch]:
            keep = keep_best(own, scores, iou=decoding.nms_iou)
            keep = keep[scores[keep] >= decoding.score_floor][: decoding.max_boxes]
            shown.append((own[keep], scores[keep]))
        assert detection_ap(kept.truth, shown) == pytest.approx(rows.loc[epoch, "ap50"], abs=1e-6)
    assert max(len(scores) for _, scores in kept.predictions[3]) > decoding.max_boxes


@pytest.mark.parametrize(
    ("text", "wanted", "left"),
    [("all", [1, 2, 3], [1, 2, 3]), ([2], [2], [2]), ({"last": 2}, [1, 2, 3], [2, 3])],
)
def test_epochs_whose_boxes_are_kept(text: object, wanted: list[int], left: list[int]) -> None:
    options = KeptPredictions.model_validate(text)
    written = [epoch for epoch in (1, 2, 3) if options.wants(epoch)]
    assert written == wanted
    assert [e for e in written if e not in options.spare(written)] == left
    assert not KeptPredictions().wants(1)


def test_the_mean_of_stages_is_what_a_run_leaves(data: Path, tmp_path: Path) -> None:
    """Weights are halfway; batch-norm statistics are those of the mean network, not their mean."""
    second = "stages.second={steps: 2, learning_rate: 0.01, schedule: {warmup: 0}}"
    recipe = small(second, "train.average={stages: [all, second]}")
    out = run(recipe, data, tmp_path / "mean")
    left = [load_file(out / name / "weights.safetensors") for name in ("all", "second")]
    mean = load_file(out / "weights.safetensors")
    learnt = [k for k, v in mean.items() if v.is_floating_point() and "running" not in k]
    assert any(not torch.equal(left[0][key], left[1][key]) for key in learnt)
    for key in learnt:
        torch.testing.assert_close(mean[key], (left[0][key] + left[1][key]) / 2)
    with pytest.raises(ConfigError, match="secnd"):
        small("train.average={stages: [all, secnd]}")


def test_a_stage_after_the_mean_begins_from_it(data: Path, tmp_path: Path) -> None:
    """And only the part that learns moves."""
    second = "stages.second={steps: 2, learning_rate: 0.01, schedule: {warmup: 0}}"
    third = "stages.third={steps: 2, learning_rate: 0.1, learns: global_head}"
    recipe = small(second, third, "train.average={stages: [all, second]}")
    with pytest.raises(ConfigError, match="global_haed"):  # before the first stage trains
        run(
            small("stages.third={steps: 2, learning_rate: 0.1, learns: global_haed}"),
            data,
            tmp_path,
        )
    out = run(recipe, data, tmp_path / "mean")
    left = [load_file(out / name / "weights.safetensors") for name in ("all", "second")]
    final = load_file(out / "weights.safetensors")
    for key, value in final.items():
        if not value.is_floating_point() or "running" in key:
            continue
        mean = (left[0][key] + left[1][key]) / 2
        if key.startswith("global_head."):
            assert not torch.allclose(value, mean, atol=1e-4), key
        else:
            torch.testing.assert_close(value, mean)


def test_a_training_that_made_it_worse_says_so() -> None:
    before, after = {"auc": 0.68, "val_loss": 0.87}, {"auc": 0.62, "val_loss": 1.16}
    results = {"untrained": before, "validation": after, "test": {"auc": 0.46, "val_loss": 1.4}}
    lines = summary(results, "auc")
    assert lines[0] == "auc: untrained 0.680, validation 0.620, test 0.460"
    assert "untrained network has the better auc and val_loss" in lines[-1]
    assert len(summary({"untrained": after, "validation": before}, "auc")) == 2
    assert (
        "better val_loss on" in summary({"untrained": before, "validation": after}, "val_loss")[-1]
    )
