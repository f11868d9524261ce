"""Which pipelines, destinations and priority an image gets: the first rule that fits decides.

Knows headers and configuration only.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from hilum.serve.config import Config, Rule
from hilum.serve.tables import PRIORITIES, ROUTINE


@dataclass(frozen=True, slots=True)
class Facts:
    """What rules look at."""

    sender: str | None
    origin: str
    descriptions: tuple[str, ...]
    view: str | None
    modality: str | None


@dataclass(frozen=True, slots=True)
class Plan:
    """What is done with an image."""

    pipelines: tuple[str, ...]  # the first one's score is shown; none: it is only kept
    shadow: tuple[str, ...] = ()
    destinations: tuple[str, ...] = ()
    priority: int = ROUTINE


def plan(
    config: Config,
    facts: Facts,
    wanted: str | None = None,
    accepted: Collection[str] = (),
) -> Plan:
    """The plan of an image.

    Args:
        wanted: the pipeline that its sender asked for; it takes the place of the rule's.
        accepted: shadows that take the place of the rule's first pipeline.
    """
    rule = next((rule for rule in config.rules if _fits(rule, facts)), Rule())
    pipelines = _pipelines(config, rule, accepted)
    if pipelines and wanted in config.pipelines:
        pipelines = (str(wanted),)
    # Earlier images are there to be looked at, beside the one that is analysed.
    return _planned(rule, () if facts.origin == "prior" else pipelines)


def in_force(config: Config, rule: Rule, accepted: Collection[str] = ()) -> Plan:
    """What a rule says, with the shadows that were accepted."""
    return _planned(rule, _pipelines(config, rule, accepted))


def conditions(rule: Rule) -> dict[str, str]:
    """Those that a rule has: patterns. None: it fits everything."""
    names = ("sender", "origin", "description", "view", "modality")
    return {name: getattr(rule, name) for name in names if getattr(rule, name) != "*"}


def reached(rules: Sequence[Rule]) -> list[bool]:
    """Of each rule: does no earlier one take all that fits it?

    Told by equal conditions and missing ones; that one pattern holds another is not looked at.
    """
    wanted = [{(name, text.lower()) for name, text in conditions(rule).items()} for rule in rules]
    return [
        not any(earlier <= one for earlier in wanted[:number]) for number, one in enumerate(wanted)
    ]


def _pipelines(config: Config, rule: Rule, accepted: Collection[str]) -> tuple[str, ...]:
    if not rule.analyse:
        return ()
    pipelines = rule.pipelines or (config.default,)
    if promoted := [name for name in rule.shadow if name in accepted]:
        pipelines = (promoted[-1], *(name for name in pipelines[1:] if name not in promoted))
    return pipelines


def _planned(rule: Rule, pipelines: tuple[str, ...]) -> Plan:
    return Plan(
        pipelines=pipelines,
        shadow=tuple(name for name in rule.shadow if name not in pipelines and pipelines),
        destinations=rule.destinations,
        priority=PRIORITIES[rule.priority] if rule.priority else ROUTINE,
    )


def _fits(rule: Rule, facts: Facts) -> bool:
    return (
        rule.origin in ("*", facts.origin)
        and _like([facts.sender], rule.sender)
        and _like([facts.view], rule.view)
        and _like([facts.modality], rule.modality)
        and _like(facts.descriptions, rule.description)
    )


def _like(texts: Iterable[str | None], pattern: str) -> bool:
    """Upper and lower case are the same: headers are typed by people."""
    if pattern == "*":
        return True
    return any(fnmatchcase((text or "").lower(), pattern.lower()) for text in texts)
