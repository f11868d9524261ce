"""How a pipeline runs on this machine: what `hilum bench` measured here, chose and stored.

One small file of the user, a choice for each machine and pipeline. A changed bundle, text or CPU
has none. Knows nothing of measuring; the Python functions (`hilum.predict`) never look here.
"""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from hilum.core.documents import parse_json
from hilum.core.errors import ConfigError, DocumentError
from hilum.core.files import write_text
from hilum.inference.loaded import LoadedPipeline
from hilum.inference.pipeline import Pipeline

CPUINFO = Path("/proc/cpuinfo")


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The fastest setting whose answers were near enough to those of fp32."""

    precision: str
    workers: int  # processes
    threads: int  # of each of them
    files_per_s: float  # as measured, nothing written
    score: float  # largest difference to a score of fp32
    box_px: float  # and to an edge of its boxes
    date: str
    hilum: str  # version that measured it

    def __post_init__(self) -> None:
        if self.precision not in ("fp32", "int8") or min(self.workers, self.threads) < 1:
            raise ValueError(f"{self.precision}, {self.workers} workers x {self.threads} threads")


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """What a command runs with, and why."""

    precision: str | None  # None: what the pipeline or each bundle prefers
    workers: int
    threads: int
    why: str = ""  # "" where nothing was measured, or options decide everything


def running(
    pipeline: Pipeline,
    *,
    precision: str | None = None,
    workers: int | None = None,
    threads: int | None = None,
    usual: int = 1,
) -> Running:
    """What was given, else what was chosen, else the usual.

    Workers and threads were measured together: giving one of them leaves the other's choice out.

    Args:
        pipeline: before precision, threshold or window are changed.
        usual: workers where nothing was chosen.

    Raises:
        ConfigError: the file of choices is damaged.
        BundleError: a bundle is missing or damaged.
    """
    choice = None if precision and (workers or threads) else chosen(pipeline)
    if choice is None:
        return Running(precision=precision, workers=workers or usual, threads=threads or 1)
    apart = workers is not None or threads is not None
    result = Running(
        precision=precision or choice.precision,
        workers=(workers or usual) if apart else choice.workers,
        threads=(threads or 1) if apart else choice.threads,
    )
    parts = ([] if precision else ["precision"]) + ([] if apart else ["workers, threads"])
    words = (
        f"{result.precision}, workers {result.workers} x threads {result.threads}: "
        f"{', '.join(parts)} as hilum bench chose on {choice.date} "
        f"(fastest here, {choice.files_per_s:.1f} files/s; scores within {choice.score:.3f} and "
        f"boxes within {choice.box_px:.1f} px of fp32); options override it"
    )
    return replace(result, why=words)


def chosen(pipeline: Pipeline) -> Choice | None:
    """What was stored for this pipeline, these bundles and this machine.

    Raises:
        ConfigError: the file is damaged.
        BundleError: a bundle is missing or damaged.
    """
    stored = _stored()
    value = stored.get(_key(pipeline)) if stored else None
    if value is None:
        return None
    try:
        return Choice(**value)
    except (TypeError, ValueError) as error:
        raise _damaged(error) from error


def store(pipeline: Pipeline, choice: Choice) -> Path:
    """Keep a choice, beside those for other pipelines; the file's path."""
    stored = _stored() | {_key(pipeline): asdict(choice)}
    write_text(settings_file(), json.dumps(stored, indent=1, sort_keys=True) + "\n")
    return settings_file()


def settings_file() -> Path:
    home = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(home) / "hilum" / "bench.json"


def machine() -> str:
    """CPU model and usable cores: homes are shared between machines."""
    return f"{_cpuinfo('model name') or platform.processor() or platform.machine()}, {cores()}"


def cores() -> int:
    """Cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _cpuinfo(name: str) -> str:
    """The first CPU's line of that name; "" where there is none."""
    if not CPUINFO.is_file():
        return ""
    for line in CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return ""


def _key(pipeline: Pipeline) -> str:
    return f"{machine()}: {LoadedPipeline(pipeline).fingerprint}"


def _stored() -> dict[str, Any]:
    if not settings_file().is_file():
        return {}
    try:
        value = parse_json(settings_file().read_bytes())
    except DocumentError as error:
        raise _damaged(error) from error
    if not isinstance(value, dict):
        raise _damaged("no JSON object")
    return value


def _damaged(why: object) -> ConfigError:
    return ConfigError(f"{settings_file()} is damaged ({why}); delete it, then run hilum bench")
