"""Items and facts -> answers, coverage, and a Markdown document to complete by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from hilum.report.checklist.evidence import Evidence
from hilum.report.checklist.facts import FACTS, Fact
from hilum.report.checklist.items import CHECKLISTS, Checklist, Item


class Status(StrEnum):
    KNOWN = "known"
    PART = "known in part"
    OPEN = "not known"


@dataclass(frozen=True, slots=True)
class Answer:
    """What the evidence says on one item, and what is left to a person."""

    item: Item
    facts: tuple[Fact, ...]
    missing: tuple[str, ...]  # facts of the item that nothing says

    @property
    def left(self) -> str:
        """What must be filled in; empty: nothing."""
        absent = ", ".join(name.replace("_", " ") for name in self.missing)
        parts = [self.item.add, *(fact.lacks for fact in self.facts)]
        if absent and (self.facts or not self.item.add):
            parts.append(f"not said by what was given: {absent}")
        return "; ".join(part for part in dict.fromkeys(parts) if part)

    @property
    def status(self) -> Status:
        if not self.facts:
            return Status.OPEN
        return Status.PART if self.left else Status.KNOWN


@dataclass(frozen=True, slots=True)
class Answered:
    """One checklist with its answers, in the order of the items."""

    checklist: Checklist
    answers: tuple[Answer, ...]

    @property
    def coverage(self) -> str:
        """ "CLAIM 2024: 15 of 44 known, 12 in part, 17 to fill in"."""
        known, part, open_ = (
            sum(answer.status is status for answer in self.answers) for status in Status
        )
        return (
            f"{self.checklist.name}: {known} of {len(self.answers)} known, {part} in part, "
            f"{open_} to fill in"
        )

    def to_json(self) -> dict[str, Any]:
        """Name, coverage and one entry an item."""
        return {
            "checklist": self.checklist.name,
            "coverage": self.coverage,
            "items": [
                {
                    "number": one.item.number,
                    "title": one.item.title,
                    "status": one.status.value,
                    "answers": [{"text": f.text, "source": f.source} for f in one.facts],
                    "left": one.left,
                    "who": one.item.who if one.left else "",
                }
                for one in self.answers
            ],
        }


def answer(evidence: Evidence) -> tuple[Answered, ...]:
    """Both checklists."""
    facts = {name: fact(evidence) for name, fact in FACTS.items()}

    def of(item: Item) -> Answer:
        by_name = {name: facts[name] for name in item.facts}
        known = tuple(fact for fact in by_name.values() if fact is not None)
        return Answer(item, known, tuple(name for name, fact in by_name.items() if fact is None))

    return tuple(Answered(own, tuple(of(item) for item in own.items)) for own in CHECKLISTS)


def markdown(evidence: Evidence, answered: Sequence[Answered]) -> str:
    """The document: coverage, then item by item. A fact that stood before is referred to."""
    parts = [
        "# Reporting checklists",
        f"Of {' and '.join(evidence.names)}. Titles are short names in our words; the published "
        "forms are what a journal wants. Answers are what files say, with the file; the rest is "
        "left open.",
        "\n".join(f"- {own.coverage}" for own in answered),
    ]
    for own in answered:
        parts.append(f"## {own.checklist.name}\n\n{own.checklist.source}.")
        first: dict[str, str] = {}  # words -> the item where they stand
        parts += [_section(one, first) for one in own.answers]
    return "\n\n".join(parts) + "\n"


def _section(own: Answer, first: dict[str, str]) -> str:
    lines = [f"### {own.item.number} {own.item.title}: {own.status}"]
    for fact in own.facts:
        before = first.setdefault(fact.text, own.item.number)
        # Short answers are said again, lists are not.
        repeated = before != own.item.number and "\n" in fact.text
        lines.append(f"As under {before}." if repeated else f"{fact.text}\n\n*From {fact.source}.*")
    if own.left:
        lines.append(f"**To fill in, by {own.item.who}:** {own.left}.")
    return "\n\n".join(lines)
