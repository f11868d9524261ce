"""Who asks, whichever way they have shown it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class User:
    """A name and a role: "reader" or "admin"."""

    name: str
    role: str


LOCAL = User(name="local", role="admin")
