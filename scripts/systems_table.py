"""The scores and CPU minutes of `run_systems.sh`, as a table in Markdown."""

from __future__ import annotations

import json
import sys
from pathlib import Path

CHALLENGES = {"a": "RSNA", "b": "RSNA", "c": "RSNA", "d": "SIIM-COVID", "e": "SIIM-ACR"}


def row(system: str, folder: Path) -> str:
    """One system; a chain that did not end says so."""
    cpu = folder / "cpu_seconds"
    minutes = sum(map(float, cpu.read_text().split())) / 60 if cpu.is_file() else 0.0
    scored = folder / "score.json"
    if not scored.is_file():
        return f"| {system.upper()} | {CHALLENGES[system]} | did not end | | {minutes:.1f} |"
    document = json.loads(scored.read_text())
    rows = len((folder / "submission.csv").read_text().splitlines()) - 1
    score = f"{document['challenge']} | {document['score']:.3f}"
    return f"| {system.upper()} | {score} | {rows} | {minutes:.1f} |"


def main(out: Path) -> None:
    print("| system | challenge's score | value | rows of the submission | CPU minutes |")
    print("|---|---|---|---|---|")
    for system in CHALLENGES:
        print(row(system, out / system))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
