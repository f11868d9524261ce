"""A changed setting is that setting and no other, or an error that says what was possible."""

from __future__ import annotations

from typing import Any

import pytest

from hilum.core.errors import ConfigError
from hilum.core.options import assignment, replaced

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
