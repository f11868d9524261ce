"""Items -> shards by hash; one shard of answers -> one Parquet file, whole or absent.

Knows no Ray: a shard comes out the same on any machine.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hilum.core.files import atomic_path
from hilum.core.results import ImageResult
from hilum.inference.answer import Input
from hilum.inference.job import Job
from hilum.scale.dicomweb import Instance
from hilum.scale.sources import Source

FOLDER = "shards"
KEYS = ("path", "sop_instance_uid", "study_instance_uid", "status", "reason")


@dataclass(frozen=True, slots=True)
class Shard:
    """Some inputs that are answered, written and finished together, sorted by name."""

    number: int
    items: tuple[Source, ...]

    @property
    def file(self) -> str:
        """Where it is written, relative to the run's folder."""
        return f"{FOLDER}/shard-{self.number:05d}.parquet"

    @property
    def digest(self) -> str:
        """Which inputs it holds, by name."""
        names = "\n".join(item.name for item in self.items)
        return hashlib.sha256(names.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Finished:
    """One line of the manifest: what a shard's file holds."""

    shard: int
    inputs: str  # Shard.digest
    size: int  # bytes of the file
    counts: dict[str, int]  # images by status

    @property
    def images(self) -> int:
        return sum(self.counts.values())


def shard_of(name: str, shards: int) -> int:
    """The shard of a name: the same in every run, whatever else is in the archive."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") % shards


def plan(items: Iterable[Source], shards: int) -> list[Shard]:
    """All shards; each item in exactly one."""
    groups: list[list[Source]] = [[] for _ in range(shards)]
    for item in items:
        groups[shard_of(item.name, shards)].append(item)
    return [
        Shard(number, tuple(sorted(group, key=lambda item: item.name)))
        for number, group in enumerate(groups)
    ]


class Worker:
    """Answers shards, one after the other, with one pipeline open."""

    def __init__(self, job: Job, out: Path) -> None:
        """
        Raises:
            ConfigError, BundleError: the job itself is wrong.
        """
        self.answer, self.out = job.worker(), out

    def __call__(self, shard: Shard) -> Finished:
        """Answer and write a shard. Refusals are rows with their reason.

        Raises:
            OSError: the folder cannot be written to.
            HilumError: a server that the images come from is away.
        """
        results = [self.answer(_here(item)) for item in shard.items]
        size = _write(self.out / shard.file, results)
        counts = dict(Counter(str(result.status) for result in results))
        return Finished(shard=shard.number, inputs=shard.digest, size=size, counts=counts)


def _here(item: Source) -> Input:
    """What is answered whatever it is: a server that is away is no answer to an image."""
    return item.fetched() if isinstance(item, Instance) else item


def rows_of(results: Sequence[ImageResult]) -> list[dict[str, Any]]:
    """One row an image: keys to search by, and its line of findings.json as it stands there."""
    entries = [result.to_json() for result in results]
    return [
        {key: entry[key] for key in KEYS}
        | {"entry": json.dumps(entry, ensure_ascii=False, allow_nan=False)}
        for entry in entries
    ]


def _write(path: Path, results: Sequence[ImageResult]) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([(key, pa.string()) for key in (*KEYS, "entry")])
    table = pa.Table.from_pylist(rows_of(results), schema=schema)
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")
        return temporary.stat().st_size
