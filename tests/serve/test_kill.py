"""Real kills: what was acknowledged is analysed and delivered, once."""

from __future__ import annotations

from pathlib import Path

from helpers.killing import killed


def test_a_service_that_is_killed_loses_nothing_and_does_nothing_twice(tmp_path: Path) -> None:
    report = killed(tmp_path, 4, mean_s=0.3)
    assert report.problems == []
    assert report.kills == 4
    assert report.acknowledged > 0
    assert report.results >= report.acknowledged
