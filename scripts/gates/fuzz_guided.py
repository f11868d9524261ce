"""Coverage-guided mutation of one door, with atheris (not in the extra `dev`: pip install atheris).

    PYTHONPATH=tests python scripts/gates/fuzz_guided.py DICOM -max_total_time=600

Options are libFuzzer's. Any exception that is no refusal ends it and is printed with its input.
Inputs that reach new code are kept under .fuzz/ and are where the next run begins.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["hilum", "pydicom.filereader", "zipfile"]):
    from helpers.fuzzing import DOORS

LIMITS = ("-rss_limit_mb=2048", "-timeout=10")


def main() -> None:
    door, *options = sys.argv[1:]
    logging.disable(logging.CRITICAL)
    folder = Path(".fuzz", door.replace(", ", "-"))
    folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(DOORS[door].seeds()):
        (folder / f"seed{number}").write_bytes(seed)
    atheris.Setup([sys.argv[0], *LIMITS, *options, str(folder)], DOORS[door].outcome)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
