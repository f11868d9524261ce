"""One recipe on several processes, of this machine or of a cluster's nodes, by Ray Train.

Ray places the processes, joins them (gloo; NCCL with GPUs) and tells when one has died. All else is
hilum.train's, whose ranks they are: also the state that they go on from.
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hilum.core.errors import ConfigError, HilumError
from hilum.core.extras import require
from hilum.core.progress import beside
from hilum.scale.cluster import session
from hilum.train.folder import RunFolder, locked
from hilum.train.recipe import Recipe
from hilum.train.run import run

log = logging.getLogger("hilum.progress")

RETRIES = 2  # from one saved state; a run that gets on may lose any number of processes
WAIT_S = 24 * 3600  # of ranks for one another: the first evaluates alone. A death is told by Ray
LOG = "log.txt"  # of the first worker
# Names that a recipe has relative to where the command was given stay so; a busy machine may need
# more than a minute to start processes.
SETTINGS = {"RAY_CHDIR_TO_TRIAL_DIR": "0", "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "600"}


def train(
    recipe: Recipe,
    data: Path,
    out: Path,
    *,
    workers: int,
    split: Path | None = None,
    address: str | None = None,
) -> None:
    """Train, or go on with, the recipe in `out`; each worker has its part of every batch.

    Args:
        data: as of `hilum.train.run.run`; like `out` and `split`, seen by all nodes as named here.
        workers: processes, each with the recipe's threads, and with a GPU where there are any.
        address: of a cluster; None starts Ray here, for this run only.

    Raises:
        ConfigError: as of `run`; or a batch has fewer images than there are workers, the cluster
            fewer CPUs or GPUs than they need, or not every node sees `out`.
        HilumError: whatever the training raises; workers died again and again without a step.
    """
    if workers > recipe.train.batch:
        raise ConfigError(
            f"{workers} workers for batches of {recipe.train.batch}: each needs an image of every "
            "batch; give fewer workers, or a larger train.batch"
        )
    os.environ.update(SETTINGS)
    with locked(out), session(workers * recipe.train.threads, address):
        RunFolder(out, recipe).check()
        gpus = _enough(recipe, workers)
        # Ray keeps its own notes here; that it is there shows each node that the folder is shared.
        for old in out.glob(".ray-*"):  # of a killed driver
            shutil.rmtree(old, ignore_errors=True)
        notes = Path(tempfile.mkdtemp(prefix=".ray-", dir=out))
        job = {"recipe": recipe, "data": data, "out": out, "split": split, "notes": notes}
        try:
            with _shown(notes / LOG):
                _until_done(job, workers, gpus=gpus)
        finally:
            shutil.rmtree(notes, ignore_errors=True)


def _enough(recipe: Recipe, workers: int) -> bool:
    """Whether the workers train on GPUs.

    Raises:
        ConfigError: there are too few of them, or of CPUs.
    """
    there = require("scale", "ray").cluster_resources()
    cpus, gpus = int(there.get("CPU", 0)), int(there.get("GPU", 0))
    if cpus < workers * recipe.train.threads:
        raise ConfigError(
            f"the cluster has {cpus} CPUs; needed: {workers * recipe.train.threads}, "
            f"train.threads={recipe.train.threads} for each of {workers} workers"
        )
    if 0 < gpus < workers:
        raise ConfigError(
            f"the cluster has {gpus} GPUs for {workers} workers; give as many workers as GPUs, or "
            "hide the GPUs (CUDA_VISIBLE_DEVICES=) to train on CPUs"
        )
    return gpus > 0


def _until_done(job: dict[str, Any], workers: int, *, gpus: bool) -> None:
    """Start the workers, and again when some have died."""
    errors = require("scale", "ray.train")
    left = RETRIES
    while True:
        before = _states(job["out"])
        try:
            _trainer(job, workers, gpus=gpus).fit()
            return
        except errors.ControllerError as error:
            raise HilumError(
                f"Ray could not start {workers} workers: {_line(error)}; what was saved is kept: "
                "give the same command again to go on"
            ) from error
        except errors.WorkerGroupError as error:
            died = error.worker_failures
            for one in died.values():
                if isinstance(one, HilumError):  # it would be the same again
                    raise one from error
            left = RETRIES if _states(job["out"]) != before else left - 1
            words = "; ".join(f"{rank}: {_line(one)}" for rank, one in sorted(died.items()))
            if left < 0:
                log.error("%s", error)
                raise HilumError(
                    f"workers died {RETRIES + 1} times at the same step ({words}); what was saved "
                    "is kept: give the same command again to go on"
                ) from error
            log.warning("workers died (%s); going on from the last state saved", words)


@contextmanager
def _shown(file: Path) -> Iterator[None]:
    """While this lasts, what the first worker logs is shown here; Ray would add all of its own."""

    def show(ended: threading.Event) -> None:
        place, last = 0, False
        while not last:
            last = ended.wait(1)
            if file.is_file():
                with file.open() as stream:
                    stream.seek(place)
                    sys.stderr.write(stream.read())
                    place = stream.tell()

    with beside(show, "hilum-shown"):
        yield


def _line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def _states(out: Path) -> dict[Path, int]:
    """When each state and result of a stage was saved."""
    files = (*out.glob("*/last.ckpt"), *out.glob("*/weights.safetensors"))
    return {file: file.stat().st_mtime_ns for file in files}


def _trainer(job: dict[str, Any], workers: int, *, gpus: bool) -> Any:
    ray_train, torch = require("scale", "ray.train"), require("scale", "ray.train.torch")
    notes, threads = job["notes"], job["recipe"].train.threads
    return torch.TorchTrainer(
        _rank,
        train_loop_config=job,
        torch_config=torch.TorchConfig(timeout_s=WAIT_S),
        scaling_config=ray_train.ScalingConfig(
            num_workers=workers, use_gpu=gpus, resources_per_worker={"CPU": threads}
        ),
        run_config=ray_train.RunConfig(
            name="train",
            storage_path=str(notes),
            failure_config=ray_train.FailureConfig(max_failures=0, controller_failure_limit=2),
            logging_config=ray_train.LoggingConfig(log_level="ERROR"),
        ),
    )


def _rank(job: dict[str, Any]) -> None:
    """One process, as Ray Train calls it."""
    node = require("scale", "ray").util.get_node_ip_address()
    if not job["notes"].is_dir():
        raise ConfigError(
            f"node {node} does not see {job['out']}; needed: a folder that all nodes share under "
            "this name"
        )
    if os.environ["RANK"] == "0":
        words = logging.FileHandler(job["notes"] / LOG)
        words.setFormatter(logging.Formatter("%(asctime)s %(message)s", datefmt="%H:%M:%S"))
        logging.getLogger("hilum").addHandler(words)
        logging.getLogger("hilum").setLevel(logging.INFO)
    run(job["recipe"], job["data"], job["out"], split=job["split"])
