"""Scripts are named where a reader looks for them, and say how they are called."""

from __future__ import annotations

import ast
import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted(
    path
    for path in (ROOT / "scripts").rglob("*")
    if path.suffix in (".py", ".sh") and path.name != "__init__.py"
)
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "src").rglob("*.md")]


def ids(path: Path) -> str:
    return path.relative_to(ROOT / "scripts").as_posix()


@pytest.mark.parametrize("script", SCRIPTS, ids=ids)
def test_a_script_says_what_it_does_and_how_it_is_called(script: Path) -> None:
    text = script.read_text()
    if script.suffix == ".py":
        words = ast.get_docstring(ast.parse(text)) or ""
    else:
        lines = text.splitlines()[1:]
        words = "\n".join(line for line in lines[:15] if line.startswith("#"))
        assert text.startswith(("#!/usr/bin/env bash\n", "#!/bin/sh\n"))
        assert re.search(r"^set -eu?", text, re.MULTILINE), "an error in it must end it"
    assert len(words) > 40, f"{script.name} does not say what it does"
    everywhere = words + "".join(page.read_text() for page in PAGES)
    others = "".join(one.read_text() for one in SCRIPTS if one != script)
    assert script.name in everywhere + others, f"nothing shows a call of {script.name}"


@pytest.mark.parametrize("script", [s for s in SCRIPTS if s.suffix == ".sh"], ids=ids)
def test_a_shell_script_has_no_error_of_syntax(script: Path) -> None:
    done = subprocess.run(["bash", "-n", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert os.access(script, os.X_OK), f"{script.name} is not executable"


def test_every_script_that_a_document_names_is_there() -> None:
    for page in PAGES:
        for name in re.findall(r"\bscripts/([\w/-]+\.(?:py|sh))", page.read_text()):
            assert (ROOT / "scripts" / name).is_file(), f"{page.name} names scripts/{name}"


def test_no_script_knows_a_machine() -> None:
    """No path of somebody's home or workplace."""
    for script in SCRIPTS:
        assert not re.search(r"/(?:home|Users|work)/\w", script.read_text()), script.name
