"""`hilum demo`."""

from __future__ import annotations


def demo() -> None:
    """Being built."""
