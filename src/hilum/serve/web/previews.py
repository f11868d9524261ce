"""What was decoded for readers: small pictures are kept, and so is why an image cannot be read.

What is received never changes, so neither does its picture. A file that took all the time it may
take would take it again from every reader, so that is kept too, but only for a while: on a busy
machine it happens to good images. Knows no service.
"""

from __future__ import annotations

import copy
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import TypeVar

from hilum.core.errors import InputRefused, LimitRefused

LARGEST = 256  # px; larger ones are looked at one by one
COUNT = 1000  # some 10 kB each
OVER_LIMIT_S = 60.0  # that an image is not tried again
T = TypeVar("T")
K = TypeVar("K")
V = TypeVar("V")


class Previews:
    """By image; what nobody asked for longest goes first."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._pictures: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        self._refused: OrderedDict[str, tuple[InputRefused, float]] = OrderedDict()
        self._lock = threading.Lock()

    def picture(self, id: str, width: int, make: Callable[[], bytes]) -> bytes:
        """The kept one, or what `make` makes now.

        Raises:
            InputRefused: `make` does, now or when it was first asked.
        """
        with self._lock:
            known = _known(self._pictures, (id, width))
        if known is None:
            known = self.read(id, make)
        if width <= LARGEST:
            with self._lock:
                _keep(self._pictures, (id, width), known)
        return known

    def read(self, id: str, make: Callable[[], T]) -> T:
        """What `make` makes of an image.

        Raises:
            InputRefused: `make` does, now or when it was asked before.
        """
        with self._lock:
            refused, until = _known(self._refused, id) or (None, 0.0)
        if refused is not None and self._clock() < until:
            raise copy.copy(refused)
        try:
            return make()
        except InputRefused as error:
            kept_s = OVER_LIMIT_S if isinstance(error, LimitRefused) else math.inf
            with self._lock:  # without its traceback, whose frames hold the image
                _keep(self._refused, id, (copy.copy(error), self._clock() + kept_s))
            raise

    def forget(self, id: str) -> None:
        """Of an image that is tried again: a limit may have been too low on a busy day."""
        with self._lock:
            self._refused.pop(id, None)


def _known(kept: OrderedDict[K, V], key: K) -> V | None:
    if key in kept:
        kept.move_to_end(key)
    return kept.get(key)


def _keep(kept: OrderedDict[K, V], key: K, value: V) -> None:
    kept[key] = value
    kept.move_to_end(key)
    if len(kept) > COUNT:
        kept.popitem(last=False)
