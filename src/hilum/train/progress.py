"""Where a long work is, said in the log at least every half minute, whatever it is busy with.

A thread speaks when the work itself has been silent for too long, so that no phase needs a clock of
its own: reading images, a slow first epoch, an evaluation, an export.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

log = logging.getLogger("hilum.train")

SILENCE_S = 20.0

Thing = TypeVar("Thing")


@dataclass(slots=True)
class _Status:
    words: str = ""  # what is being done
    spoken: float = 0.0  # when something was last said


_status = _Status()


def doing(words: str) -> None:
    """State what is being done now; the log says it if nothing else is said for a while."""
    _status.words = words


def say(words: str, *values: object) -> None:
    """Log a line now."""
    log.info(words, *values)
    _status.spoken = time.monotonic()


def counted(things: Iterable[Thing], words: str, total: int) -> Iterator[Thing]:
    """The same things; the status counts them."""
    for number, thing in enumerate(things, 1):
        doing(f"{words}: {number} of {total}")
        yield thing


@contextmanager
def spoken(silence_s: float | None = None) -> Iterator[None]:
    """While this lasts, the log is never silent for longer than `silence_s` (SILENCE_S)."""
    longest = SILENCE_S if silence_s is None else silence_s
    _status.spoken = time.monotonic()

    def watch(ended: threading.Event) -> None:
        while not ended.wait(longest / 10):
            if time.monotonic() - _status.spoken >= longest and _status.words:
                say("%s", _status.words)

    with beside(watch, "hilum-progress"):
        yield


@contextmanager
def beside(work: Callable[[threading.Event], None], name: str) -> Iterator[None]:
    """While this lasts, `work` runs in a thread, until the event that it is given is set."""
    ended = threading.Event()
    thread = threading.Thread(target=work, args=(ended,), daemon=True, name=name)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
