"""One CR in every kind of transfer syntax: milliseconds from the file to the network's tensor.

    python benchmarks/reading.py [--repeats 15] [--json]

RG1 of pydicom-data (1,955 x 1,841 px), coded anew at 12 bits, 8 for JPEG baseline; without
pydicom-data a phantom of that size. Medians of one thread's processor time; the codings take turns.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np

from hilum.core.bundle import default_bundle
from hilum.core.prepare import Preprocessing, prepare
from hilum.data.phantom.encode import dicom_bytes
from hilum.dicom.discover import discover
from hilum.dicom.read import read

CODED = {  # as users say it -> syntax of hilum.data.phantom.encode, bits
    "12-bit raw": ("explicit-little", 12),
    "JPEG baseline (8 bit)": ("jpeg-baseline", 8),
    "JPEG lossless": ("jpeg-lossless-sv1", 12),
    "JPEG-LS": ("jpeg-ls", 12),
    "JPEG 2000": ("jpeg-2000", 12),
    "HTJ2K": ("htj2k", 12),
}
STEPS = ("read", "decode", "prepare")
Row = dict[str, float]


def radiograph() -> tuple[np.ndarray, str]:
    """Pixels in [0, 1], and what they are."""
    if find_spec("data_store") is not None:
        import data_store

        path = Path(str(data_store.__file__)).parent / "data" / "RG1_UNCR.dcm"
        return read(path).pixels, "RG1 of pydicom-data"
    from hilum.data.phantom.phantom import phantom

    return phantom(0, 1841, 1955).pixels, "a phantom (install pydicom-data for a real CR)"


def steps(path: Path, preprocessing: Preprocessing) -> Row:
    """Milliseconds of each step for one file."""
    (item,) = discover([path])
    marks = [time.thread_time()]
    content = item.load()
    marks.append(time.thread_time())
    image = read((item.name, content))
    marks.append(time.thread_time())
    prepare(image, preprocessing)
    marks.append(time.thread_time())
    return {name: 1000 * float(taken) for name, taken in zip(STEPS, np.diff(marks), strict=True)}


def measure(repeats: int) -> tuple[str, dict[str, Row]]:
    """What the image is; medians of every coding, with its size in kB."""
    pixels, kind = radiograph()
    preprocessing = default_bundle().manifest.preprocessing.value()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as temporary:
        paths = {name: Path(temporary) / f"{syntax}.dcm" for name, (syntax, _) in CODED.items()}
        for name, (syntax, bits) in CODED.items():
            paths[name].write_bytes(dicom_bytes(pixels, syntax=syntax, bits=bits))
            steps(paths[name], preprocessing)  # imports, compiled code
        turns = [
            {n: steps(path, preprocessing) for n, path in paths.items()} for _ in range(repeats)
        ]
        rows = {
            name: {step: statistics.median(turn[name][step] for turn in turns) for step in STEPS}
            for name in paths
        }
        for name, row in rows.items():
            row["together"] = statistics.median(sum(turn[name].values()) for turn in turns)
            row["kilobytes"] = paths[name].stat().st_size / 1000
    return kind, rows


def lines(kind: str, rows: dict[str, Row]) -> list[str]:
    """A table for people."""
    out = [f"{kind}, file to tensor, median ms of processor time (one thread):"]
    out.append(f"  {'':22}" + "".join(f"{name:>10}" for name in (*STEPS, "together", "kB")))
    for name, row in rows.items():
        values = [*(row[step] for step in STEPS), row["together"]]
        out.append(
            f"  {name:22}" + "".join(f"{v:10.2f}" for v in values) + f"{row['kilobytes']:10.0f}"
        )
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--json", action="store_true", dest="as_json")
    options = parser.parse_args()
    kind, rows = measure(options.repeats)
    if options.as_json:
        print(json.dumps({"image": kind, "codings": rows}, indent=1))
    else:
        print("\n".join(lines(kind, rows)))


if __name__ == "__main__":
    main()
