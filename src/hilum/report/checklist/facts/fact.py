"""The value of a fact, and words that several of them use."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from hilum.core.manifest import Figure
from hilum.report.checklist.evidence import Evidence


@dataclass(frozen=True, slots=True)
class Fact:
    """What is known, where it stands, and what of it is not."""

    text: str
    source: str
    lacks: str = ""


def listed(rows: Iterable[str]) -> str:
    """Rows as a list of Markdown."""
    return "\n".join(f"- {row}" for row in rows)


def settings(own: Mapping[str, Any]) -> str:
    """Settings that are set, in a line."""
    return ", ".join(
        f"{name} {settings(value) if isinstance(value, Mapping) else value}"
        for name, value in own.items()
        if value not in (None, "", [], {}, False)
    )


def tested(known: Evidence) -> Mapping[str, Figure]:
    """The test figures of the bundle, of what runs by default."""
    return known.manifest.tested if known.manifest else {}
