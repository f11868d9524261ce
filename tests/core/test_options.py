"""A changed setting is that setting and no other, or an error that says what was possible."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import Field, model_validator

from hilum.core.errors import ConfigError
from hilum.core.options import Options, assignment, checked, replaced, unknown

FIRST = {"use": "boxes", "of": "a"}
TREE: dict[str, Any] = {"boxes": [FIRST, "nms"], "models": {"a": {"size": 64}}}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("models.a.size=128", {**TREE, "models": {"a": {"size": 128}}}),
        ("models.a.views=[flip]", {**TREE, "models": {"a": {"size": 64, "views": ["flip"]}}}),
        ("models.b.size=32", {**TREE, "models": {"a": {"size": 64}, "b": {"size": 32}}}),
        ("models.a.size=null", {**TREE, "models": {"a": {}}}),
        ("boxes.1={use: nms, iou: 1}", {**TREE, "boxes": [FIRST, {"use": "nms", "iou": 1}]}),
        ("boxes.0.of=b", {**TREE, "boxes": [{"use": "boxes", "of": "b"}, "nms"]}),
        ("boxes.2=scale", {**TREE, "boxes": [*TREE["boxes"], "scale"]}),
        ("boxes.1=null", {**TREE, "boxes": TREE["boxes"][:1]}),
        ("thresholds.boxes=a=b", {**TREE, "thresholds": {"boxes": "a=b"}}),
    ],
)  # fmt: skip
def test_a_change_touches_its_own_place_only(change: str, expected: dict[str, Any]) -> None:
    before = repr(TREE)
    assert replaced(TREE, *assignment(change)) == expected
    assert repr(TREE) == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("boxes", "needed: KEY=VALUE"),
        ("=3", "needed: KEY=VALUE"),
        ("boxes=[a", "not YAML"),
        ("boxes=a: b: c", "not YAML"),
        ("boxes.3=nms", "unknown item '3'. .*Known: 0, 1, 2"),
        ("boxes.-1=nms", "unknown item '-1'"),
        ("boxes.1.iou=0.2", "'nms' has no keys"),
        ("models.a.size.px=3", "64 has no keys"),
    ],
)
def test_a_change_that_fits_nowhere_is_refused(change: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        replaced(TREE, *assignment(change))


class Part(Options):
    size: int = Field(default=1, ge=1)
    name: str = ""


class Whole(Options):
    part: Part = Part()
    parts: tuple[Part, ...] = ()
    rate: float = 0.5
    other: int = 0

    @model_validator(mode="after")
    def _sum(self) -> Whole:
        if self.other + self.part.size > 5:
            raise ValueError("more than {five}")
        return self


def test_an_unknown_key_hides_no_other_mistake() -> None:
    """Of its own table, of those in it and beside it; each by its place."""
    wrong = {
        "part": {"sizes": 3, "size": 0, "name": [], "nam": 1},
        "parts": [{}, {"siez": 2, "size": "x"}],
        "rat": 1,
        "rate": "fast",
    }
    with pytest.raises(ConfigError) as caught:
        checked(Whole, wrong, "whole.yaml")
    for words in (
        "part.sizes: unknown key 'sizes'. Did you mean 'size'?",
        "part.nam: unknown key 'nam'. Did you mean 'name'?",
        "part.size: Input should be greater than or equal to 1",
        "part.name: Input should be a valid string",
        "parts.1.siez: unknown key 'siez'",
        "parts.1.size: Input should be a valid integer",
        "rat: unknown key 'rat'. Did you mean",
        "rate: Input should be a valid number",
    ):
        assert words in str(caught.value), words


def test_an_unknown_key_hides_no_contradiction_of_its_table() -> None:
    with pytest.raises(ConfigError, match=r"unknown key 'otter'.*; more than \{five\}"):
        checked(Whole, {"otter": 1, "other": 5}, "x")
    assert checked(Whole, {"other": 4, "part": {"size": 1}}, "x").other == 4


def test_where_nothing_is_known_none_is() -> None:
    assert unknown("mask", "heart", ()) == "unknown mask 'heart'. Known: none."
