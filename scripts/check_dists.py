"""Do the built distributions hold what they must, and nothing else?

    python -m build --outdir DIST . && python -m build --outdir DIST models
    python scripts/check_dists.py DIST

A wheel holds its package as it stands in this tree (code, bundles, page, migrations, recipes), its
licence files and valid metadata; the sdist holds what the wheel is built from and the sources of
the built page. Needs `packaging`; knows nothing of hilum. Ends with 1 and every problem it found.
"""

from __future__ import annotations

import argparse
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from packaging.metadata import Metadata

ROOT = Path(__file__).resolve().parents[1]
MIB = 1 << 20
# Never in a wheel: images, data, checkpoints, tests.
FORBIDDEN = {".dcm", ".png", ".jpg", ".webp", ".parquet", ".csv", ".npy", ".pt", ".ckpt", ".zip"}


@dataclass(frozen=True, slots=True)
class Distribution:
    """What one distribution is to hold: wheel folder -> folder of this tree, and named files."""

    name: str
    trees: dict[str, str]
    wheel: tuple[str, ...]
    sdist: tuple[str, ...]
    not_in_sdist: tuple[str, ...]
    limit_mib: int


DISTRIBUTIONS = (
    Distribution(
        name="hilum",
        trees={"hilum": "src/hilum", "hilum/recipes": "recipes"},
        wheel=(
            "hilum/py.typed",
            "hilum/bundles/default/LICENSE.md",
            "hilum/bundles/default/model.int8.onnx",
            "hilum/bundles/gate/model.int8.onnx",
            "hilum/serve/static/index.html",
            "hilum/serve/static/third-party.md",
            "hilum/serve/migrations/env.py",
            "hilum/report/templates/index.html",
            "hilum/inference/pipelines/default.yaml",
            "hilum/recipes/default.yaml",
            "hilum/recipes/splits/default.json",
            "dist-info/licenses/LICENSE",
            "dist-info/licenses/src/hilum/bundles/default/LICENSE.md",
            "dist-info/licenses/src/hilum/bundles/gate/LICENSE.md",
            "dist-info/entry_points.txt",
        ),
        sdist=("LICENSE", "README.md", "tests/conftest.py", "viewer/package-lock.json"),
        not_in_sdist=("models/", "shared/", "runs/", "viewer/node_modules/", ".ci/"),
        limit_mib=45,
    ),
    Distribution(
        name="hilum_models",
        trees={"hilum_models": "models/src/hilum_models"},
        wheel=(
            "hilum_models/py.typed",
            "hilum_models/bundles/covid-yolo/model.int8.onnx",
            "hilum_models/bundles/covid-study/model.int8.onnx",
            "hilum_models/bundles/covid-fasterrcnn/model.int8.onnx",
            "hilum_models/bundles/pneumothorax-segmenter/model.int8.onnx",
            "hilum_models/pipelines/covid.yaml",
            "hilum_models/pipelines/pneumothorax-small.yaml",
            "dist-info/licenses/src/hilum_models/bundles/covid-yolo/LICENSE.md",
            "dist-info/licenses/src/hilum_models/bundles/covid-study/LICENSE.md",
        ),
        sdist=("README.md", "src/hilum_models/__init__.py"),
        not_in_sdist=(),
        limit_mib=80,
    ),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dist", type=Path)
    folder = parser.parse_args().dist
    problems = [problem for one in DISTRIBUTIONS for problem in check(one, folder)]
    print("\n".join(problems) or f"{folder}: wheels and sdists hold what they must")
    sys.exit(bool(problems))


def check(own: Distribution, folder: Path) -> Iterator[str]:
    """Every problem of the wheel and sdist of one distribution, in words."""
    wheels, sdists = (sorted(folder.glob(f"{own.name}-{end}")) for end in ("*.whl", "*.tar.gz"))
    if len(wheels) != 1 or len(sdists) != 1:
        yield f"{own.name}: {len(wheels)} wheels and {len(sdists)} sdists in {folder}, not 1 and 1"
        return
    size = wheels[0].stat().st_size / MIB
    print(
        f"{wheels[0].name}: {size:.1f} MiB; {sdists[0].name}: "
        f"{sdists[0].stat().st_size / MIB:.1f} MiB"
    )
    if size > own.limit_mib:
        yield f"{wheels[0].name}: {size:.1f} MiB, allowed are {own.limit_mib}"
    for problem in (*in_wheel(own, wheels[0]), *in_sdist(own, sdists[0])):
        yield f"{own.name}: {problem}"


def in_wheel(own: Distribution, path: Path) -> Iterator[str]:
    with zipfile.ZipFile(path) as archive:
        information = next(n.split("/")[0] for n in archive.namelist() if n.endswith("/METADATA"))
        metadata = archive.read(f"{information}/METADATA")
        names = {name.replace(information, "dist-info", 1) for name in archive.namelist()}
    yield from (f"the wheel lacks {name}" for name in own.wheel if name not in names)
    package, expected = {n for n in names if not n.startswith("dist-info/")}, package_files(own)
    yield from (f"the wheel lacks {name}" for name in sorted(expected - package - {*own.wheel}))
    yield from (f"the wheel should not hold {name}" for name in sorted(package - expected))
    for name in sorted(package):
        parts = PurePosixPath(name)
        if parts.suffix in FORBIDDEN or "tests" in parts.parts:
            yield f"the wheel should not hold {name}"
    yield from in_metadata(metadata)


def package_files(own: Distribution) -> set[str]:
    """What the folders of this tree hold, by the names they have in the wheel."""
    out: set[str] = set()
    for to, tree in own.trees.items():
        for path in (ROOT / tree).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                out.add(f"{to}/{path.relative_to(ROOT / tree).as_posix()}")
    return out


def in_metadata(text: bytes) -> Iterator[str]:
    try:
        metadata = Metadata.from_email(text)
    except ExceptionGroup as group:  # of InvalidMetadata
        yield from (f"metadata: {error}" for error in group.exceptions)
        return
    for field in (
        "summary",
        "license_expression",
        "license_files",
        "requires_python",
        "description",
    ):
        if not getattr(metadata, field):
            yield f"metadata: {field} is empty"


def in_sdist(own: Distribution, path: Path) -> Iterator[str]:
    with tarfile.open(path) as archive:
        names = {member.name.partition("/")[2] for member in archive if member.isfile()}
    yield from (f"the sdist lacks {name}" for name in own.sdist if name not in names)
    for name in sorted(names):
        if name.startswith(own.not_in_sdist):
            yield f"the sdist should not hold {name}"


if __name__ == "__main__":
    main()
