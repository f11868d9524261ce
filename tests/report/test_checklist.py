"""A checklist says what files say, and leaves the rest to people."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from hilum.cli.main import app
from hilum.core.errors import BundleError, ConfigError
from hilum.report.checklist.evidence import Evidence, read_evidence
from hilum.report.checklist.facts import FACTS
from hilum.report.checklist.items import CLAIM, TRIPOD_AI
from hilum.report.checklist.page import Answer, Status, answer, markdown

DEFAULT = Path(__file__).parents[2] / "src" / "hilum" / "bundles" / "default"
RECIPE = {
    "name": "own",
    "about": "A trial.",
    "seed": 3,
    "augment": "light",
    "preprocessing": {"size": 128, "stretch": [0.5, 99.5], "window": None},
    "model": {"kind": "retinanet", "encoder": "resnet18", "pretrained": False},
    "targets": {"labels": ["opacity"]},
    "train": {"watch": "ap50", "average": {}, "positives": 0.5},
    "optimiser": {"kind": "adamw"},
    "data": [{"set": "rsna", "adults": True, "hold_out": {"validation": 0.1, "test": 0.2}}],
    "stages": {"only": {"epochs": 2, "learning_rate": 0.001}},
}


@pytest.fixture(scope="module")
def shipped() -> Evidence:
    return read_evidence([DEFAULT])


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run's folder as far as plain files go."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "recipe.yaml").write_text(yaml.safe_dump(RECIPE))
    data = {
        "images": {"train": 70, "validation": 10, "test": 20},
        "sources": {"rsna": {"set": "rsna", "train": 70, "validation": 10, "test": 20}},
        "left_out": {"rsna: under 18 years": 4, "unreadable": 0},
    }
    (folder / "data.json").write_text(json.dumps(data))
    return folder


def answers(evidence: Evidence) -> dict[str, Answer]:
    """CLAIM's "C25", TRIPOD+AI's "T12a"."""
    claim, tripod = answer(evidence)
    return {f"C{one.item.number}": one for one in claim.answers} | {
        f"T{one.item.number}": one for one in tripod.answers
    }


def test_the_checklists_are_whole() -> None:
    assert [one.number for one in CLAIM.items] == [str(n) for n in range(1, 45)]
    numbers = [one.number for one in TRIPOD_AI.items]
    assert len(numbers) == len(set(numbers)) == 52
    assert {int(one.rstrip("abcdefg")) for one in numbers} == set(range(1, 28))
    for item in (*CLAIM.items, *TRIPOD_AI.items):
        assert set(item.facts) <= FACTS.keys(), item.number
        assert item.facts or item.add, f"{item.number}: nothing answers it and nobody is asked"


def test_what_only_people_know_is_never_known(shipped: Evidence, run: Path) -> None:
    for evidence in (shipped, read_evidence([run]), read_evidence([DEFAULT, run])):
        for number in ("C11", "C16", "C34", "C44", "T5b", "T14", "T17", "T18a", "T19"):
            assert answers(evidence)[number].status is Status.OPEN, number


def test_answers_are_the_files_numbers(shipped: Evidence) -> None:
    assert shipped.manifest is not None
    found = answers(shipped)
    ap = shipped.manifest.figures["test, siim_covid_256 (int8): ap50"]
    assert f"{ap.value:.3f} ({ap.low:.3f}–{ap.high:.3f}), 499 images" in found["C32"].facts[0].text
    threshold = shipped.manifest.operating_points["sensitivity-95"].threshold
    assert f"sensitivity-95: opacity ≥ {threshold:.3f}" in found["T15"].facts[1].text
    assert "| siim_covid_256 | siim_covid_256 | 4312 | 254 | 499 |" in found["C19"].facts[0].text
    assert all(fact.source for one in found.values() for fact in one.facts)


def test_an_external_test_is_of_a_set_that_taught_nothing(shipped: Evidence) -> None:
    found = answers(shipped)
    inside, outside = (found[n].facts[0].text for n in ("C32", "C33"))
    assert "covid_opacity_512" in outside
    assert "covid_opacity_512" not in inside
    assert "siim_covid_256" not in outside
    assert "nih_128-rsna" not in outside  # a part of a set that was learnt from


def test_without_test_numbers_performance_is_not_known(shipped: Evidence) -> None:
    assert shipped.manifest is not None
    bare = replace(shipped, manifest=shipped.manifest.model_copy(update={"figures": {}}))
    for number in ("C21", "C28", "C29", "C32", "C33"):
        assert answers(bare)[number].status is Status.OPEN, number
    assert answers(bare)["C37"].status is Status.PART  # thresholds are left
    assert "performance" in answers(bare)["C37"].left


def test_a_run_beside_its_bundle_closes_what_the_bundle_leaves_open(
    shipped: Evidence, run: Path
) -> None:
    both = answers(read_evidence([DEFAULT, run]))
    for number in ("C19", "C25", "T12a", "T13"):
        assert answers(shipped)[number].status is Status.PART, number
        assert both[number].status is Status.KNOWN, number
    assert "10% validation, 20% test" in both["C19"].facts[0].text
    assert "4 rsna: under 18 years" in both["C10"].facts[0].text
    assert "only: epochs 2, learning_rate 0.001" in both["C25"].facts[0].text


def test_what_is_left_stands_in_the_document(shipped: Evidence) -> None:
    answered = answer(shipped)
    text = markdown(shipped, answered)
    for one in answered:
        assert one.coverage in text
        statuses = [own.status for own in one.answers]
        assert f"{statuses.count(Status.KNOWN)} of {len(statuses)} known" in one.coverage
    left = sum(bool(own.left) for one in answered for own in one.answers)
    assert text.count("**To fill in, by ") == left


def test_two_of_a_kind_and_neither_are_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="a second run"):
        read_evidence([run, run])
    with pytest.raises(ConfigError, match="a second bundle"):
        read_evidence([DEFAULT, run, DEFAULT])
    with pytest.raises(ConfigError, match="needed"):
        read_evidence([])
    (tmp_path / "empty").mkdir()
    with pytest.raises(BundleError):
        read_evidence([tmp_path / "empty"])


def test_the_command_writes_and_counts(tmp_path: Path) -> None:
    out = tmp_path / "checklist.md"
    words = ["evaluate", "checklist", str(DEFAULT), "--out", str(out)]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert "CLAIM 2024: " in done.output
    assert "TRIPOD+AI: " in done.output
    assert out.read_text().startswith("# Reporting checklists")
    document = json.loads(CliRunner().invoke(app, [*words, "--json"]).stdout)
    assert [len(one["items"]) for one in document] == [44, 52]
