"""Run by fuzz.sh: parent that counts, children that open mutated files. See tests/helpers/fuzzing/.

Each input follows from (door, seed, number) alone, so that a defect can be tried again:
scripts/gates/fuzz.sh --door DOOR --seed SEED --first NUMBER --count 1
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import logging
import os
import random
import resource
import subprocess
import sys
import time
import warnings
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from helpers.fuzzing import DOORS

# DICOM has most ways to go wrong; the zip and DICOMDIR doors touch the disk.
COUNTS = {
    "DICOM": 45_000,
    "PNG": 12_000,
    "JPEG, WebP": 13_000,
    "zip": 12_000,
    "DICOMDIR": 8_000,
    "de-identification": 10_000,
    "bundle, zip": 5_000,
    "bundle, folder": 5_000,
    "pipeline": 8_000,
    "recipe": 3_000,
    "catalog": 8_000,
    "split": 7_000,
    "challenge table": 9_000,
    "annotations": 4_000,
    "findings.json": 10_000,
    "journal": 5_000,
    "service configuration": 6_000,
}
BATCH = 1000  # inputs of one child
HANG_S = 10
MEMORY_BYTES = 2 * 2**30  # of address space beside what libraries take
LEAK_KB = 50 * 1024  # growth of one child after its first inputs
WARM = 100  # inputs after which caches are filled


@dataclass(slots=True)
class Tally:
    """What came of one door."""

    outcomes: Counter[str] = field(default_factory=Counter)
    defects: list[str] = field(default_factory=list)
    growth_kb: int = 0
    slowest_s: float = 0.0
    seconds: float = 0.0

    @property
    def tried(self) -> int:
        return sum(self.outcomes.values()) + len(self.defects)


def attempt(door: str, seed: int, number: int) -> str:
    """The outcome of one input; defects are raised."""
    rng = random.Random(f"{door} {seed} {number}")
    return DOORS[door].outcome(DOORS[door].mutant(rng))


def child(door: str, seed: int, first: int, count: int) -> None:
    """One line of JSON for each input: before it its number, after it its outcome."""
    logging.disable(logging.CRITICAL)
    DOORS[door].seeds()  # imports what the door needs
    limit = _kb("VmSize") * 1024 + MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    warnings.simplefilter("error")
    warm = 0
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what libraries print is no answer

    def say(**line: object) -> None:
        answers.write(json.dumps(line) + "\n")
        answers.flush()

    for number in range(first, first + count):
        say(number=number)
        faulthandler.dump_traceback_later(HANG_S, exit=True)
        began = time.perf_counter()
        try:
            line: dict[str, object] = {"outcome": attempt(door, seed, number)}
        except Exception as error:  # noqa: BLE001  this is what is looked for
            line = {"defect": f"{type(error).__name__}: {error}"[:200]}
        faulthandler.cancel_dump_traceback_later()
        line["seconds"] = time.perf_counter() - began
        if number - first == WARM:
            warm = _kb("VmRSS")
        say(**line)
    say(growth_kb=_kb("VmRSS") - warm if warm else 0)


def _kb(what: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(what):
            return int(line.split()[1])
    return 0


def run_door(door: str, seed: int, first: int, count: int) -> Tally:
    """All inputs of a door, child after child; a child that dies costs the input it was at."""
    tally, number, began = Tally(), first, time.perf_counter()
    while number < first + count:
        batch = min(BATCH, first + count - number)
        options = ["--child", "--door", door, "--seed", str(seed)]
        done = subprocess.run(
            [sys.executable, __file__, *options, "--first", str(number), "--count", str(batch)],
            capture_output=True,
            text=True,
            check=False,
        )
        at = number - 1
        for text in done.stdout.splitlines():
            if not text.endswith("}"):  # it died while it wrote
                continue
            at = _count(tally, json.loads(text), door, at)
        number = at + 1 if done.returncode else number + batch
        if done.returncode:
            last = done.stderr.strip().splitlines()[-1:]
            kind = "hang" if "Timeout" in done.stderr else f"crash ({done.returncode})"
            tally.defects.append(f"{door} {at}: {kind} {last}")
        print(f"{door}: {number - first} of {count}", file=sys.stderr)
    tally.seconds = time.perf_counter() - began
    return tally


def _count(tally: Tally, line: dict[str, object], door: str, at: int) -> int:
    if "number" in line:
        return int(str(line["number"]))
    if "outcome" in line:
        tally.outcomes[str(line["outcome"])] += 1
    if "defect" in line:
        tally.defects.append(f"{door} {at}: {line['defect']}")
    if "growth_kb" in line:
        tally.growth_kb = max(tally.growth_kb, int(str(line["growth_kb"])))
    tally.slowest_s = max(tally.slowest_s, float(str(line.get("seconds", 0))))
    return at


def table(tallies: dict[str, Tally]) -> str:
    """Markdown, as in docs/reliability.md."""
    codes = sorted({code for tally in tallies.values() for code in tally.outcomes} - {"read"})
    head = ["door", "files", "read", *codes, "defects", "growth, MB", "slowest, s", "files/s"]
    rows = [head, ["---"] * len(head)]
    for door, tally in tallies.items():
        counts = [str(tally.outcomes[code]) for code in ("read", *codes)]
        speed = tally.tried / max(tally.seconds, 1e-9)
        costs = [f"{tally.growth_kb / 1024:.0f}", f"{tally.slowest_s:.2f}", f"{speed:.0f}"]
        rows.append([door, str(tally.tried), *counts, str(len(tally.defects)), *costs])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, help="of all doors together; else COUNTS")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--door", choices=[*DOORS], action="append", help="repeatable")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        child(given.door[0], given.seed, given.first, given.count)
        return 0
    counts = {door: COUNTS[door] for door in given.door or COUNTS}
    part = 1.0 if given.count is None else given.count / sum(counts.values())
    tallies = {
        door: run_door(door, given.seed, given.first, max(1, round(count * part)))
        for door, count in counts.items()
    }
    print(table(tallies))
    defects = [defect for tally in tallies.values() for defect in tally.defects]
    defects += [f"{d}: grew" for d, tally in tallies.items() if tally.growth_kb > LEAK_KB]
    for defect in defects:
        print(defect)
    return 1 if defects else 0


if __name__ == "__main__":
    sys.exit(main())
