"""`hilum report` makes files of a finished run anew, and only from what was analysed."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import pytest
from typer.testing import CliRunner

from helpers.pictures import write_png
from helpers.toy import write_toy_pipeline
from hilum.cli.main import app
from hilum.dicom.guard import open_guarded
from hilum.dicom.stored import StoredImage


def hilum(*arguments: str | Path) -> tuple[int, str]:
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return done.exit_code, done.output


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A run on two pictures."""
    for number in range(2):
        write_png(tmp_path / "images" / f"{number}.png", number)
    pipeline = write_toy_pipeline(tmp_path)
    code, _ = hilum("predict", tmp_path / "images", "-o", tmp_path / "out", "--pipeline", pipeline)
    assert code == 0
    return tmp_path / "out"


def images(results: Path) -> list[dict[str, object]]:
    document: list[dict[str, object]] = json.loads((results / "findings.json").read_text())[
        "images"
    ]
    return document


def test_tables_and_page_are_written_again(results: Path) -> None:
    before = {name: (results / name).read_bytes() for name in ("findings.json", "findings.csv")}
    (results / "findings.csv").unlink()
    (results / "index.html").unlink()
    assert hilum("report", results)[0] == 0
    assert {name: (results / name).read_bytes() for name in before} == before
    assert (results / "index.html").is_file()


def test_further_files_are_those_that_predict_writes(results: Path, tmp_path: Path) -> None:
    assert hilum("report", results, "--write", "overlay")[0] == 0
    pipeline = next(tmp_path.glob("*.yaml"))
    arguments = ("predict", tmp_path / "images", "-o", tmp_path / "other", "--pipeline", pipeline)
    hilum(*arguments, "--write", "overlay")
    for one in images(results):
        file = one["files"]["overlay"]  # type: ignore[index]
        first, second = (cv2.imread(str(at / file)) for at in (results, tmp_path / "other"))
        # Boxes in findings.json are rounded to a hundredth of a pixel.
        assert (cv2.absdiff(first, second) > 40).mean() < 1e-3
        assert "picture" in one["files"]  # type: ignore[operator]


def test_sources_are_found_by_content_wherever_they_lie(results: Path, tmp_path: Path) -> None:
    (tmp_path / "images").rename(tmp_path / "moved")
    (tmp_path / "moved" / "0.png").rename(tmp_path / "moved" / "another name.png")
    code, text = hilum("report", results, "--write", "overlay")
    assert code == 1
    assert "2 warned" in text
    assert hilum("report", results, "--write", "overlay", "--source", tmp_path / "moved")[0] == 0
    assert not any(one["warnings"] for one in images(results))


def test_untrusted_sources_are_opened_by_a_guarded_child(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    def noted(source: tuple[str, bytes]) -> StoredImage:
        asked.append(source[0])
        return open_guarded(source)

    monkeypatch.setattr("hilum.dicom.guard.open_guarded", noted)
    assert hilum("report", results, "--write", "overlay", "--untrusted")[0] == 0
    assert asked == [one["path"] for one in images(results)]


def test_a_changed_source_is_never_drawn_with_old_findings(results: Path, tmp_path: Path) -> None:
    write_png(tmp_path / "images" / "0.png", 77)
    code, text = hilum("report", results, "--write", "overlay")
    assert code == 1
    assert "has changed since" in text
    assert [bool(one["warnings"]) for one in images(results)] == [True, False]


def test_a_folder_without_results_is_said(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["report", str(tmp_path)])
    assert "name a folder of `hilum predict`" in str(done.exception)
