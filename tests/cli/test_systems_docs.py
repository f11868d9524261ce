"""The documents of the five systems are commands: what they name is there."""

from __future__ import annotations

import re
import shlex
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest
from typer.main import get_command

from hilum.cli.main import app
from hilum.inference.pipeline import Pipeline
from hilum.train.recipe import load_recipe, recipe_folder

DOCS = Path(__file__).parents[2] / "docs" / "systems"
BLOCK = re.compile(r"^```sh( \w+)?\n(.*?)^```", re.M | re.S)


def _commands(system: str) -> list[list[str]]:
    text = (DOCS / f"{system}.md").read_text()
    blocks = [body for kind, body in BLOCK.findall(text) if not kind]
    return [shlex.split(line) for line in "\n".join(blocks).splitlines() if line]


@pytest.mark.parametrize("system", "abcde")
def test_every_command_of_a_system_is_one_of_ours(
    system: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Verbs, their long options, recipes in both sizes, pipelines with what is swapped."""
    monkeypatch.chdir(tmp_path)
    verbs = get_command(app).commands  # type: ignore[attr-defined]
    for words in _commands(system):
        assert words[0] == "hilum"
        verb = verbs[words[1]]
        if hasattr(verb, "commands"):
            verb = verb.commands[words[2]]
        known = {
            option
            for parameter in verb.params
            for option in (*parameter.opts, *parameter.secondary_opts)
        }
        assert {w for w in words if w.startswith("--")} <= known, words
        if words[1] == "train":
            for size in ("", "-small"):
                load_recipe(words[2].replace("$SMALL", size))
        _load_pipeline(words)


def _load_pipeline(words: list[str]) -> None:
    """The pipeline of a command with what is swapped; what is tuned is there for the next one."""
    after = {word: words[place + 1] for place, word in enumerate(words[:-1])}
    name = words[3] if words[1] == "pipeline" else after.get("--pipeline")
    if name is None:
        return
    text = Pipeline.load(name, [value for word, value in pairwise(words) if word == "--set"])
    if words[1:3] == ["pipeline", "tune"]:
        Path(after["--out"]).write_text(text.to_yaml(Path()))


@pytest.mark.parametrize("size", ["small", "whole"])
@pytest.mark.parametrize("system", "abcde")
def test_the_settings_of_both_sizes_fit_their_commands(
    system: str, size: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the script's shell expands them: recipes and pipelines load with all that is set."""
    monkeypatch.chdir(tmp_path)
    blocks = BLOCK.findall((DOCS / f"{system}.md").read_text())
    settings = "".join(body for kind, body in blocks if kind.strip() == size)
    lines = "\n".join(body for kind, body in blocks if not kind).splitlines()
    shell = [settings, *(f"set -- {line}; printf '%s\\0' \"$@\" end" for line in lines if line)]
    run = ["bash", "-c", "\n".join(shell)]
    said = subprocess.run(
        run, capture_output=True, text=True, check=True, env={"HILUM_DATA": "sets"}
    )
    trained = 0
    for command in said.stdout.split("\0end\0")[:-1]:
        words = command.split("\0")
        changes = [after for word, after in pairwise(words) if word == "--set"]
        if words[1] == "train":
            load_recipe(words[2], tuple(changes))
            trained += 1
        else:
            _load_pipeline(words)
    assert trained


@pytest.mark.parametrize("system", "abcde")
def test_every_system_ends_with_submission_figures_and_explanation(system: str) -> None:
    done = [" ".join(words) for words in _commands(system)]
    wanted = (
        "hilum train",
        "hilum export",
        "hilum predict",
        "hilum submit",
        "hilum evaluate challenge",
        "hilum evaluate report",
        "hilum explain",
    )
    places = [min(i for i, text in enumerate(done) if text.startswith(one)) for one in wanted]
    assert places == sorted(places)
    assert "--plots" in done[places[-2]]


def test_sweeps_that_the_documents_name_exist() -> None:
    text = "".join(file.read_text() for file in DOCS.glob("*.md"))
    for name in re.findall(r"recipes/sweeps/([\w-]+\.yaml)", text):
        assert (recipe_folder() / "sweeps" / name).is_file(), name
