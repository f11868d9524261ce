"""Kill the service with SIGKILL N times while it receives, analyses and delivers.

PYTHONPATH=tests scripts/gates/kill.py N [--database postgresql+pg8000://...] [--mean SECONDS]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from helpers.killing import killed, to_json


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kills", type=int)
    parser.add_argument("--database", default="")
    parser.add_argument("--mean", type=float, default=0.7, help="seconds a service lives")
    parser.add_argument("--seconds", type=float, default=7200.0, help="end earlier, and look")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        options = {key: value for key, value in vars(given).items() if key not in ("kills", "mean")}
        options["mean_s"] = given.mean
        report = killed(Path(folder), given.kills, **options)
    print(to_json(report))
    return 1 if report.problems else 0


if __name__ == "__main__":
    sys.exit(main())
