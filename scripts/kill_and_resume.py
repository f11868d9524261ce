"""A training that is killed and goes on ends as one that is not: byte for byte, on real images.

    python scripts/kill_and_resume.py --data $HILUM_DATA --out /tmp/kill [--recipe NAME] [--kills 3]

Trains a recipe twice. One run is left alone; the other is killed (SIGKILL, nothing can be tidied
up) at random moments and started again each time. Then it prints the SHA-256 of the weights of the
last step and of the weights that remain, of both; exit status 1 if they differ.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import subprocess
import sys
import time
from pathlib import Path

CHANGES = ("train.epochs=2", "train.threads=1", "train.save_every=10")


def command(options: argparse.Namespace, out: Path) -> list[str]:
    changes = [word for change in (*CHANGES, *options.set) for word in ("--set", change)]
    words = [options.recipe, "--data", str(options.data), "--out", str(out), *changes]
    return [sys.executable, "-m", "hilum", "train", *words]


def train(options: argparse.Namespace, out: Path, kill_after_s: float | None = None) -> float:
    """Seconds that it ran; killed after so many of them, if it still does."""
    began = time.monotonic()
    with (out.parent / f"{out.name}.log").open("ab") as log:
        process = subprocess.Popen(command(options, out), stderr=log, stdout=log)
        try:
            process.wait(kill_after_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return time.monotonic() - began
    if process.returncode:
        raise SystemExit(f"{out}: exit status {process.returncode}; see {out}.log")
    return time.monotonic() - began


def hashes(run: Path) -> dict[str, str]:
    """Of every stage's last and remaining weights, and of the epochs' numbers."""
    names = ("last.safetensors", "weights.safetensors", "metrics.parquet")
    files = sorted(file for name in names for file in run.rglob(name))
    return {
        str(file.relative_to(run)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="a new folder")
    parser.add_argument("--recipe", default="rsna-retinanet-seresnext101-small")
    parser.add_argument("--set", action="append", default=[], help="further settings")
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--seed", type=int, default=None, help="of the moments; None: any")
    options = parser.parse_args()
    options.out.mkdir(parents=True)
    whole, parts = options.out / "whole", options.out / "parts"
    seconds = train(options, whole)
    print(f"whole: {seconds:.0f} s")
    moments = random.Random(options.seed)
    done = 0.0
    for kill in range(options.kills):
        wait = moments.uniform(0.2, 0.9) * seconds / options.kills + (8 if kill else 4)
        done += train(options, parts, wait)
        states = [file.parent.name for file in parts.rglob("last.ckpt")]
        print(f"kill -9 number {kill + 1} after {wait:.1f} s; state saved: {states or 'none'}")
    print(f"gone on to the end: {train(options, parts):.0f} s more")
    one, two = hashes(whole), hashes(parts)
    for name in sorted({*one, *two}):
        same = "equal" if one.get(name) == two.get(name) else "DIFFERENT"
        print(f"{name}: {same}\n  whole  {one.get(name)}\n  killed {two.get(name)}")
    return 0 if one == two else 1


if __name__ == "__main__":
    raise SystemExit(main())
