"""`hilum bundle`: what a bundle says of itself, and every reason not to use one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from helpers.toy import toy_files, toy_graph, toy_manifest, write_toy
from hilum.cli.main import app
from hilum.core.bundle import shipped_bundles, write_bundle


def bundle(*words: object, code: int = 0) -> str:
    done = CliRunner().invoke(app, ["bundle", *map(str, words)])
    assert done.exit_code == code, f"{done.output}\n{done.exception!r}"
    return done.stdout


def test_show_says_what_stands_in_the_manifest(tmp_path: Path) -> None:
    figures = {
        "test, small (fp32): auc": {"value": 0.8, "low": 0.7, "high": 0.9, "n": 20},
        "test, large (fp32): auc": {"value": 0.6, "low": 0.5, "high": 0.7, "n": 90},
        "test, large (int8): auc": {"value": 0.1, "low": 0.0, "high": 0.2, "n": 90},
    }
    learnt = [{"name": "a", "licence": "x"}, {"name": "b", "licence": "x", "use": "evaluation"}]
    own = write_toy(tmp_path / "toy.zip", figures=figures, data_licences=learnt)
    text = bundle("show", tmp_path / "toy.zip")
    for words in ("toy 1.0, detection, 128 px", own.sha256, "lungs from 0.5, opacity from 0.5"):
        assert words in text
    assert "operating point default: box from 0.30 (a test, chosen on nothing)" in text
    assert "CC0; learnt from a\n" in text
    first, second = (line for line in text.splitlines() if ", small" in line or ", large" in line)
    assert "large (fp32), 90 images: auc 0.600 (0.500–0.700)" in first
    assert "small (fp32), 20 images" in second
    shown = json.loads(bundle("show", tmp_path / "toy.zip", "--json"))
    assert shown["manifest"] == own.manifest.to_json()
    assert shown["licence"] == "CC0"
    assert shown["bytes"] == len(own.model())


def test_list_has_every_installed_bundle_with_its_licence() -> None:
    listed = json.loads(bundle("list", "--json"))
    assert listed.keys() == shipped_bundles().keys()
    assert {"default", "gate"} <= listed.keys()
    for name, one in listed.items():
        assert one["licence"] == "research, non-commercial", name
    assert len(bundle("list").splitlines()) == len(listed)


def test_verify_calls_a_whole_bundle_whole(tmp_path: Path) -> None:
    write_toy(tmp_path / "toy")
    assert bundle("verify", tmp_path / "toy") == f"{tmp_path / 'toy'}: whole\n"


def test_verify_gives_every_reason(tmp_path: Path) -> None:
    """Of each bundle, all files that were changed, left out or added: not the first alone."""
    write_toy(tmp_path / "toy")
    (tmp_path / "toy" / "card.md").write_text("another")
    (tmp_path / "toy" / "model.onnx").write_bytes(b"another")
    (tmp_path / "toy" / "more.md").touch()
    words = ("verify", tmp_path / "toy", tmp_path / "none.zip", "--json")
    problems = json.loads(bundle(*words, code=1))["problems"]
    (none,), own = problems[str(tmp_path / "none.zip")], problems[str(tmp_path / "toy")]
    assert "no such bundle" in none
    assert len(own) == 3
    for words in ("'card.md' does not match", "'model.onnx' does not match", "more.md"):
        assert sum(words in one for one in own) == 1


@pytest.mark.parametrize(
    ("graph", "changes", "reason"),
    [
        (toy_graph([], []), {"outputs": {"box_deltas": "elsewhere"}}, "lacks ['elsewhere']"),
        (toy_graph([], []), {"preprocessing": {"size": 256}}, "takes images of 128 x 128 px"),
        (toy_graph([], [], classes=(0.0, 1.0)), {}, "global_logits (2,) do not fit"),
        (toy_graph([[9, 9, 60, 60]], [1], poison=True), {}, "NaN"),
        (b"no graph", {}, "ONNX Runtime refuses"),
    ],
)
def test_verify_opens_every_graph(
    tmp_path: Path, graph: bytes, changes: dict[str, object], reason: str
) -> None:
    write_bundle(tmp_path / "toy.zip", toy_manifest(**changes), toy_files(graph))
    (problem,) = json.loads(bundle("verify", tmp_path / "toy.zip", "--json", code=1))[
        "problems"
    ].values()
    assert "fp32: " in problem[0]
    assert reason in problem[0]
