"""Training on Ray: a worker that is killed costs what it had not saved, and nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import yaml

pytest.importorskip("torch", reason="training is not installed")
pytest.importorskip("ray", reason='pip install "hilum[scale]"')

from helpers.phantom_set import yolo_set
from helpers.ranks import assert_same_weights, whole_or_in_parts
from hilum.core.errors import ConfigError
from hilum.scale.training import _rank, train
from hilum.train.export.bundle import export
from hilum.train.run import run

PATIENCE_S = 1800


def workers_of(mark: str) -> list[int]:
    """Ray's training workers among the descendants of whoever was given this mark."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            own = b"RayTrainWorker" in (entry / "cmdline").read_bytes()
            if own and mark.encode() in (entry / "environ").read_bytes():
                found.append(int(entry.name))
        except (OSError, ValueError):
            continue
    return found


@pytest.mark.slow
@pytest.mark.skipif(
    "HILUM_LONG_TESTS" not in os.environ,
    reason="HILUM_LONG_TESTS=1 kills a worker of Ray, which takes minutes; "
    "tests/train/test_ranks.py trains on two processes without Ray",
)
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds workers in /proc")
def test_a_run_whose_worker_is_killed_ends_as_an_unbroken_one(tmp_path: Path) -> None:
    data, out, file = yolo_set(tmp_path / "set"), tmp_path / "ray", tmp_path / "recipe.yaml"
    recipe = whole_or_in_parts()
    file.write_text(yaml.safe_dump(recipe.model_dump(mode="json")))
    words = ["train", str(file), "--data", str(data), "--out", str(out), "--workers", "2"]
    mark = f"HILUM_TEST_MARK={tmp_path}"
    process = subprocess.Popen(
        [sys.executable, "-m", "hilum", *words],
        env=os.environ | dict([mark.split("=", 1)]),
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    deadline = time.monotonic() + PATIENCE_S
    while not (out / "all/last.ckpt").exists() and time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.02)
    os.kill(workers_of(mark)[-1], signal.SIGKILL)
    errors = process.communicate(timeout=PATIENCE_S)[1]
    assert process.returncode == 0, errors
    assert "going on from the last state" in errors
    whole = run(recipe, data, tmp_path / "whole")
    assert pd.read_parquet(out / "metrics.parquet")["step"].tolist() == [2, 4]
    assert_same_weights(whole, out)
    assert {f.name for f in out.iterdir()} == {f.name for f in whole.iterdir()}  # Ray's are gone
    assert export(out, tmp_path / "made.zip").manifest.figures


def test_more_workers_than_images_of_a_batch_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"6 workers for batches of 5"):
        train(whole_or_in_parts(), tmp_path, tmp_path / "run", workers=6)


def test_a_node_that_does_not_see_the_folder_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"node .* does not see .*all nodes share"):
        _rank({"notes": tmp_path / "elsewhere", "out": tmp_path / "run"})
