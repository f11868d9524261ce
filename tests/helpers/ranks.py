"""Ranks on this machine without Ray: processes that meet over a file."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

PATIENCE_S = 300


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
