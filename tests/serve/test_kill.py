"""Real kills: what was acknowledged is analysed and delivered, once."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.killing import killed


# Sockets of a sender whose other side was killed are closed by the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_service_that_is_killed_loses_nothing_and_does_nothing_twice(tmp_path: Path) -> None:
    report = killed(tmp_path, 4, mean_s=0.5)
    assert report.problems == []
    assert report.kills == 4
    assert report.acknowledged > 0
    assert report.results >= report.acknowledged
