"""`hilum inspect`."""

from __future__ import annotations


def inspect() -> None:
    """Being built."""
