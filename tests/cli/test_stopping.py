"""Commands that are stopped in the middle: what a user sees, what is left, and the same again."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from helpers.phantom_set import catalog
from helpers.pictures import write_png
from helpers.toy import write_toy_pipeline
from hilum.cli.main import app
from hilum.core.errors import GO_ON
from hilum.core.files import OWN_MARK

pytestmark = pytest.mark.usefixtures("hearing")

SECONDS = 300
LITTLE = 6000  # bytes a file may have, instead of a full disk

# A command that cannot write more than so much to any file, as on a disk that fills.
LIMITED = (
    f"import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, ({LITTLE}, {LITTLE})); "
    "from hilum.cli.main import run; sys.argv[0] = 'hilum'; run()"
)


def start(*words: object, code: str = "") -> subprocess.Popen[str]:
    """A command in a group of its own, as a shell starts it."""
    python = [sys.executable, *(["-c", code] if code else ["-m", "hilum"])]
    return subprocess.Popen(
        [*python, *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def when(there: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + SECONDS
    while not there() and time.monotonic() < deadline:
        assert process.poll() is None, "it ended before it could be stopped"
        time.sleep(0.002)


def stop(process: subprocess.Popen[str], number: signal.Signals) -> tuple[int, str]:
    """Ctrl-C reaches the whole group, anything else the command alone."""
    (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)
    _, err = process.communicate(timeout=SECONDS)
    return process.returncode, err


def many(folder: Path) -> Path:
    """A catalog of more images than a command writes while one looks."""
    made = catalog(folder, "made", 3)
    tables = [made.table]
    for number in range(100):
        table = made.table.copy()
        for column in ("path", "mask_opacity", "mask_lungs"):
            table[column] = [f"{number}-{name.replace('/', '-')}" for name in table[column]]
            for old, new in zip(made.table[column], table[column], strict=True):
                shutil.copy(folder / old, folder / new)
        table["image_id"] = [f"{number}-{name}" for name in table["image_id"]]
        tables.append(table)
    replace(made, table=pd.concat(tables, ignore_index=True)).save(folder / "many.parquet")
    return folder / "many.parquet"


def content(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)]
)
@pytest.mark.parametrize(
    "form", [("png", "--size", "48"), ("masks", "--mask", "opacity")], ids=["png", "masks"]
)
def test_an_export_goes_on_and_is_as_if_it_never_stopped(
    tmp_path: Path, number: signal.Signals, code: int, form: tuple[str, ...]
) -> None:
    words = ("data", "convert", many(tmp_path / "set"), "--to", *form, "--out")
    process, out = start(*words, tmp_path / "parts"), tmp_path / "parts"
    when(lambda: len(list(out.rglob("*.png"))) > 5, process)
    ended, err = stop(process, number)
    assert ended == code
    assert "Traceback" not in err
    assert ("interrupted; what was finished is kept" in err) == (code > 0)
    assert len(list(out.rglob(".*.part*"))) == 0 or code < 0  # half files go where they can
    other = CliRunner().invoke(app, [*map(str, words[:4]), "coco", "--out", str(out)])
    assert "not empty" in str(other.exception)  # what is half done is not mixed
    for folder in (out, tmp_path / "whole"):
        done = CliRunner().invoke(app, [*map(str, words), str(folder)])
        assert done.exit_code == 0, done.output
    parts, whole = content(out), content(tmp_path / "whole")
    assert parts.keys() == whole.keys()
    assert not [name for name in parts if OWN_MARK in name or ".part" in name]
    same = [name for name in parts if name.endswith((".png", ".csv"))]
    assert all(parts[name] == whole[name] for name in same)


def test_a_disk_that_fills_ends_a_run_and_says_how_to_go_on(tmp_path: Path) -> None:
    pipeline = write_toy_pipeline(tmp_path)
    write_png(tmp_path / "images" / "0.png", 0, 96, 80)  # of which all files are small
    for number in range(1, 12):
        write_png(tmp_path / "images" / f"{number}.png", number, 1000, 800)
    words = ["predict", tmp_path / "images", "--out", tmp_path / "out", "--pipeline", pipeline]
    for workers in ("1", "2"):
        process = start(*words, "--workers", workers, code=LIMITED)
        _, err = process.communicate(timeout=SECONDS)
        assert process.returncode == 3, err
        assert err.count(GO_ON) == 1
        assert "File too large" in err
        assert str(tmp_path / "out" / "picture") in err
    assert not (tmp_path / "out" / "findings.json").exists()
    kept = [path for path in (tmp_path / "out" / "picture").iterdir() if path.name[0] != "."]
    assert len(kept) == 1  # and nothing torn
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert "12 images: 12 analysed" in done.output


def test_whoever_stops_reading_the_output_is_no_error_of_ours(tmp_path: Path) -> None:
    made = catalog(tmp_path / "set", "made", 3)
    words = ("data", "convert", made.root / "made.parquet", "--to", "coco", "--json", "--out")
    process = start(*words, tmp_path / "out")
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    err = process.stderr.read()
    assert process.wait(SECONDS) == 141  # as of a command that SIGPIPE ends
    assert "Broken" not in err
    assert "Exception" not in err
    assert (tmp_path / "out" / "hilum-images.csv").exists()
    process.stderr.close()


def test_without_a_terminal_progress_is_lines(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from hilum.cli.common import progress
    from hilum.core import progress as silence

    monkeypatch.setattr(silence, "SILENCE_S", 0.05)
    with progress("reading", 3) as advance:
        for _ in range(3):
            advance()
            time.sleep(0.1)
    lines = capsys.readouterr().err.splitlines()
    assert "reading: 2 of 3" in lines
    assert all(line.isprintable() for line in lines)
