"""What a run has finished, written record by record, so that a killed run goes on.

One JSON line an image, keyed by name and content, and sealed by a hash of itself and of everything
that decides a result. What does not fit its seal (cut off by a crash, damaged, of other settings)
is no record: its image is analysed again. A killed process loses nothing that it recorded; a
machine that loses power loses the last second. Knows no pipeline and no images.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from pathlib import Path
from typing import IO, Any, Self

from hilum.core.documents import parse_json
from hilum.core.errors import HilumError
from hilum.core.files import OWN_MARK, called
from hilum.core.results import ImageResult

SCHEMA = "hilum.journal/2"
NAME = Path(OWN_MARK) / "journal.jsonl"
SEAL = "seal"
SYNC_S = 1.0  # a flush to the disk takes as long as analysing an image does

log = logging.getLogger(__name__)


class Journal:
    """The journal of one result folder, open for one run, which holds the folder.

    Results of another pipeline, bundle or setting are not taken over: the journal starts anew.
    """

    def __init__(self, folder: Path, fingerprint: str, *, fresh: bool = False) -> None:
        self.folder, self.path = folder, folder / NAME
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._stream: IO[bytes] = self.path.open("a+b")
        self._synced = time.monotonic()
        self._key = f"{SCHEMA} {fingerprint}"
        self._done = {} if fresh else self._read()
        if not self._done:
            self._stream.truncate(0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        with called(self.path), self._stream:
            os.fsync(self._stream.fileno())

    def __len__(self) -> int:
        return len(self._done)

    def names(self) -> frozenset[str]:
        """Names that have a record; their content may have changed since."""
        return frozenset(name for name, _ in self._done)

    def find(self, name: str, content_sha256: str | None) -> ImageResult | None:
        """The finished answer to this very content, if its files are still there.

        Failures are ours and are tried again; refusals stay.
        """
        result = self._done.get((name, content_sha256))
        if result is None or result.status == "failed":
            return None
        files = [*result.masks.values(), *result.files.values()]
        return result if all(_is_whole(self.folder / file) for file in files) else None

    def append(self, result: ImageResult) -> None:
        """Record one answer; on return it outlives this process."""
        self._write(result.to_record())

    def _write(self, record: dict[str, Any]) -> None:
        line = json.dumps(record | {SEAL: self._seal(record)}, ensure_ascii=False)
        with called(self.path):
            self._stream.write(line.encode() + b"\n")
            self._stream.flush()
            if time.monotonic() - self._synced >= SYNC_S:
                os.fsync(self._stream.fileno())
                self._synced = time.monotonic()

    def _seal(self, record: dict[str, Any]) -> str:
        text = json.dumps(record, sort_keys=True)
        return hashlib.sha256(f"{self._key} {text}".encode()).hexdigest()[:32]

    def _read(self) -> dict[tuple[str, str | None], ImageResult]:
        self._stream.seek(0)
        lines = self._stream.read().split(b"\n")
        if lines[-1]:
            self._write_end_of_line()
        results = [one for one in map(self._parse, lines) if one is not None]
        lost = sum(map(bool, lines)) - len(results)
        if results and lost:
            log.warning(
                "%s: %d records of the earlier run are cut off or damaged: analysed again",
                self.folder,
                lost,
            )
        return {(result.name, result.content_sha256): result for result in results}

    def _parse(self, line: bytes) -> ImageResult | None:
        """None for what is no record of this run."""
        try:
            record = parse_json(line)
            seal = record.pop(SEAL)
            if seal != self._seal(record):
                return None
            return ImageResult.from_json(record)
        except (HilumError, AttributeError, KeyError, TypeError):
            return None

    def _write_end_of_line(self) -> None:
        """After a record cut off by a crash, so that the next one stands on its own line."""
        self._stream.write(b"\n")
        self._stream.flush()


def _is_whole(file: Path) -> bool:
    """Files are renamed into place when they are whole; power lost after that leaves them empty."""
    try:
        return file.stat().st_size > 0
    except OSError:
        return False
