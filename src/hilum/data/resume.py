"""One piece of work for each file of a catalog, in parallel, remembered so that a rerun resumes.

One JSON line a file, written as it is done. Knows nothing of what the work is.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from hilum.core.documents import parse_foreign_json
from hilum.core.errors import DocumentError
from hilum.core.files import called
from hilum.core.threads import in_threads
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
    torn = memory.is_file() and memory.read_bytes()[-1:] not in (b"", b"\n")  # by a killed run
    with memory.open("a", encoding="utf-8") as stream:
        done = in_threads(work, [path for path, _ in todo], workers)
        for (path, now), own in zip(todo, done, strict=True):
            facts = {"path": path, "stamp": now, **own}
            line = json.dumps(facts, ensure_ascii=False) + "\n"
            with called(memory):
                stream.write("\n" + line if torn else line)
                stream.flush()
            torn = False
            yield facts


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
