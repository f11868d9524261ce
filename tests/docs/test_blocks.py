"""What stands in a block of a document is what runs: options exist, examples are valid."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

from hilum.cli.main import app
from hilum.core.results import RunResult
from hilum.data.phantom.phantom import phantom, write_dicom

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(page: Path, kind: str) -> list[str]:
    return [body for name, body in BLOCK.findall(page.read_text()) if name == kind]


def commands(page: Path) -> list[list[str]]:
    """The words of every line of ours, without what stands behind #."""
    text = "\n".join(blocks(page, "") + blocks(page, "sh")).replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.startswith("hilum ")]
    return [shlex.split(line, comments=True) for line in lines]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_no_document_shows_an_option_that_is_not_there(page: Path) -> None:
    for words in commands(page):
        group, path = get_command(app), list(words[1:])
        while hasattr(group, "commands"):
            verb = path.pop(0).split("|")[0]
            assert verb in group.commands, " ".join(words)
            group = group.commands[verb]
        known = {
            name for one in group.params for name in (*one.opts, *one.secondary_opts, "--help")
        }
        shown = {word.partition("=")[0] for word in path if word.startswith("--")}
        assert shown <= known, f"{' '.join(words)}: {', '.join(sorted(shown - known))}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """chest.dcm, and copies of it where documents have folders."""
    out = tmp_path_factory.mktemp("documents")
    for name in ("folder", "studies"):
        (out / name).mkdir()
    write_dicom(phantom(4, 256, 224, opacities=1), out / "chest.dcm")
    for name in ("folder", "studies"):
        shutil.copy(out / "chest.dcm", out / name / "a.dcm")
    return out


PYTHON = [
    (page, number)
    for page in PAGES
    if page.stem not in ("from-files-to-figures",)  # runs as a whole, in test_docs
    for number in range(len(blocks(page, "python")))
]


@pytest.mark.parametrize(("page", "number"), PYTHON, ids=lambda one: getattr(one, "stem", one))
def test_code_runs_as_it_stands(
    page: Path, number: int, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "writers.dicom" in blocks(page, "python")[number]:
        pytest.importorskip("highdicom", reason="DICOM results are not installed")
    monkeypatch.chdir(folder)
    exec(compile(blocks(page, "python")[number], page.name, "exec"), {})  # noqa: S102


def test_the_findings_that_are_shown_are_read_back() -> None:
    (text,) = blocks(ROOT / "docs" / "findings-json.md", "json")
    run = RunResult.from_json(json.loads(text))
    assert run.counts["analysed"] == len(run)
    assert run[0].findings is not None
    assert run.studies[0].images == (0,)


def test_the_sections_of_recipes_that_are_shown_are_valid() -> None:
    pytest.importorskip("torch", reason="training is not installed")
    from hilum.models.options import NETWORKS
    from hilum.train.options import SourceOptions, StageOptions
    from hilum.train.sweep import Grid

    sections = {
        "data": lambda own: [SourceOptions.model_validate(one) for one in own],
        "stages": lambda own: [StageOptions.model_validate(one) for one in own.values()],
    }
    page = ROOT / "docs" / "training.md"
    for text in blocks(page, "yaml"):
        shown = yaml.safe_load(text)
        if "recipe" in shown:
            Grid.model_validate(shown)
            continue
        for name, own in shown.items():
            sections[name](own)
    for kind in NETWORKS:
        if not kind.startswith("torchvision"):
            assert f"`{kind}`" in page.read_text(), f"training.md does not name {kind}"
