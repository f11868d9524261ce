"""What architecture, studies, definitions and CONTRIBUTING name is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from helpers.named import paths

ROOT = Path(__file__).parents[2]
PAGES = [
    *(ROOT / "docs" / f"{name}.md" for name in ("architecture", "studies", "definitions")),
    ROOT / "CONTRIBUTING.md",
]
NAME = re.compile(r"`(?:[a-z_]+\.)*([A-Z]\w+|_?[A-Z_]{4,}|[a-z]\w*_\w+)(?:\([^`]*)?`")
CODE = [*(ROOT / "src/hilum").rglob("*.py"), *(ROOT / "tests").rglob("*.py")]
TOPS = ("src", "tests", "docs", "recipes", "scripts", "benchmarks", "models")
TREE = [
    f"/{path.relative_to(ROOT).as_posix()}{'/' * path.is_dir()}"
    for path in [
        *ROOT.iterdir(),
        *(path for top in TOPS for path in (ROOT / top).rglob("*")),
    ]
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_path_is_one_of_the_tree(page: Path) -> None:
    named = paths(page.read_text())
    lost = [one for one in named if not any(there.endswith(f"/{one}") for there in TREE)]
    assert not lost, f"{page.name} names {', '.join(lost)}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_name_is_one_of_the_code(page: Path) -> None:
    words = {word for path in CODE for word in re.findall(r"\w+", path.read_text())}
    lost = sorted(set(NAME.findall(page.read_text())) - words)
    assert not lost, f"{page.name} names {', '.join(lost)}"
