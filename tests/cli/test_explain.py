"""`hilum explain`: what was asked for is explained, or refused; nothing is passed over."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from hilum.cli.main import app


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--method", "occlusion", "--run", "runs/a"], "--bundle"),  # not the shipped bundle's map
        (["--method", "grad-cam", "--bundle", "default"], "--run"),
        (["--sanity"], "--run"),  # occlusion has no weights to randomise
    ],
)
def test_options_that_would_not_count_are_refused(
    tmp_path: Path, options: list[str], words: str
) -> None:
    out = tmp_path / "maps"
    done = CliRunner().invoke(app, ["explain", str(tmp_path), "--out", str(out), *options])
    assert done.exit_code != 0
    assert words in str(done.exception)
    assert not out.exists()
