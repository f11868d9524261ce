"""What changed, for whoever shows it: the history in the records, told on to subscribers.

Workers are other processes, so the records are read again and again; one reader a process.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import func, select

from hilum.serve.records import Records, RecordsUnavailable
from hilum.serve.tables import Event, Image

log = logging.getLogger(__name__)
EVERY_S = 0.25
WAITING = 1000  # changes that a slow subscriber may fall behind


@dataclass(frozen=True, slots=True)
class Change:
    """One entry of an image's history."""

    number: int  # of the event, growing
    id: str
    state: str
    what: str
    score: float | None


Subscription = queue.Queue[Change]


class Events:
    """Follows the history while somebody listens to it."""

    def __init__(self, records: Records, *, every_s: float = EVERY_S) -> None:
        self._records, self._every_s = records, every_s
        self._lock, self._stop = threading.Lock(), threading.Event()
        self._subscribers: list[Subscription] = []
        self._last = 0
        self._thread: threading.Thread | None = None

    @contextmanager
    def subscribed(self) -> Iterator[Subscription]:
        """A queue of changes from now on; one that is full loses the oldest."""
        own: Subscription = queue.Queue(WAITING)
        with self._lock:
            if not self._subscribers:
                self._last = self._newest()
            self._subscribers.append(own)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="events", daemon=True)
                self._thread.start()
        try:
            yield own
        finally:
            with self._lock:
                self._subscribers.remove(own)

    def since(self, number: int) -> list[Change]:
        """Changes after an event, at most as many as a subscriber may fall behind."""
        query = (
            select(Event, Image.score)
            .join(Image, Image.id == Event.image)
            .where(Event.number > number)
            .order_by(Event.number)
            .limit(WAITING)
        )
        with self._records.read() as session:
            return [
                Change(number=e.number, id=e.image, state=e.state, what=e.what, score=score)
                for e, score in session.execute(query)
            ]

    def close(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _newest(self) -> int:
        with self._records.read() as session:
            return session.scalar(select(func.max(Event.number))) or 0

    def _run(self) -> None:
        while not self._stop.wait(self._every_s):
            with self._lock:
                if not self._subscribers:
                    continue
                try:
                    changes = self.since(self._last)
                except RecordsUnavailable as error:
                    log.warning("history: %s", error)
                    continue
                for change in changes:
                    self._last = change.number
                    for one in self._subscribers:
                        _put(one, change)


def _put(subscriber: Subscription, change: Change) -> None:
    try:
        subscriber.put_nowait(change)
    except queue.Full:
        subscriber.get_nowait()
        subscriber.put_nowait(change)
