"""Small pictures of images that have none written, each decoded once: kept, or why there is none.

What is received never changes, so neither does its picture. Knows no service.
"""

from __future__ import annotations

import copy
import threading
from collections import OrderedDict
from collections.abc import Callable

from hilum.core.errors import InputRefused

LARGEST = 256  # px; larger ones are looked at one by one
COUNT = 1000  # some 10 kB each


class Previews:
    """Small pictures by image and width; those that nobody asked for longest go first."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, int], bytes | InputRefused] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, id: str, width: int, make: Callable[[], bytes]) -> bytes:
        """The kept one, or what `make` makes now.

        Raises:
            InputRefused: `make` does, now or when it was first asked.
        """
        if width > LARGEST:
            return make()
        with self._lock:
            known = self._kept.get((id, width))
        if known is None:
            known = self._made(make)
        with self._lock:
            self._kept[id, width] = known
            self._kept.move_to_end((id, width))
            if len(self._kept) > COUNT:
                self._kept.popitem(last=False)
        if isinstance(known, InputRefused):
            raise copy.copy(known)
        return known

    def forget(self, id: str) -> None:
        """Of an image that is tried again: a limit may have been too low on a busy day."""
        with self._lock:
            for key in [one for one in self._kept if one[0] == id]:
                del self._kept[key]

    @staticmethod
    def _made(make: Callable[[], bytes]) -> bytes | InputRefused:
        try:
            return make()
        except InputRefused as error:
            return copy.copy(error)  # without its traceback, whose frames hold the image
