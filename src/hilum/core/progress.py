"""What a long work is doing now, whatever it is busy with; a log or a terminal shows it.

The work says what it does; a thread shows that when the work itself has been silent for too long,
so that no phase needs a clock of its own: reading images, a slow first epoch, an evaluation.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TypeVar

log = logging.getLogger("hilum.progress")

SILENCE_S = 20.0

Thing = TypeVar("Thing")


@dataclass(slots=True)
class Status:
    """What is being done, and how much of it is."""

    words: str = ""
    number: int = 0
    total: int | None = None  # None: nobody knows
    spoken: float = 0.0  # when something was last said

    def __str__(self) -> str:
        if self.total is not None:
            return f"{self.words}: {self.number} of {self.total}"
        return f"{self.words}: {self.number}" if self.number else self.words


status = Status()


def doing(words: str, number: int = 0, total: int | None = None) -> None:
    """State what is being done now; it is shown if nothing else is said for a while."""
    status.words, status.number, status.total = words, number, total


def say(words: str, *values: object) -> None:
    """Log a line now."""
    log.info(words, *values)
    status.spoken = time.monotonic()


def counted(things: Iterable[Thing], words: str, total: int | None = None) -> Iterator[Thing]:
    """The same things; the status counts them."""
    for number, thing in enumerate(things, 1):
        doing(words, number, total)
        yield thing


@contextmanager
def spoken(
    silence_s: float | None = None, tell: Callable[[str], object] = lambda words: say("%s", words)
) -> Iterator[None]:
    """While this lasts, `tell` is never silent for longer than `silence_s` (SILENCE_S)."""
    longest = SILENCE_S if silence_s is None else silence_s
    status.spoken = time.monotonic()

    def watch(ended: threading.Event) -> None:
        while not ended.wait(longest / 10):
            if time.monotonic() - status.spoken >= longest and status.words:
                with suppress(OSError):  # nobody reads it any more; the work goes on
                    tell(str(status))
                status.spoken = time.monotonic()

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
