"""Ranks on this machine without Ray: processes that meet over a file."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from safetensors.torch import load_file

from helpers.phantom_set import small
from hilum.train.recipe import Recipe

PATIENCE_S = 1800


def whole_or_in_parts() -> Recipe:
    """Nothing in it looks at a part of a batch alone; four steps of two batches of five images."""
    return small(
        *("train.batch=5", "train.accumulate=2", "train.epochs=2", "model.dropout=0"),
        *("stages.all.frozen_batch_norm=true", "optimiser.kind=sgd", "train.save_s=0"),
        *("stages.all.learning_rate=0.05", "stages.all.schedule={kind: constant, warmup: 0}"),
    )


def assert_same_weights(one: Path, two: Path) -> None:
    """Two runs end with the same weights, to the rounding."""
    for name in ("last", "weights"):
        expected, found = (load_file(run / f"all/{name}.safetensors") for run in (one, two))
        for key, value in expected.items():
            torch.testing.assert_close(found[key], value, rtol=1e-4, atol=1e-5, msg=key)


def on_ranks(world: int, work: Callable[..., Any], *arguments: Any, folder: Path) -> list[Any]:
    """What `work(*arguments)` returns on each rank, in order; it must be importable."""
    folder.mkdir(parents=True)
    start = multiprocessing.get_context("spawn")
    processes = [
        start.Process(target=_rank, args=(rank, world, folder, work, arguments))
        for rank in range(world)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(PATIENCE_S)
        process.kill()
    assert [process.exitcode for process in processes] == [0] * world
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(world)]


def _rank(
    rank: int, world: int, folder: Path, work: Callable[..., Any], arguments: tuple[Any, ...]
) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder.resolve()}/meeting",
        rank=rank,
        world_size=world,
        timeout=timedelta(seconds=PATIENCE_S),
    )
    torch.save(work(*arguments), folder / f"{rank}.pt")
    dist.destroy_process_group()
