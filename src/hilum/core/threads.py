"""Work on many things in threads, a few ahead of what is taken."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Thing = TypeVar("Thing")
Out = TypeVar("Out")

AHEAD = 4  # things a thread


def in_threads(
    work: Callable[[Thing], Out], things: Iterable[Thing], workers: int
) -> Iterator[Out]:
    """As `map`, in threads. Few things are begun before they are asked for, so that an interrupt
    waits for those in hand alone and memory never holds all results."""
    waiting: deque[Future[Out]] = deque()
    pool = ThreadPoolExecutor(workers)
    try:
        for thing in things:
            waiting.append(pool.submit(work, thing))
            if len(waiting) > AHEAD * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
