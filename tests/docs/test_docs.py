"""What the documents say is there, and what they show runs."""

import json
import re
import shlex
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.main import get_command

from hilum.cli.main import app
from hilum.core.errors import ConfigError
from hilum.report.writers import WRITERS, parse

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```", re.MULTILINE | re.DOTALL)


# Options of several commands, which mean one thing.
SHARED = {
    *("--json", "--pipeline", "--threads", "--no-masks", "--untrusted", "--full-range", "--fresh"),
    *("--option", "--kind", "--part", "--config", "--study", "--window"),
}


def verbs() -> dict[str, Any]:
    """ "data split" -> the command."""

    def below(group: object, path: tuple[str, ...]) -> dict[str, Any]:
        known = getattr(group, "commands", None)
        if known is None:
            return {" ".join(path): group}
        return {k: v for name, one in known.items() for k, v in below(one, (*path, name)).items()}

    assert isinstance(app, typer.Typer)
    return below(get_command(app), ())


def commands() -> dict[str, str]:
    """ "data split" -> its help."""
    return {name: one.help or "" for name, one in verbs().items()}


@pytest.mark.parametrize("name", commands())
def test_every_command_has_an_example_and_stands_in_the_documents(name: str) -> None:
    assert re.search(r"Examples?:", commands()[name]), f"hilum {name} --help shows no example"
    *group, verb = name.split()
    shown = rf"hilum {' '.join([*group, ''])}(?:[a-z|-]*\|)?{verb}\b"
    assert any(re.search(shown, page.read_text()) for page in PAGES), f"hilum {name}"


@pytest.mark.parametrize("name", commands())
def test_every_command_has_json_for_machines(name: str) -> None:
    assert any("--json" in one.opts for one in verbs()[name].params), f"hilum {name}"


def test_an_option_means_the_same_in_every_command() -> None:
    """What several commands share has one help text; what one alone has says its own."""
    said = defaultdict(set)
    for name, command in verbs().items():
        own = {flag: one for one in command.params for flag in one.opts}
        if "--out" in own:
            assert own["--out"].opts == ["--out", "-o"], name
        for flag in SHARED & own.keys():
            said[flag].add(own[flag].help)
    assert said.keys() == SHARED
    assert {flag: texts for flag, texts in said.items() if len(texts) > 1} == {}


def test_every_writer_is_documented_and_told_where_one_is_unknown() -> None:
    page = (ROOT / "docs" / "findings-json.md").read_text()
    assert not [name for name in WRITERS if not re.search(rf"^\|[^|]*`{name}`", page, re.MULTILINE)]
    with pytest.raises(ConfigError) as told:
        parse("nothing")
    assert not [name for name in WRITERS if name not in str(told.value)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_document_shows_a_command_that_is_not_there(page: Path) -> None:
    known = commands()
    groups = {name.split()[0] for name in known if " " in name}
    for line in re.findall(r"^hilum ([a-z|-]+(?: [a-z|-]+)?)", page.read_text(), re.MULTILINE):
        first, _, second = line.partition(" ")
        for verb in second.split("|") if first in groups and second else first.split("|"):
            name = f"{first} {verb}" if first in groups and second else verb
            assert name in known or verb in groups, f"{page.name}: hilum {name}"


def test_from_files_to_figures_runs_as_it_stands(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "from-files-to-figures.md").read_text()
    for language, block in BLOCK.findall(page):
        if language == "python":
            subprocess.run([sys.executable, "-c", block], cwd=tmp_path, check=True)
            continue
        for line in block.splitlines():
            command = [sys.executable, "-m", *shlex.split(line)]
            done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
            assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
    assert (tmp_path / "results" / "index.html").is_file()
    assert (tmp_path / "report.html").is_file()
    assert list((tmp_path / "figures").glob("*.png"))
    parts = json.loads((tmp_path / "runs" / "own" / "data.json").read_text())["images"]
    assert parts == {"train": 12, "validation": 8, "test": 8}, "the catalog's own split"
    assert (tmp_path / "both.html").is_file()
    assert "known" in (tmp_path / "checklist.md").read_text()
