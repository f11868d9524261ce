"""The folder of a run: locked while it is written, checked when it is gone on with.

recipe.yaml        the resolved settings     environment.json  what it ran on
split.json         who is in which part      data.json         what was left out, fingerprint
STAGE/             weights, metrics.parquet, TensorBoard events, best epochs
metrics.parquet    every epoch of every stage
samples/, index.html   predictions against the truth as they grew, and the curves
predictions/       unsuppressed boxes of the epochs that train.keep_predictions names; of the
                   finished network, test.parquet and validation.parquet: answers beside the truth
results.json       numbers of the untrained and the finished network
weights.safetensors    what `hilum export` takes

A start that fails writes nothing that would stop the next one.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from hilum.core.documents import parse_yaml, read_document
from hilum.core.errors import ConfigError, DataError
from hilum.core.files import atomic_path, write_text
from hilum.core.folders import claimed
from hilum.data.split import Split
from hilum.evaluate.classes import ClassCases
from hilum.evaluate.evaluation import classes_of
from hilum.evaluate.kept_cases import read_kept
from hilum.models import ranks
from hilum.models.weights import WEIGHTS
from hilum.report.run import run_page
from hilum.train.recipe import Recipe, parse

# Settings that change no number.
WITHOUT_EFFECT = (
    *("train.workers", "train.save_s", "data.*.cache"),
    *(f"train.keep_predictions.{name}" for name in ("every", "epochs", "last", "floor")),
)
SWEEP = "sweep.json"
RECIPE, DATA, SPLIT, RESULTS = "recipe.yaml", "data.json", "split.json", "results.json"
WRITTEN = (RECIPE, DATA, SPLIT, RESULTS, "index.html", "metrics.parquet", WEIGHTS)
PAGE_S = 30.0  # between two drawings of a run's page


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """While this lasts, the folder is this run's (`core.folders.claimed`).

    Joined processes leave it to whoever started them, who outlives each of them.

    Raises:
        ConfigError: another run writes there, or files are there that no run wrote.
    """
    if ranks.joined():
        yield
        return
    known = any((out / name).is_file() for name in (RECIPE, SWEEP))  # their readers look further
    names = () if known else WRITTEN
    with claimed(out, "train", names=names):
        yield


@dataclass(slots=True)
class RunFolder:
    """What is kept of a run."""

    path: Path
    recipe: Recipe
    drawn: float = 0.0  # when the page was, on the monotonic clock

    @property
    def cache(self) -> Path:
        """Where prepared images are kept: beside the run, those of a sweep's runs beside all."""
        beside, above = self.path.parent, self.path.parent.parent
        return (above if (above / SWEEP).is_file() else beside) / "cache"

    @classmethod
    def of(cls, path: Path) -> RunFolder:
        """A run that was begun.

        Raises:
            ConfigError: there is none.
        """
        file = path / RECIPE
        if not file.is_file():
            raise ConfigError(f"{path} holds no run (no {RECIPE}); train it first")
        return cls(path, parse(read_document(file, parse_yaml, ConfigError), str(file)))

    def check(self) -> None:
        """Raises ConfigError where the folder holds a run of other settings."""
        if not (self.path / RECIPE).is_file():
            return
        # Through the schema: a setting that is newer than the run has its default.
        before = RunFolder.of(self.path).recipe.model_dump(mode="json")
        differ = sorted(_differences(before, self.recipe.model_dump(mode="json")))
        if differ:
            raise ConfigError(
                f"{self.path} holds a run of other settings ({', '.join(differ)}); choose another "
                "folder, or give the same settings to go on"
            )

    @property
    def split(self) -> Path | None:
        """The split that the run began with."""
        file = self.path / SPLIT
        return file if file.is_file() else None

    def begin(self, split: Split, data: Mapping[str, Any], content: str) -> None:
        """Write down what the run is, or make sure that it goes on with the same.

        Args:
            data: what data.json shows.
            content: all that tells one data set and split from another.

        Raises:
            DataError: it began with other data.
        """
        digest = hashlib.sha256(content.encode()).hexdigest()
        before = self.path / DATA
        if before.is_file() and json.loads(before.read_text())["sha256"] != digest:
            raise DataError(
                f"{data['folder']} is not the data that {self.path} began with; choose a new folder"
            )
        if self.split is None:
            split.save(self.path / SPLIT)
        write_text(before, json.dumps({**data, "sha256": digest}, indent=1))
        if not (self.path / RECIPE).is_file():
            settings = self.recipe.model_dump(mode="json")
            write_text(self.path / "environment.json", json.dumps(environment(), indent=1))
            write_text(self.path / RECIPE, yaml.safe_dump(settings, sort_keys=False))

    @property
    def data(self) -> dict[str, Any]:
        """What `begin` wrote."""
        content: dict[str, Any] = json.loads((self.path / DATA).read_text())
        return content

    @property
    def results(self) -> dict[str, dict[str, float]]:
        """Part -> metric -> value, as far as the run has come."""
        file = self.path / RESULTS
        content: dict[str, dict[str, float]] = (
            json.loads(file.read_text()) if file.is_file() else {}
        )
        return content

    def answers(self, part: str) -> Path:
        """Answers of the finished network on a part (`evaluate.kept_cases`)."""
        return self.path / "predictions" / f"{part}.parquet"

    def record(self, part: str, numbers: Mapping[str, float]) -> None:
        """Add the numbers of a part to results.json."""
        write_text(self.path / RESULTS, json.dumps(self.results | {part: dict(numbers)}, indent=1))

    def metrics(self) -> pd.DataFrame:
        """Every evaluated epoch so far."""
        return metrics(self.recipe.stages, self.path)

    def write_page(self, *, now: bool = False) -> None:
        """metrics.parquet and index.html of what the run has so far, unless just drawn."""
        if not now and time.monotonic() - self.drawn < PAGE_S:
            return
        rows = self.metrics()
        with atomic_path(self.path / "metrics.parquet") as temporary:
            rows.to_parquet(temporary)
        page = run_page(
            self.recipe.name,
            rows,
            about=self.recipe.about,
            settings=yaml.safe_dump(self.recipe.model_dump(mode="json"), sort_keys=False),
            data=self.data,
            results=self.results,
            samples=sorted((self.path / "samples").glob("*.png")),
            classes=self._classes(),
        )
        write_text(self.path / "index.html", page)
        self.drawn = time.monotonic()

    def _classes(self) -> dict[str, ClassCases]:
        """Part -> exclusive classes of the finished network."""
        files = {part: self.answers(part) for part in self.results}
        names = self.recipe.names.classes
        every = {p: classes_of(read_kept(f), names) for p, f in files.items() if f.is_file()}
        return {part: cases for part, cases in every.items() if cases is not None}


def metrics(stages: Iterable[str], out: Path) -> pd.DataFrame:
    """Every epoch so far of the stages in `out`."""
    tables = []
    for name in stages:
        file = out / name / "metrics.parquet"
        if file.is_file():
            tables.append(pd.read_parquet(file).assign(stage=name))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def _differences(a: Any, b: Any, at: str = "", pattern: str = "") -> set[str]:
    """Names of the settings that differ, but for those without effect."""
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        pairs = [
            (x, y, f"{at}.{i}", f"{pattern}.*") for i, (x, y) in enumerate(zip(a, b, strict=True))
        ]
    elif isinstance(a, dict) and isinstance(b, dict):
        keys = sorted({*a, *b})
        pairs = [
            (a.get(k), b.get(k), f"{at}.{k}".strip("."), f"{pattern}.{k}".strip(".")) for k in keys
        ]
    else:
        return set() if a == b or pattern in WITHOUT_EFFECT else {at}
    return {name for pair in pairs for name in _differences(*pair)}


def environment() -> dict[str, Any]:
    """What a number may depend on beside the recipe."""
    names = ("hilum", "torch", "torchvision", "timm", "pytorch-lightning", "numpy")
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "ranks": ranks.world(),
        "commit": commit(),
        "libraries": {name: version(name) for name in names},
    }


def commit() -> str:
    """Of the checkout; an installed package has none."""
    command = ["git", "rev-parse", "HEAD"]
    try:
        answer = subprocess.run(
            command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return answer.stdout.strip()
