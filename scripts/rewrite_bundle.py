"""Bundles of an older hilum get the faster eight-bit graph of this one (docs/speed.md), in place.

    python scripts/rewrite_bundle.py BUNDLE [BUNDLE ...]

Refused where the two graphs differ on noise by more than rounding in fp32. Everything else of the
bundle stays; its hashes are written anew.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

import numpy as np

from hilum.core.bundle import Bundle, load_bundle, write_bundle
from hilum.core.errors import ModelOutputError
from hilum.inference.session import HEADS
from hilum.train.export.onnx import answers
from hilum.train.export.rewrites import quicker

IMAGES, ROUNDING = 4, 1e-5


def difference(before: bytes, after: bytes, size: int) -> float:
    """Largest absolute difference of any raw output on noise."""
    images = np.random.default_rng(0).uniform(-1, 1, (IMAGES, 1, 1, size, size)).astype(np.float32)
    worst = 0.0
    for image in images:
        for one, other in zip(answers(before, image), answers(after, image), strict=True):
            for head in HEADS:
                a, b = getattr(one, head), getattr(other, head)
                worst = max(worst, 0.0 if a is None else float(np.abs(a - b).max()))
    return worst


def rewritten(bundle: Bundle) -> dict[str, bytes]:
    """Every file of the bundle, the eight-bit graph rewritten.

    Raises:
        BundleError: it has none.
        ModelOutputError: it answers otherwise.
    """
    before = bundle.model("int8")
    after = quicker(before)
    worst = difference(before, after, bundle.manifest.preprocessing.size)
    if not worst <= ROUNDING:
        raise ModelOutputError(f"{bundle.path}: the rewritten graph differs by {worst:.1e}")
    print(f"{bundle.path}: largest difference {worst:.1e}")
    files = {name: bundle.read(name) for name in bundle.manifest.files}
    return files | {bundle.manifest.precisions["int8"]: after}


def replace(bundle: Bundle, files: dict[str, bytes]) -> None:
    """Write beside it, then take its place."""
    path = bundle.path
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.stem}-") as place:
        write_bundle(Path(place) / path.name, bundle.manifest, files)
        if path.is_dir():
            path.rename(Path(place) / "before")
        shutil.move(Path(place) / path.name, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("bundles", nargs="+", type=Path)
    for path in parser.parse_args().bundles:
        bundle = load_bundle(path)
        replace(bundle, rewritten(bundle))


if __name__ == "__main__":
    main()
