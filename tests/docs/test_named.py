"""Whatever recipes and documents name is there: files, recipes, pipelines, commands, options."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import typer
from typer.main import get_command

from hilum.cli.main import app
from hilum.inference.pipeline import shipped_pipelines
from hilum.train.recipe import recipe_names

ROOT = Path(__file__).parents[2]
FURTHER = ROOT / "models/src/hilum_models/pipelines"
RECIPES = sorted((ROOT / "recipes").rglob("*.yaml"))
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *RECIPES]
FILE = re.compile(r"(?<![\w/.$])((?:recipes|scripts|docs|benchmarks|deploy|tests|src)/[\w./-]*\w)")
CALL = re.compile(r"\bhilum ([a-z][^`\n]*)")


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def calls(text: str) -> Iterator[tuple[list[str], click.Command, str]]:
    """Every call of ours in a text: its words, the command, and what follows."""
    assert isinstance(app, typer.Typer)
    text = re.sub(r"\\\n(?:# *)?", " ", text)
    for call in CALL.findall(text):
        command: click.Command = get_command(app)
        path, words = [], re.split(r" [;|] | && |   |\)", call)[0].split()
        while words and words[0] in getattr(command, "commands", ()):
            command = command.commands[words[0]]  # type: ignore[attr-defined]
            path.append(words.pop(0))
        if path and not hasattr(command, "commands"):
            yield path, command, " ".join(words)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_file_that_is_named_is_there(page: Path) -> None:
    for found in FILE.findall(page.read_text()):
        there = any((base / found).exists() for base in (ROOT, ROOT / "src/hilum", page.parent))
        assert there, f"{name(page)} names {found}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_option_that_is_shown_is_one_of_its_command(page: Path) -> None:
    for path, command, rest in calls(page.read_text()):
        known = {one for p in command.params for one in (*p.opts, *p.secondary_opts)}
        for option in re.findall(r"(?<![\w-])(--[a-z0-9][\w-]*)", rest):
            assert option in {*known, "--help"}, f"{name(page)}: hilum {' '.join(path)} {option}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_recipes_and_pipelines_are_called_by_names_that_they_have(page: Path) -> None:
    text = page.read_text()
    recipes = {*recipe_names()}
    called = [
        rest.split()[0]
        for path, _, rest in calls(text)
        if path in (["train"], ["data", "preview"]) and rest.split()
    ]
    called += re.findall(r"(?:pretrained|start)\W+runs/([\w-]+)", text)
    for one in called:
        plain = one.strip("`.,:").replace("$SMALL", "-small")
        if re.fullmatch(r"[a-z0-9_-]+", plain) and not plain.startswith("-"):
            assert plain in recipes, f"{name(page)}: recipe {plain}"
    known = {*shipped_pipelines(), *(file.stem for file in FURTHER.glob("*.yaml"))}
    for pipeline in re.findall(r"--pipeline ([a-z][\w-]*)(?![\w./])", text):
        assert pipeline in known, f"{name(page)}: pipeline {pipeline}"
