"""How fast a pipeline runs on this machine in every setting, and whether it answers alike.

Each setting runs in worker processes of its own: a crash costs that setting. What they answer is
held against fp32 on one thread. Nothing is written; masks are left out.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from hilum.core.errors import ConfigError, HilumError
from hilum.core.findings import Findings
from hilum.core.results import ImageResult
from hilum.dicom.discover import Item
from hilum.inference.job import Job
from hilum.inference.loaded import LoadedPipeline
from hilum.inference.pipeline import Pipeline
from hilum.inference.pool import Pool
from hilum.inference.tuning import Choice, store

IMAGES, ROUNDS = 24, 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How far answers may be from those of fp32."""

    score: float = 0.01
    box_px: float = 1.0  # of an edge, in source pixels


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    precision: str
    workers: int
    threads: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One setting; infinite distances where boxes came or went, NaN where it failed."""

    setting: Setting
    files_per_s: float
    score: float  # largest difference of an image or box score
    box_px: float  # largest difference of a box edge
    refused: str = ""  # why it is not used

    def to_json(self) -> dict[str, Any]:
        numbers = {name: getattr(self, name) for name in ("files_per_s", "score", "box_px")}
        finite = {name: value if np.isfinite(value) else None for name, value in numbers.items()}
        return asdict(self.setting) | finite | {"refused": self.refused}


def bench(
    pipeline: Pipeline,
    items: Sequence[Item],
    *,
    cores: int,
    limits: Limits | None = None,
    images: int = IMAGES,
    rounds: int = ROUNDS,
    advance: Callable[[Measured], None] = lambda _: None,
) -> list[Measured]:
    """Every setting, measured and compared; the first is what the others are held against.

    Args:
        items: radiographs that the pipeline analyses; shown again until there are `images`.
        cores: the most threads of all workers together.
        limits: None: the strict ones.
        advance: called after each setting.

    Raises:
        ConfigError: no items, or one that the pipeline does not analyse.
        HilumError: the pipeline cannot be run at all.
    """
    if not items:
        raise ConfigError("no radiographs to measure with; needed: at least one")
    measured: list[Measured] = []
    reference: list[Findings] = []
    many = [items[index % len(items)] for index in range(max(images, len(items)))]
    for setting in settings(precisions(pipeline), cores):
        job = Job(
            pipeline.changed(precision=setting.precision), threads=setting.threads, masks=False
        )
        try:
            speed, answers = _run(job, setting.workers, items, many=many, rounds=rounds)
        except HilumError as error:
            if not measured:
                raise
            nan = float("nan")
            one = Measured(
                setting=setting, files_per_s=nan, score=nan, box_px=nan, refused=str(error)
            )
        else:
            reference = reference or answers
            one = compared(setting, speed, reference, answers=answers, limits=limits or Limits())
        measured.append(one)
        advance(one)
    return measured


def best(measured: Sequence[Measured]) -> Measured:
    """The fastest that is not refused; the first never is."""
    return max((one for one in measured if not one.refused), key=lambda one: one.files_per_s)


def keep(pipeline: Pipeline, one: Measured) -> None:
    """Store it as this machine's choice for the pipeline."""
    from hilum import __version__

    choice = Choice(
        **asdict(one.setting),
        files_per_s=one.files_per_s,
        score=one.score,
        box_px=one.box_px,
        date=datetime.now(UTC).date().isoformat(),
        hilum=__version__,
    )
    store(pipeline, choice)


def precisions(pipeline: Pipeline) -> list[str]:
    """What every model's bundle has, fp32 first.

    Raises:
        ConfigError: they have none in common, or a model has no bundle.
        BundleError: a bundle is missing or damaged.
    """
    bundles = LoadedPipeline(pipeline).bundles
    paths = [path for model in pipeline.models.values() for path in model.paths]
    common = set.intersection(*(set(bundles[path].manifest.precisions) for path in paths))
    if not common:
        raise ConfigError(f"pipeline {pipeline.name}: its bundles have no precision in common")
    return sorted(common, key=lambda name: name != "fp32")


def settings(precisions: Sequence[str], cores: int) -> Iterator[Setting]:
    """Powers of two of workers and threads that fit the cores, and all cores as workers."""
    powers = [2**n for n in range(cores.bit_length()) if 2**n <= cores]
    for precision in precisions:
        for threads in powers:
            for workers in sorted({*powers, cores}):
                if workers * threads <= cores:
                    yield Setting(precision=precision, workers=workers, threads=threads)


def compared(
    setting: Setting,
    files_per_s: float,
    reference: Sequence[Findings],
    answers: Sequence[Findings],
    limits: Limits,
) -> Measured:
    """Is it near enough?"""
    pairs = [apart(one, other) for one, other in zip(reference, answers, strict=True)]
    score, box = (max(values) for values in zip(*pairs, strict=True))
    why = [f"scores differ by {score:.3f}, allowed {limits.score:g}"] * (score > limits.score)
    if np.isinf(box):
        why.append("other boxes")
    elif box > limits.box_px:
        why.append(f"boxes differ by {box:.1f} px, allowed {limits.box_px:g}")
    return Measured(
        setting=setting, files_per_s=files_per_s, score=score, box_px=box, refused="; ".join(why)
    )


def apart(one: Findings, other: Findings) -> tuple[float, float]:
    """Largest difference of a score, and of a box edge in px between nearest boxes of a label;
    infinite where a label has more boxes in one of them."""
    names = one.image_scores.keys() | other.image_scores.keys()
    score = max(
        (abs(one.image_scores.get(n, np.inf) - other.image_scores.get(n, np.inf)) for n in names),
        default=0.0,
    )
    if sorted(one.labels) != sorted(other.labels):
        return float(score), float("inf")
    if not len(one.labels):
        return float(score), 0.0
    edges = np.abs(one.boxes_px[:, None] - other.boxes_px[None]).max(axis=2)
    edges[np.array(one.labels)[:, None] != np.array(other.labels)[None]] = np.inf
    nearest = edges.argmin(axis=1)
    scores = np.abs(one.scores - other.scores[nearest])
    box = max(edges.min(axis=1).max(), edges.min(axis=0).max())
    return float(max(score, scores.max())), float(box)


def _run(
    job: Job, workers: int, items: Sequence[Item], many: Sequence[Item], rounds: int
) -> tuple[float, list[Findings]]:
    """Median files a second of warm workers, and what they answer to each item.

    Raises:
        ConfigError: an item is not analysed.
        HilumError: the workers do not start.
    """
    answers: dict[int, ImageResult] = {}
    rates = []
    with Pool(job, workers) as pool:
        pool.wait()
        pool.run(items, answers.__setitem__)
        for result in answers.values():
            if result.findings is None:
                raise ConfigError(f"{result.name}: {result.status}: {result.reason}")
        for _ in range(rounds):
            start = time.perf_counter()
            pool.run(many, lambda *_: None)
            rates.append(len(many) / (time.perf_counter() - start))
    findings = [answers[index].findings for index in range(len(items))]
    return statistics.median(rates), [one for one in findings if one is not None]
