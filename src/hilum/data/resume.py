"""One piece of work for each file of a catalog, in parallel, remembered so that a rerun resumes.

One JSON line a file, written as it is done. Knows nothing of what the work is.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from hilum.core.documents import parse_foreign_json
from hilum.core.errors import DocumentError
from hilum.data.references import archive_and_member

Facts = dict[str, Any]


def each_file(
    root: Path,
    paths: Iterable[str],
    work: Callable[[str], Facts],
    memory: Path,
    workers: int = 2,
    holds: Callable[[Facts], bool] = lambda facts: True,
) -> Iterator[Facts]:
    """What `work` says about each path, with `path` and `stamp`, in no particular order.

    Args:
        root, paths: files, or "archive.zip!member", below the root; blanks are skipped.
        memory: JSON lines of earlier runs; a file of the same size and time is not done again.
        workers: threads; decoding releases Python's lock.
        holds: whether something remembered still counts.
    """
    known = _remembered(memory)
    todo: list[tuple[str, str]] = []
    for path in paths:
        if not path:
            continue
        now = stamp(root, path)
        facts = known.get(path, {})
        if facts.get("stamp") == now and holds(facts):
            yield facts
        else:
            todo.append((path, now))
    memory.parent.mkdir(parents=True, exist_ok=True)
    with memory.open("a", encoding="utf-8") as stream, ThreadPoolExecutor(workers) as pool:
        # In slices, so that an interrupt does not wait for thousands of queued files.
        for start in range(0, len(todo), 64 * workers):
            part = todo[start : start + 64 * workers]
            done = pool.map(work, [path for path, _ in part])
            for (path, now), own in zip(part, done, strict=True):
                facts = {"path": path, "stamp": now, **own}
                stream.write(json.dumps(facts, ensure_ascii=False) + "\n")
                yield facts
            stream.flush()


def stamp(root: Path, reference: str) -> str:
    """Size and time of a file, or of the archive that it is in."""
    archive, member = archive_and_member(reference)
    file = root / (archive or member)
    try:
        status = file.stat()
    except OSError:
        return "gone"
    return f"{status.st_size}-{status.st_mtime_ns}"


def _remembered(memory: Path) -> dict[str, Facts]:
    known: dict[str, Facts] = {}
    if not memory.is_file():
        return known
    for line in memory.read_bytes().splitlines():
        try:
            facts = parse_foreign_json(line)
            known[str(facts["path"])] = facts
        except (DocumentError, KeyError, TypeError):
            continue  # the last line of a killed run may be torn; that file is done again
    return known
