"""An archive -> a folder of Parquet shards that a stopped run goes on filling."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hilum.core.errors import ConfigError
from hilum.core.folders import claimed
from hilum.inference.job import Job
from hilum.inference.loaded import LoadedPipeline
from hilum.scale.manifest import NAME, Manifest
from hilum.scale.shards import FOLDER, Finished, Shard, Worker, plan
from hilum.scale.sources import items_of

Finish = Callable[[Sequence[Shard], Job, Path], Iterator[Finished]]


@dataclass(frozen=True, slots=True)
class Summary:
    """What a run did, and what its folder holds now."""

    counts: dict[str, int]  # images in the folder by status
    shards: int
    images_now: int  # of this run
    shards_kept: int  # finished before it
    seconds: float

    def to_json(self) -> dict[str, Any]:
        return {
            "counts": self.counts,
            "shards": self.shards,
            "shards_kept": self.shards_kept,
            "images_now": self.images_now,
            "seconds": round(self.seconds, 2),
        }


def here(shards: Sequence[Shard], job: Job, out: Path) -> Iterator[Finished]:
    """Finish shards in this process, one after the other."""
    return map(Worker(job, out), shards)


def batch(
    source: str,
    out: Path,
    job: Job,
    *,
    shards: int,
    finish: Finish = here,
    fresh: bool = False,
    advance: Callable[[int, int], None] = lambda done, of: None,
) -> Summary:
    """Answer an archive, going on where an earlier run of the same settings stopped.

    Args:
        advance: called after each shard with the images done in this run, and of how many.

    Raises:
        ConfigError, BundleError: source, pipeline or folder are wrong.
    """
    if shards < 1:
        raise ConfigError(f"{shards} shards; needed: 1 or more")
    started, planned = time.perf_counter(), plan(items_of(source), shards)
    with (
        claimed(out, "batch", names=(NAME, FOLDER)),
        Manifest(out, _key(source, job, shards), fresh=fresh) as manifest,
    ):
        left = [shard for shard in planned if not manifest.holds(shard)]
        now, of = 0, sum(len(shard.items) for shard in left)
        for line in finish(left, job, out) if left else ():
            manifest.add(line)
            now += line.images
            advance(now, of)
        lines = manifest.finished.values()
        return Summary(
            counts=dict(sum((Counter(line.counts) for line in lines), Counter())),
            shards=len(lines),
            images_now=now,
            shards_kept=len(lines) - len(left),
            seconds=time.perf_counter() - started,
        )


def _key(source: str, job: Job, shards: int) -> dict[str, Any]:
    """Everything that decides the rows of a folder."""
    from hilum import __version__

    return {
        "source": source if "://" in source else str(Path(source).resolve()),
        "pipeline": LoadedPipeline(job.pipeline).fingerprint,
        "shards": shards,
        "threads": job.threads,
        "masks": job.masks,
        "full_range": job.reading.full_range,
        "hilum": __version__,
    }
