"""A training that is killed and goes on ends as one that is not: byte for byte, on real images.

    python scripts/kill_and_resume.py --data $HILUM_DATA --out /tmp/kill [--recipe NAME] [--kills 3]

Trains a recipe twice. One run is left alone; the other is killed (SIGKILL, nothing can be tidied
up) at random moments of its training and started again each time. Then it prints the SHA-256 of
the weights of the last step, of the weights that remain and of the epochs' numbers, of both; exit
status 1 if any differ.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import subprocess
import sys
import time
from pathlib import Path

# Small enough for minutes on one core; a state every second, so that a kill falls inside epochs.
CHANGES = (
    *("data.sample=160", "model.channels=32", "train.batch=8", "train.epochs=3"),
    *("train.threads=1", "train.save_s=1"),
)


def command(options: argparse.Namespace, out: Path) -> list[str]:
    changes = [word for change in (*CHANGES, *options.set) for word in ("--set", change)]
    words = [options.recipe, "--data", str(options.data), "--out", str(out), *changes]
    return [sys.executable, "-m", "hilum", "train", *words]


def train(options: argparse.Namespace, out: Path, kill_after_s: float | None = None) -> float:
    """Seconds that it trained; killed so many seconds after its first step, if it still runs."""
    before = events(out)
    with (out.parent / f"{out.name}.log").open("ab") as log:
        process = subprocess.Popen(command(options, out), stderr=log, stdout=log)
        while process.poll() is None and events(out) == before:
            time.sleep(0.05)  # reading, preparing, evaluating the untrained network
        began = time.monotonic()
        try:
            process.wait(kill_after_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return time.monotonic() - began
    if process.returncode:
        raise SystemExit(f"{out}: exit status {process.returncode}; see {out}.log")
    return time.monotonic() - began


def events(out: Path) -> set[Path]:
    """TensorBoard's files: one more as soon as a process takes its first step."""
    return set(out.rglob("events.out.tfevents*"))


def hashes(run: Path) -> dict[str, str]:
    """Of every stage's last and remaining weights, and of the epochs' numbers."""
    names = ("last.safetensors", "weights.safetensors", "metrics.parquet")
    files = sorted(file for name in names for file in run.rglob(name))
    return {
        str(file.relative_to(run)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files
    }


def state(run: Path) -> str:
    """The step that the next start goes on from."""
    import torch

    files = list(run.rglob("last.ckpt"))
    steps = [torch.load(f, weights_only=False, map_location="cpu")["step"] for f in files]
    return f"step {steps[-1]} is saved" if steps else "nothing is saved"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="a new folder")
    parser.add_argument("--recipe", default="rsna-retinanet-seresnext101-small")
    parser.add_argument("--set", action="append", default=[], help="further settings")
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--seed", type=int, default=None, help="of the moments; left out: any")
    options = parser.parse_args()
    options.out.mkdir(parents=True)
    whole, parts = options.out / "whole", options.out / "parts"
    seconds = train(options, whole)
    print(f"whole: {seconds:.0f} s", flush=True)
    moments = random.Random(options.seed)
    for kill in range(options.kills):
        after = moments.uniform(0.1, 1.2) * seconds / options.kills
        train(options, parts, after)
        print(f"kill -9 number {kill + 1} after {after:.1f} s: {state(parts)}", flush=True)
    print(f"gone on to the end: {train(options, parts):.0f} s more")
    one, two = hashes(whole), hashes(parts)
    for name in sorted({*one, *two}):
        same = "equal" if one.get(name) == two.get(name) else "DIFFERENT"
        print(f"{name}: {same}\n  whole  {one.get(name)}\n  killed {two.get(name)}")
    return 0 if one == two else 1


if __name__ == "__main__":
    raise SystemExit(main())
