"""An archive in shards: every input once, the answers of `hilum predict`, killed runs go on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from helpers.pictures import write_png
from helpers.toy import write_toy_pipeline
from hilum.core.errors import ConfigError, HilumError
from hilum.dicom.discover import Item
from hilum.inference.job import Job
from hilum.inference.pipeline import Pipeline
from hilum.report.results import ResultFolder
from hilum.scale.batch import Finish, batch, here
from hilum.scale.cluster import session
from hilum.scale.manifest import NAME, Manifest
from hilum.scale.shards import Finished, Shard, Worker, plan, shard_of

SHARDS = 4


class Killed(Exception):
    """Stands for the end of the process between two shards."""


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)  # names, and so their shards, are the same in every run
    folder = Path("archive")
    for number in range(12):
        write_png(folder / f"{number:02d}.png", number)
    (folder / "text.dcm").write_text("this is no radiograph " * 20)
    return folder


@pytest.fixture
def pipeline(tmp_path: Path) -> Path:
    return write_toy_pipeline(tmp_path)


@pytest.fixture
def job(tmp_path: Path, pipeline: Path) -> Job:
    return Job(Pipeline.load(pipeline), sink=ResultFolder(tmp_path / "out", {}))


def rows(out: Path) -> list[dict[str, str]]:
    files = sorted((out / "shards").glob("*.parquet"))
    return [row for file in files for row in pq.read_table(file).to_pylist()]


def entries(out: Path) -> dict[str, str]:
    """The JSON of each image by path, with its seconds set to 0."""
    texts = [json.loads(row["entry"]) | {"seconds": 0} for row in rows(out)]
    return {entry["path"]: json.dumps(entry) for entry in texts}


def times(out: Path) -> dict[str, int]:
    return {file.name: file.stat().st_mtime_ns for file in (out / "shards").glob("*.parquet")}


def killed_after(number: int) -> Finish:
    def finish(shards: Sequence[Shard], job: Job, out: Path) -> Iterator[Finished]:
        yield from here(shards[:number], job, out)
        raise Killed

    return finish


def test_a_name_has_one_shard_whatever_else_is_there() -> None:
    items = [Item(f"image {number}", "x") for number in range(200)]
    forward, some = plan(items, 7), plan(reversed(items[:50]), 7)
    assert forward == plan(reversed(items), 7)
    assert all(set(part.items) <= set(all_.items) for part, all_ in zip(some, forward, strict=True))
    counts = Counter(item.name for shard in forward for item in shard.items)
    assert counts == dict.fromkeys((item.name for item in items), 1)
    assert shard_of("a.dcm", 1000) == 291  # of SHA-256: the same on every machine


def test_every_input_is_one_row_and_refusals_keep_their_reason(
    tmp_path: Path, archive: Path, job: Job
) -> None:
    done = batch(str(archive), tmp_path / "out", job, shards=SHARDS)
    assert done.counts == {"analysed": 12, "refused": 1}
    found = rows(tmp_path / "out")
    assert Counter(row["path"] for row in found) == Counter(map(str, archive.iterdir()))
    (refused,) = [row for row in found if row["status"] == "refused"]
    assert refused["path"].endswith("text.dcm")
    assert refused["reason"].startswith("unreadable: ")


def test_a_killed_run_goes_on_and_leaves_finished_shards_alone(
    tmp_path: Path, archive: Path, job: Job
) -> None:
    out = tmp_path / "out"
    with pytest.raises(Killed):
        batch(str(archive), out, job, shards=SHARDS, finish=killed_after(2))
    before = times(out)
    half = out / "shards" / ".shard-00003-x.parquet"
    half.write_bytes(b"PAR1 half")
    with (out / NAME).open("ab") as stream:
        stream.write(b'{"shard": 3, "inp')  # killed while it wrote
    for image in archive.iterdir():  # to read a finished shard's inputs again would be seen
        if shard_of(str(image), SHARDS) < 2:
            image.write_bytes(b"changed")
    done = batch(str(archive), out, job, shards=SHARDS)
    assert len(before) == done.shards_kept == 2
    assert before.items() <= times(out).items()
    assert not half.exists()
    assert Counter(row["path"] for row in rows(out)) == Counter(map(str, archive.iterdir()))
    assert done.counts == {"analysed": 12, "refused": 1}
    again = batch(str(archive), out, job, shards=SHARDS)
    assert (again.shards_kept, again.images_now, again.counts) == (SHARDS, 0, done.counts)


def test_a_run_killed_before_its_line_gives_the_same_rows(
    tmp_path: Path, archive: Path, job: Job
) -> None:
    out = tmp_path / "out"
    batch(str(archive), out, job, shards=SHARDS)
    whole, lines = entries(out), (out / NAME).read_bytes().splitlines(keepends=True)
    (out / NAME).write_bytes(b"".join(lines[:-1]))
    assert batch(str(archive), out, job, shards=SHARDS).shards_kept == SHARDS - 1
    assert entries(out) == whole


@pytest.mark.parametrize(
    "line",
    [
        b"{",
        b"[]",
        b"\xff",
        b"[" * 9999,
        b'{"shard": 1, "inputs": "d", "size": 1}',
        b'{"shard": [], "inputs": "d", "size": 1, "counts": {}}',
        b'{"shard": "1", "inputs": "d", "size": 1, "counts": {}}',
        b'{"shard": 1, "inputs": "d", "size": 1, "counts": {"analysed": null}}',
        b'{"shard": 1, "inputs": "d", "size": NaN, "counts": {}}',
    ],
    ids=lambda line: repr(line[:60]),
)
def test_a_damaged_line_is_a_shard_that_is_made_again(tmp_path: Path, line: bytes) -> None:
    with Manifest(tmp_path, {}) as manifest:
        manifest.add(Finished(0, "d", 1, {"analysed": 1}))
    with (tmp_path / NAME).open("ab") as stream:
        stream.write(line + b"\n")
    with Manifest(tmp_path, {}) as manifest:
        assert list(manifest.finished) == [0]


@pytest.mark.parametrize("harm", ["lost", "cut"])
def test_a_shard_whose_file_is_not_whole_is_made_again(
    tmp_path: Path, archive: Path, job: Job, harm: str
) -> None:
    out = tmp_path / "out"
    batch(str(archive), out, job, shards=SHARDS)
    whole, file = entries(out), next((out / "shards").glob("*.parquet"))
    if harm == "lost":
        file.unlink()
    else:
        os.truncate(file, 10)
    assert batch(str(archive), out, job, shards=SHARDS).shards_kept == SHARDS - 1
    assert entries(out) == whole


def test_an_archive_that_changed_redoes_only_the_shards_of_the_change(
    tmp_path: Path, archive: Path, job: Job
) -> None:
    out = tmp_path / "out"
    batch(str(archive), out, job, shards=SHARDS)
    (archive / "text.dcm").unlink()
    write_png(archive / "new.png", 99)
    done = batch(str(archive), out, job, shards=SHARDS)
    touched = {shard_of(str(archive / name), SHARDS) for name in ("text.dcm", "new.png")}
    assert done.shards_kept == SHARDS - len(touched)
    assert entries(out).keys() == set(map(str, archive.iterdir()))


def test_shards_of_other_settings_are_neither_mixed_nor_lost(
    tmp_path: Path, archive: Path, job: Job
) -> None:
    out = tmp_path / "out"
    batch(str(archive), out, job, shards=SHARDS)
    before = times(out)
    with pytest.raises(ConfigError, match=r"\(shards\).*--fresh"):
        batch(str(archive), out, job, shards=2)
    assert times(out) == before
    assert batch(str(archive), out, job, shards=2, fresh=True).shards == len(times(out)) == 2


def test_what_cannot_be_written_is_no_shard(tmp_path: Path, archive: Path, job: Job) -> None:
    worker = Worker(job, tmp_path / "file")
    (tmp_path / "file").write_text("a file, where a folder is needed")
    with pytest.raises(OSError, match="file"):
        worker(plan([Item(str(archive / "01.png"), str(archive / "01.png"))], 1)[0])


def hilum(*arguments: str) -> subprocess.CompletedProcess[str]:
    """A command as a user runs it: Ray's own warnings are not ours to make errors."""
    command = [sys.executable, "-m", "hilum", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


@pytest.mark.slow
def test_ray_gives_what_predict_gives_and_goes_on(
    tmp_path: Path, archive: Path, pipeline: Path
) -> None:
    from hilum.data.phantom.phantom import phantom, write_dicom

    write_dicom(phantom(seed=3, width=320, height=280), archive / "phantom.dcm")
    options = ("--pipeline", str(pipeline), "--workers", "2")
    hilum("predict", str(archive), "--out", "predicted", "--write", "", *options)
    images = json.loads(Path("predicted", "findings.json").read_text())["images"]
    expected = {i["path"]: json.dumps(i | {"seconds": 0}) for i in images}
    assert len(expected) == 14
    out = tmp_path / "out"
    command = ("batch", str(archive), "--out", str(out), "--shards", "4", "--json", *options)
    done = hilum(*command)
    assert done.returncode == 1, done.stderr  # one is refused
    assert entries(out) == expected
    before = times(out)
    (out / "shards" / "shard-00001.parquet").unlink()
    assert json.loads(hilum(*command).stdout)["shards_kept"] == 3
    assert entries(out) == expected
    assert {k for k, v in times(out).items() if before[k] != v} == {"shard-00001.parquet"}


def test_a_machine_too_busy_for_ray_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pytest.importorskip("ray", reason='pip install "hilum[scale]"')

    def late(**_: object) -> None:
        raise Exception("The current node timed out during startup.")

    monkeypatch.setattr(ray, "init", late)
    with (
        pytest.raises(HilumError, match=r"Ray did not start.*timed out.*run the same"),
        session(1, None),
    ):
        pass
