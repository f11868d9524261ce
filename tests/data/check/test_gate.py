"""What `hilum data check` sees by pixels and by the table: no chest, several in one, lateral."""

from __future__ import annotations

import csv
from pathlib import Path
from zipfile import ZipFile

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from helpers.trees import png, text
from hilum.cli.main import app
from hilum.core.errors import NotChestRadiographRefused
from hilum.core.radiograph import Radiograph
from hilum.data import load
from hilum.data.check.files import Gate, file_facts
from hilum.data.check.findings import check


def refuses_wide(radiograph: Radiograph) -> None:
    if radiograph.width > 90:
        raise NotChestRadiographRefused(radiograph.source, "it is wide.", "Send another.")


def test_what_a_gate_refuses_is_listed_and_kept(tmp_path: Path) -> None:
    png(tmp_path / "set/a.png", 0, (80, 80))
    png(tmp_path / "set/b.png", 1, (100, 80))
    catalog, memory = load("folder", tmp_path / "set"), tmp_path / "m.jsonl"
    code = "not-chest-by-pixels"
    assert code not in check(catalog, file_facts(catalog, memory)).counts()
    gate = Gate(check=refuses_wide, fingerprint="one")  # what was read without it is asked again
    report = check(catalog, file_facts(catalog, memory, gate=gate))
    found = report.problems[report.problems["code"] == code]
    assert found[["image_id", "text"]].to_numpy().tolist() == [["b", "it is wide."]]
    assert len(report.cleaned()) == 2
    other = Gate(check=lambda radiograph: None, fingerprint="another")
    assert code not in check(catalog, file_facts(catalog, memory, gate=other)).counts()


def test_a_lateral_view_of_the_table_is_no_frontal_chest(tmp_path: Path) -> None:
    for number, name in enumerate("ab"):
        png(tmp_path / f"{name}.png", number)
    text(tmp_path / "t.csv", "file,view\na.png,LL\nb.png,PA\n")
    columns = {"image_id": "file", "view": "view"}
    catalog = load("folder", tmp_path, table="t.csv", columns=columns)
    for report in (check(catalog), check(catalog, file_facts(catalog, tmp_path / "m.jsonl"))):
        assert report.counts()["not-chest"] == 1
        assert report.cleaned().table["image_id"].tolist() == ["b"]


def test_real_pictures_of_two_and_of_none_are_found(tmp_path: Path, hilum_data: Path) -> None:
    chests = pictures(hilum_data / "siim_unlabelled_512.zip", 2)
    for name, image in zip("ab", chests, strict=True):
        cv2.imwrite(str(tmp_path / f"{name}.png"), image)
    cv2.imwrite(str(tmp_path / "two.png"), np.hstack([cv2.resize(c, (400, 400)) for c in chests]))
    cv2.imwrite(str(tmp_path / "none.png"), pictures(hilum_data / "not_chest.zip", 1)[0])
    out = tmp_path / "out"
    for option, expected in (("--no-gate", set()), ("--gate", {"two", "none"})):
        words = ["data", "check", str(tmp_path), "--kind", "folder", "--out", str(out), option]
        CliRunner().invoke(app, words)
        with (out / "problems.csv").open() as stream:
            rows = [r for r in csv.DictReader(stream) if r["code"] == "not-chest-by-pixels"]
        assert {row["image_id"] for row in rows} == expected
    assert "several frontal chest" in next(r["text"] for r in rows if r["image_id"] == "two")


def pictures(archive: Path, count: int) -> list[np.ndarray]:
    if not archive.is_file():
        pytest.skip(f"{archive.name} is not here")
    with ZipFile(archive) as opened:
        names = sorted(n for n in opened.namelist() if n.lower().endswith((".webp", ".png")))
        raw = [np.frombuffer(opened.read(n), np.uint8) for n in names[:count]]
    return [cv2.imdecode(one, cv2.IMREAD_GRAYSCALE) for one in raw]
