"""Kill `hilum batch` with SIGKILL N times: its actors, its only node (raylet), the command itself.

    PYTHONPATH=tests scripts/gates/batch_kills.py [--files 10000] [--kills 50]

An archive of small phantoms, each with a SOP UID of its own, is answered by `hilum predict` in one
process, then by `hilum batch` that is killed and started again. Kills fall at random numbers of
finished shards and up to `--delay` seconds later, so that some meet a start. Whenever the command
is started again, the inputs of finished shards have been spoilt before: to read one again would be
seen as a refusal. Afterwards every SOP instance must be there once, and every entry equal to that
of `hilum predict` but for its seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from helpers.toy import write_toy_pipeline
from hilum.data.phantom.encode import dicom_bytes
from hilum.data.phantom.phantom import phantom
from hilum.scale.shards import shard_of

DRAWN = 25  # phantoms; each file is one of them, shifted
KINDS = ("actor", "node", "driver")
LONGEST_S = 600.0  # without a shard: it hangs


@dataclass
class Report:
    """What was done and what was found."""

    files: int = 0
    shards: int = 0
    kills: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    starts: int = 0
    store_mb: float = 0.0  # the object store's mapping at its largest
    touched_mb: float = 0.0  # of it, ever in use at a look
    seconds: float = 0.0
    single_process_s: float = 0.0
    problems: list[str] = field(default_factory=list)


def write_archive(folder: Path, count: int) -> None:
    """So many different radiographs of 256 px."""
    folder.mkdir()
    drawn = [phantom(seed=n, width=256, height=256).pixels for n in range(DRAWN)]
    for number in range(count):
        pixels = np.roll(drawn[number % DRAWN], number // DRAWN % 200, axis=1)
        content = dicom_bytes(pixels, seed=number, spacing_mm=(1.4, 1.4))
        (folder / f"{number:05d}.dcm").write_bytes(content)


# --- processes ----------------------------------------------------------------------------------


def below(pid: int) -> dict[int, str]:
    """The processes that descend from one, with their command lines."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue  # it ended meanwhile
        parents.setdefault(parent, []).append(int(entry.name))
    found, left = {}, [pid]
    while left:
        for child in parents.get(left.pop(), ()):
            found[child] = words(child)
            left.append(child)
    return found


def words(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""  # it ended meanwhile


def victims(driver: int, kind: str) -> list[int]:
    if kind == "driver":
        return [driver]
    own = below(driver).items()
    if kind == "node":
        return [pid for pid, line in own if line.split(" ")[0].endswith("raylet/raylet")]
    return [pid for pid, line in own if line.startswith("ray::") and "IDLE" not in line]


def store_mb(driver: int) -> tuple[float, float]:
    """Size and resident part of the object store's mapping, the largest one."""
    mappings = [(0, 0)]
    for pid in victims(driver, "node"):
        try:
            lines = Path(f"/proc/{pid}/smaps").read_text().splitlines()
        except OSError:
            continue  # it ended meanwhile
        for number, line in enumerate(lines):
            if "plasma" in line:
                of = dict(one.split(":", 1) for one in lines[number + 1 : number + 6])
                mappings.append((int(of["Size"].split()[0]), int(of["Rss"].split()[0])))
    size, resident = max(mappings)
    return size / 1024, resident / 1024


# --- the run ------------------------------------------------------------------------------------


class Run:
    """`hilum batch` over an archive, started as often as it must be."""

    def __init__(self, folder: Path, given: argparse.Namespace) -> None:
        self.folder, self.given, self.report = folder, given, Report()
        self.out = folder / "out"
        self.spoilt: set[int] = set()
        self.process: subprocess.Popen[bytes] | None = None
        self.times: dict[int, int] = {}

    def finished(self) -> list[int]:
        """Shards of the manifest, in its order."""
        file = self.out / "manifest.jsonl"
        lines = file.read_bytes().splitlines()[1:] if file.exists() else []
        found = []
        for line in lines:
            try:
                found.append(int(json.loads(line)["shard"]))
            except ValueError:
                continue  # cut off by a kill
        return found

    def start(self) -> None:
        self.spoil()
        given = self.given
        options = ("--shards", str(given.shards), "--workers", "2", "--pipeline", "toy.yaml")
        command = [sys.executable, "-m", "hilum", "batch", "archive", "--out", "out", *options]
        with (self.folder / "batch.log").open("ab") as log:
            self.process = subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log)
        self.report.starts += 1

    def spoil(self) -> None:
        """Leave nothing to read of the inputs of finished shards."""
        new = set(self.finished()) - self.spoilt
        for image in (self.folder / "archive").iterdir():
            if shard_of(f"archive/{image.name}", self.given.shards) in new:
                image.write_bytes(b"read again")
        for shard in new:
            self.times[shard] = self.file(shard).stat().st_mtime_ns
        self.spoilt |= new

    def file(self, shard: int) -> Path:
        return self.out / "shards" / f"shard-{shard:05d}.parquet"

    def ended(self) -> bool:
        """Whether all is done; starts it again where a kill ended it."""
        assert self.process is not None
        status = self.process.poll()
        if status is None:
            return False
        if status in (0, 1) and len(set(self.finished())) >= self.given.shards:
            return True
        self.start()
        return False

    def wait_for(self, shards: int) -> bool:
        """Until so many are finished; False where all ended before or nothing moves."""
        last, since = -1, time.monotonic()
        while not self.ended():
            done = len(set(self.finished()))
            if done != last:
                last, since = done, time.monotonic()
            if time.monotonic() - since > LONGEST_S:
                self.report.problems.append(f"no shard in {LONGEST_S:g} s")
                return False
            if done >= shards:
                return True
            self.look()
            time.sleep(0.25)
        return False

    def look(self) -> None:
        assert self.process is not None
        size, resident = store_mb(self.process.pid)
        self.report.store_mb = max(self.report.store_mb, size)
        self.report.touched_mb = max(self.report.touched_mb, resident)

    def kill(self, kind: str, rng: random.Random) -> None:
        """One of a kind, as soon as there is one; nothing if all ends before."""
        while True:
            if self.ended():
                return
            assert self.process is not None
            try:
                os.kill(rng.choice(victims(self.process.pid, kind)), signal.SIGKILL)
                break
            except (IndexError, ProcessLookupError):  # none of the kind yet, or it ended meanwhile
                time.sleep(0.1)
        if kind == "driver":
            self.process.wait()
        self.report.kills[kind] += 1
        done = len(set(self.finished()))
        print(f"kill {sum(self.report.kills.values())}: {kind}; {done} shards", flush=True)

    def go(self) -> None:
        rng, given = random.Random(self.given.seed), self.given
        began = time.monotonic()
        self.start()
        last = given.shards * 9 // 10  # so late that nothing ends before the last kill
        for shards in sorted(rng.randrange(last) for _ in range(given.kills)):
            if not self.wait_for(shards) or time.monotonic() - began > given.seconds:
                break
            time.sleep(rng.uniform(0, given.delay))
            self.kill(rng.choice(KINDS), rng)
        self.wait_for(given.shards + 1)
        self.report.seconds = round(time.monotonic() - began, 1)


def check(run: Run, expected: dict[str, str]) -> None:
    """What the folder holds, against the answers of one process."""
    report, shards = run.report, range(run.given.shards)
    rows = [row for n in shards for row in pq.read_table(run.file(n)).to_pylist()]
    found = {row["path"]: plain(json.loads(row["entry"])) for row in rows}
    uids = Counter(row["sop_instance_uid"] for row in rows)
    problems = {
        "SOP instances, not": len(uids) - len(expected),
        "rows of a SOP instance twice": sum(uids.values()) - len(uids),
        "entries missing or too many": len(found.keys() ^ expected.keys()),
        "entries differ": sum(found[key] != expected[key] for key in found.keys() & expected),
        "shards finished twice": len(run.finished()) - len(set(run.finished())),
        "finished shards written again": sum(
            run.file(shard).stat().st_mtime_ns != then for shard, then in run.times.items()
        ),
        "files left half written": len(list((run.out / "shards").glob(".*"))),
    }
    report.problems += [f"{number} {what}" for what, number in problems.items() if number]


def plain(entry: dict[str, Any]) -> str:
    return json.dumps(entry | {"seconds": 0})


def single_process(folder: Path) -> dict[str, str]:
    """The JSON of each image by path, of `hilum predict`."""
    options = ("--pipeline", "toy.yaml", "--workers", "1", "--write", "", "--out", "predicted")
    command = [sys.executable, "-m", "hilum", "predict", "archive", *options]
    with (folder / "predict.log").open("wb") as log:
        subprocess.run(command, cwd=folder, check=True, stdout=log, stderr=log)
    images = json.loads((folder / "predicted" / "findings.json").read_text())["images"]
    return {one["path"]: plain(one) for one in images}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--shards", type=int, default=200)
    parser.add_argument("--delay", type=float, default=5.0, help="longest seconds to a kill")
    parser.add_argument("--seconds", type=float, default=7200.0, help="then no more kills")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_archive(folder / "archive", given.files)
        write_toy_pipeline(folder)
        began = time.monotonic()
        expected = single_process(folder)
        run = Run(folder, given)
        run.report.single_process_s = round(time.monotonic() - began, 1)
        run.report.files, run.report.shards = len(expected), given.shards
        run.go()
        check(run, expected)
        if run.report.problems:
            print((folder / "batch.log").read_text()[-4000:], file=sys.stderr)
    print(json.dumps(asdict(run.report), indent=2))
    return 1 if run.report.problems else 0


if __name__ == "__main__":
    sys.exit(main())
