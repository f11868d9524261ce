"""A few places, shared fairly between those who ask for them."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from hilum.core.errors import HilumError

Asker = str | None  # a user, a peer; None: the program itself, which has no share


class Busy(HilumError):
    """Somebody has asked for more than their share, or too much is asked for altogether."""


@dataclass(slots=True, eq=False)
class _Waiter:
    asker: Asker
    called: threading.Event = field(default_factory=threading.Event)


class Turns:
    """Places for some at once. A free one goes to the asker who holds fewest, of those to who has
    waited longest, so that nobody's slow questions hold up everybody else's."""

    def __init__(self, places: int, *, share: int, waiting: int, line: int) -> None:
        """
        Args:
            share: places that one asker may hold.
            waiting: questions of one asker that may wait.
            line: that may wait altogether: each keeps a thread of its own.
        """
        self.places, self.share, self.waiting, self.line = places, share, waiting, line
        self._lock = threading.Lock()
        self._waiters: list[_Waiter] = []
        self._held: Counter[Asker] = Counter()

    @contextmanager
    def one(self, asker: Asker = None) -> Iterator[None]:
        """A place while the block lasts; waits for it.

        Raises:
            Busy: too many wait already.
        """
        waiter = self._enter(asker)
        try:
            waiter.called.wait()
            yield
        finally:
            with self._lock:
                if waiter in self._waiters:  # interrupted before its turn
                    self._waiters.remove(waiter)
                else:
                    self._held[asker] -= 1
                self._call()

    def _enter(self, asker: Asker) -> _Waiter:
        waiter = _Waiter(asker)
        with self._lock:
            own = sum(one.asker == asker for one in self._waiters)
            full = own >= self.waiting or len(self._waiters) >= self.line
            self._waiters.append(waiter)
            self._call()
            if full and asker is not None and waiter in self._waiters:
                self._waiters.remove(waiter)
                raise Busy("too much is asked for at once; ask again in a few seconds")
        return waiter

    def _call(self) -> None:
        while self._held.total() < self.places:
            able = [w for w in self._waiters if w.asker is None or self._held[w.asker] < self.share]
            if not able:
                return
            waiter = min(able, key=lambda w: self._held[w.asker])
            self._waiters.remove(waiter)
            self._held[waiter.asker] += 1
            waiter.called.set()
