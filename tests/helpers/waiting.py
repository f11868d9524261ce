"""What other threads will do within some seconds."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


def until(true: Callable[[], bool], release: threading.Event | None = None) -> None:
    """Wait for it; where it never comes, what `release` holds up goes on, and the test fails."""
    for _ in range(2000):
        if true():
            return
        time.sleep(0.01)
    if release is not None:
        release.set()
    raise AssertionError("it never came")
