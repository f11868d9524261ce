"""Which shards are finished: one JSON line each, written after the shard's file is in place.

A line cut off by a crash is left out, and so is a line whose file is not there whole.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any, Self

from pydantic import TypeAdapter, ValidationError

from hilum.core.documents import parse_json
from hilum.core.errors import ConfigError, DocumentError
from hilum.scale.shards import FOLDER, Finished, Shard

SCHEMA = "hilum.batch/1"
NAME = "manifest.jsonl"


class Manifest:
    """The manifest of one folder, which is held by the run."""

    def __init__(self, folder: Path, key: dict[str, Any], *, fresh: bool = False) -> None:
        """
        Args:
            key: everything that decides the rows; a folder holds those of one key.
            fresh: begin anew, without the shards that are there.

        Raises:
            ConfigError: it holds shards of another key.
        """
        self.folder, self.path = folder, folder / NAME
        (folder / FOLDER).mkdir(parents=True, exist_ok=True)
        self._stream: IO[bytes] = self.path.open("a+b")
        self.finished: dict[int, Finished] = {}
        head = {"schema": SCHEMA, **key}
        try:
            self._begin(head, fresh)
        except BaseException:
            self._stream.close()
            raise

    def _begin(self, head: dict[str, Any], fresh: bool) -> None:
        for left in (self.folder / FOLDER).glob(".shard-*.parquet"):
            left.unlink()  # half written by a run that was killed
        if fresh:
            self._forget()
        self._stream.seek(0)
        first, *lines = self._stream.read().split(b"\n")
        if not lines:  # nothing, or a head that was cut off
            self._stream.truncate(0)
            self._write(head)
            return
        self._check(_parse(first) or {}, head)
        if lines[-1]:
            self._stream.write(b"\n")  # after a line that was cut off
        finished = [one for one in map(_finished, lines) if one is not None]
        self.finished = {one.shard: one for one in finished}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._stream.close()

    def holds(self, shard: Shard) -> bool:
        """Whether this very shard is finished; an empty one that never was needs no file."""
        line = self.finished.get(shard.number)
        if line is None:
            return not shard.items
        return line.inputs == shard.digest and line.size == _size(self.folder / shard.file)

    def add(self, finished: Finished) -> None:
        """Record a shard; on return it outlives the machine's power."""
        self._write(asdict(finished))
        self.finished[finished.shard] = finished

    def _write(self, value: object) -> None:
        self._stream.write(json.dumps(value).encode() + b"\n")
        self._stream.flush()
        os.fsync(self._stream.fileno())

    def _forget(self) -> None:
        self._stream.truncate(0)
        for file in (self.folder / FOLDER).glob("shard-*.parquet"):
            file.unlink()

    def _check(self, content: dict[str, Any], head: dict[str, Any]) -> None:
        other = sorted(key for key in head if content.get(key) != head[key])
        if other:
            raise ConfigError(
                f"{self.folder}: its shards have other settings ({', '.join(other)}); "
                "choose another --out, or --fresh"
            )


def _size(file: Path) -> int:
    return file.stat().st_size if file.is_file() else -1


_FINISHED = TypeAdapter(Finished)


def _finished(line: bytes) -> Finished | None:
    """None for a line that was cut off or damaged: its shard is made again."""
    try:
        return _FINISHED.validate_json(line, strict=True)
    except ValidationError:
        return None


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        value = parse_json(line)
    except DocumentError:
        return None  # cut off by a crash, or empty
    return value if isinstance(value, dict) else None
