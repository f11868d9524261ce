"""`hilum predict` and `hilum demo` as a user runs them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from pydicom.data import get_testdata_file
from typer.testing import CliRunner

from helpers.pictures import write_png
from helpers.toy import write_toy_pipeline
from hilum.cli.main import app
from hilum.core.errors import ConfigError
from hilum.data import load
from hilum.dicom.guard import _Child
from hilum.inference.journal import NAME

SECONDS = 120
TORN = b'{"path": "0'


def hilum(*arguments: str | Path) -> tuple[int, str]:
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return done.exit_code, done.output


def findings(out: Path) -> dict[str, object]:
    value: dict[str, object] = json.loads((out / "findings.json").read_text())
    for image in value["images"]:  # type: ignore[attr-defined]
        image["seconds"] = 0
    return value


@pytest.fixture
def pipeline(tmp_path: Path) -> Path:
    return write_toy_pipeline(tmp_path)


def test_of_a_catalog_its_images_are_read_and_nothing_beside_them(
    tmp_path: Path, pipeline: Path
) -> None:
    for number, name in enumerate(("a", "a_mask", "b")):
        write_png(tmp_path / f"images/{name}.png", number, 96, 80)
    with ZipFile(tmp_path / "more.zip", "w") as archive:
        for name in "cd":
            archive.write(tmp_path / "images/a.png", f"x/{name}.png")
    folder, zipped = tmp_path / "folder.parquet", tmp_path / "zipped.parquet"
    load("folder", tmp_path / "images", masks={"opacity": "*_mask"}).save(folder)
    whole = load("folder", tmp_path / "more.zip")
    whole.where(whole.table["image_id"] == "x/d").save(zipped)
    out = tmp_path / "out"
    code, text = hilum(
        "predict", folder, zipped, "--out", out, "--pipeline", pipeline, "--workers", "1"
    )
    assert code == 0, text
    read = [Path(one["path"]).name for one in findings(out)["images"]]  # type: ignore[attr-defined]
    assert read == ["a.png", "b.png", "d.png"]
    assert "no pictures" not in text
    boxed = sum(bool(one["findings"]) for one in findings(out)["images"])  # type: ignore[attr-defined]
    assert (f"Boxes: opacity on {boxed}. Images without one may" in text) == bool(boxed)
    bare = tmp_path / "bare"
    code, text = hilum(
        *("predict", folder, "--out", bare, "--pipeline", pipeline, "--workers", "1", "--write", "")
    )
    assert f"hilum report {bare} --write picture" in text


def test_results_beside_the_images_are_neither_read_nor_written_over_them(
    tmp_path: Path, pipeline: Path
) -> None:
    images = tmp_path / "images"
    write_png(images / "a.png", 1, 96, 80)
    (images / "b.png").symlink_to("a.png")
    arguments = ("predict", images, "--out", images, "--pipeline", pipeline, "--workers", "1")
    for _ in range(2):
        code, text = hilum(*arguments)
        assert code == 0, text
        assert "1 more names of the same files were passed over" in text
        assert [Path(one["path"]).name for one in findings(images)["images"]] == ["a.png"]  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["findings.csv", "mask/a.png", "index.html"])
def test_results_are_not_mixed_with_files_of_their_names(
    tmp_path: Path, pipeline: Path, name: str
) -> None:
    write_png(tmp_path / "images" / "a.png", 1, 96, 80)
    mine = tmp_path / "out" / name
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    arguments = ("predict", tmp_path / "images", "--out", tmp_path / "out", "--pipeline", pipeline)
    with pytest.raises(ConfigError, match="not empty, and of no earlier run"):
        CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert mine.read_text() == "mine"
    assert [path.name for path in (tmp_path / "out").iterdir()] == [Path(name).parts[0]]


def test_an_untrusted_file_that_kills_its_reader_costs_itself(
    tmp_path: Path, pipeline: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b", "c"):
        write_png(tmp_path / "images" / f"{name}.png", ord(name), 96, 80)
    asked: list[str] = []
    ask = _Child.ask

    def killed(child: _Child, name: str, *rest: Any) -> Any:
        asked.append(Path(name).name)
        if asked == ["a.png", "a.png", "b.png"]:  # header and pixels of a, header of b
            os.kill(child.running().pid, signal.SIGKILL)
            monkeypatch.setattr(child, "running", lambda: child._process)
        try:
            return ask(child, name, *rest)
        finally:
            if asked[-1] == "b.png":
                monkeypatch.undo()

    monkeypatch.setattr(_Child, "ask", killed)
    arguments = ("predict", tmp_path / "images", "--out", tmp_path / "out", "--pipeline", pipeline)
    code, _text = hilum(*arguments, "--untrusted", "--workers", "1")
    assert code == 1
    images = json.loads((tmp_path / "out" / "findings.json").read_text())["images"]
    assert [one["status"] for one in images] == ["analysed", "refused", "analysed"]
    assert "it crashes its decoder" in images[1]["reason"]
    assert asked == ["a.png", "a.png", "b.png"]  # nothing was opened without the guard before


@pytest.mark.slow
def test_a_hundred_good_files_and_four_bad_ones(tmp_path: Path, pipeline: Path) -> None:
    folder = tmp_path / "images"
    for number in range(100):
        write_png(folder / f"{number:03d}.png", number, 96, 80)
    (folder / "truncated.dcm").write_bytes(
        Path(str(get_testdata_file("RG1_UNCR.dcm"))).read_bytes()[:300_000]
    )
    (folder / "text.dcm").write_text("this is text\n" * 20)
    shutil.copy(str(get_testdata_file("CT_small.dcm")), folder / "slice.dcm")
    (folder / "empty.dcm").write_bytes(b"")
    out = tmp_path / "out"
    arguments = ("predict", folder, "--out", out, "--pipeline", pipeline, "--workers", "2")
    code, text = hilum(*arguments, "--write", "picture,mask,overlay")
    images = json.loads((out / "findings.json").read_text())["images"]
    assert code == 1
    assert len(images) == 104
    assert sum(image["status"] == "analysed" for image in images) == 100
    reasons = {Path(i["path"]).name: i["reason"] for i in images if i["status"] == "refused"}
    assert reasons.keys() == {"truncated.dcm", "text.dcm", "slice.dcm", "empty.dcm"}
    assert len(set(reasons.values())) == 4
    assert [image["path"] for image in images] == sorted(image["path"] for image in images)
    assert len(list((out / "overlay").glob("*.png"))) == 100
    assert "104 images: 100 analysed, 4 refused." in text
    assert all(f"{folder / name}: " in text for name in reasons)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_run_goes_on_where_it_was(tmp_path: Path, pipeline: Path, workers: int) -> None:
    folder, out = tmp_path / "images", tmp_path / "out"
    for number in range(30):
        write_png(folder / f"{number:03d}.png", number, 320, 240)
    arguments = ["predict", str(folder), "--out", str(out), "--pipeline", str(pipeline)]
    command = [sys.executable, "-m", "hilum", *arguments, "--workers", str(workers)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
    wait_for_lines(out / NAME, 8)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (out / "findings.json").exists()
    before = (out / NAME).read_bytes()
    before = before[: before.rindex(b"\n") + 1]
    (out / NAME).write_bytes(before + TORN)  # as every kill in the middle of a line leaves it
    code, _ = hilum(*arguments)
    assert code == 0
    assert (out / NAME).read_bytes().startswith(before)  # what was done is not done again
    lines = (out / NAME).read_bytes().splitlines()
    records = [json.loads(line) for line in lines if line != TORN]
    assert len(records) == len(lines) - 1
    assert len({record["path"] for record in records}) == 30
    hilum("predict", folder, "--out", tmp_path / "fresh", "--pipeline", pipeline)
    assert findings(out) == findings(tmp_path / "fresh")


def wait_for_lines(path: Path, lines: int) -> None:
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        if path.is_file() and path.read_bytes().count(b"\n") >= lines:
            return
        time.sleep(0.01)
    raise AssertionError(f"no {lines} lines in {path}")


def test_a_second_run_answers_from_the_journal(tmp_path: Path, pipeline: Path) -> None:
    image, out = write_png(tmp_path / "a.png"), tmp_path / "out"
    arguments = ("predict", image, "--out", out, "--pipeline", pipeline)
    assert hilum(*arguments)[0] == 0
    first = (out / "findings.json").read_bytes()
    assert hilum(*arguments)[0] == 0
    assert (out / "findings.json").read_bytes() == first  # even the seconds
    write_png(image, seed=9)
    hilum(*arguments)
    assert (out / "findings.json").read_bytes() != first
    assert len((out / NAME).read_text().splitlines()) == 2


def test_the_threshold_and_masks_can_be_changed(tmp_path: Path, pipeline: Path) -> None:
    image, out = write_png(tmp_path / "a.png"), tmp_path / "out"
    common = ("predict", image, "--out", out, "--pipeline", pipeline, "--json")
    assert len(json.loads(hilum(*common)[1])["images"][0]["findings"]) == 1
    image = json.loads(hilum(*common, "--threshold", "0.99", "--no-masks")[1])["images"][0]
    assert (image["findings"], image["masks"]) == ([], {})


def test_python_gives_the_same_as_the_command(tmp_path: Path, pipeline: Path) -> None:
    import hilum as package

    image, out = write_png(tmp_path / "a.png"), tmp_path / "out"
    hilum("predict", image, "--out", out, "--pipeline", pipeline)
    run = package.predict(image, pipeline=pipeline)
    (there,) = json.loads((out / "findings.json").read_text())["images"]
    here = run[0].to_json()
    for key in ("findings", "scores", "status", "width", "height"):
        assert here[key] == there[key]


def test_a_wrong_pipeline_is_a_usage_error(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hilum", "predict", "x", "--out", str(tmp_path / "o")]
    done = subprocess.run(
        [*command, "--pipeline", "defualt"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "Did you mean 'default'" in done.stderr
    assert "Traceback" not in done.stderr


def test_demo_shows_the_same_image_twice_with_the_same_findings(
    tmp_path: Path, pipeline: Path
) -> None:
    out = tmp_path / "demo"
    code, text = hilum("demo", "--out", out, "--pipeline", pipeline)
    assert code == 0
    assert "not for diagnosis" in text
    first, second, *phantoms = findings(out)["images"]  # type: ignore[misc]
    for key in ("findings", "scores", "width", "height", "status"):
        assert first[key] == second[key]
    assert len(phantoms) == 2
    assert (out / "index.html").is_file()


def test_predicting_and_drawing_never_load_what_the_base_install_lacks(
    tmp_path: Path, pipeline: Path
) -> None:
    image = write_png(tmp_path / "a.png")
    code = (
        "import sys, hilum; light = set(sys.modules)\n"
        "from hilum.cli.main import app\n"
        f"app(['predict', {str(image)!r}, '--out', {str(tmp_path / 'o')!r}, "
        f"'--pipeline', {str(pipeline)!r}], standalone_mode=False)\n"
        "heavy = {'torch', 'pandas', 'matplotlib', 'numba', 'scipy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "assert not {'numpy', 'cv2', 'onnxruntime', 'pydicom'} & light\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=SECONDS)
