"""Ray, started here or found; shards on its actors. Names go in, lines of the manifest come out."""

from __future__ import annotations

import logging
import os
import pickle
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hilum.core.errors import HilumError
from hilum.core.extras import require
from hilum.core.processes import same_handlers
from hilum.inference.job import Job
from hilum.scale.shards import Finished, Shard, Worker

STORE_BYTES = 190 * 2**20  # Ray's object store on this machine: less than 200 MB with its header
RETRIES = 2  # of a shard whose actor died


class Actor:
    """A `Worker` as Ray Data calls it: a batch of one packed shard -> one packed line."""

    def __init__(self, job: Job, out: Path) -> None:
        self.worker = Worker(job, out)

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[bytes]]:
        shards = [pickle.loads(packed) for packed in batch["shard"]]  # noqa: S301  our own
        return {"finished": [pickle.dumps(self.worker(shard)) for shard in shards]}


def finish(
    shards: Sequence[Shard], job: Job, out: Path, *, workers: int, address: str | None = None
) -> Iterator[Finished]:
    """Finish shards in any order; one actor a worker, each with the pipeline open once.

    Args:
        out: a folder that all nodes see under this path.
        address: of a cluster; None starts Ray here, for this run only.

    Raises:
        HilumError: the cluster is not there, or an actor died more than `RETRIES` times at a shard.
    """
    with session(workers + 1, address):  # one for Ray Data's own tasks
        data = require("scale", "ray.data")
        data.DataContext.get_current().enable_progress_bars = False
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        # One block a shard, so that each is handed to the next free actor.
        rows = [{"shard": pickle.dumps(shard)} for shard in shards]
        with warnings.catch_warnings():
            # ray_remote_args_fn goes with Ray 2.64, hence the upper bound in pyproject.toml.
            warnings.simplefilter("ignore", DeprecationWarning)
            answers = data.from_items(rows, override_num_blocks=len(rows)).map_batches(
                Actor,
                fn_constructor_args=(job, out),
                batch_size=1,
                compute=data.ActorPoolStrategy(size=workers),
                num_cpus=1,
                ray_remote_args_fn=_retries,
            )
        for row in answers.iter_rows():
            yield pickle.loads(row["finished"])  # noqa: S301  our own


def _retries() -> dict[str, Any]:
    # Restarts are counted over an actor's whole life, retries for each shard.
    return {"max_restarts": -1, "max_task_retries": RETRIES}


def ready(address: str | None) -> None:
    """Import Ray with its settings, which it takes from the environment at import.

    Raises:
        MissingExtraError: it is not installed.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # else it warns
    if address is None:
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # loopback, as on those systems
    require("scale", "ray")


@contextmanager
def session(cpus: int, address: str | None) -> Iterator[None]:
    """Connected to the cluster at `address`, or to one of so many CPUs that starts here and ends.

    Raises:
        MissingExtraError: Ray is not installed.
        HilumError: no cluster there, it does not start, or it ends.
    """
    ready(address)
    ray = require("scale", "ray")
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    try:
        with same_handlers():
            _start(ray, cpus, address, quiet)
    except SystemExit as stop:  # what Ray makes of SIGTERM while it starts
        raise KeyboardInterrupt from stop
    logging.getLogger("ray").setLevel(logging.ERROR)
    try:
        yield
    except ray.exceptions.RayError as error:
        words = str(error).strip().splitlines()[-1:]
        raise HilumError(
            f"Ray: {type(error).__name__} {words}; what is finished is kept, run again to go on"
        ) from error
    finally:
        ray.shutdown()


def _start(ray: Any, cpus: int, address: str | None, quiet: dict[str, Any]) -> None:
    if address is not None:
        try:
            ray.init(address=address, **quiet)
        except (ConnectionError, ValueError) as error:
            raise HilumError(f"no Ray cluster at {address}: {error}") from error
    else:
        try:
            ray.init(
                num_cpus=cpus,
                object_store_memory=STORE_BYTES,
                include_dashboard=False,
                _node_ip_address="127.0.0.1",
                **quiet,
            )
        except Exception as error:  # a start that takes too long raises no exception of Ray's own
            raise HilumError(
                f"Ray did not start on this machine: {str(error).splitlines()[0]} Nothing was "
                "done and nothing lost; run the same command again when it is less busy, or "
                "give a running cluster with --address"
            ) from error
