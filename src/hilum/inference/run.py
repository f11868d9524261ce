"""Many inputs -> answers in their order, here or on worker processes.

Whatever happens to one input stays with it: refusals, errors of ours, even a worker that is
killed. Knows no result files; a `Sink` in the worker may write some.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from hilum.core.errors import ConfigError, HilumError, InputRefused, ModelOutputError
from hilum.core.radiograph import Radiograph
from hilum.core.results import ImageResult, PipelineInfo
from hilum.dicom.reading import DEFAULT_READING, Reading
from hilum.dicom.stored import check_window
from hilum.inference.loaded import LoadedPipeline
from hilum.inference.pipeline import Pipeline

if TYPE_CHECKING:
    from hilum.dicom.stored import StoredImage

log = logging.getLogger(__name__)


class Item(Protocol):
    """Something that has a name and bytes, such as hilum.dicom.discover.Item."""

    @property
    def name(self) -> str: ...

    def load(self) -> bytes: ...


class Sink(Protocol):
    """Called in the worker with each analysed image; may write files and name them.

    `stored` is None for a radiograph that was made in memory.
    """

    def __call__(
        self,
        stored: StoredImage | None,
        radiograph: Radiograph,
        result: ImageResult,
        pipeline: PipelineInfo,
    ) -> ImageResult: ...


Input = Item | Radiograph
Done = Callable[[int, ImageResult], None]


@dataclass(frozen=True, slots=True)
class Job:
    """What a worker needs to know once."""

    pipeline: Pipeline
    threads: int = 1
    masks: bool = True
    sink: Sink | None = None
    reading: Reading = DEFAULT_READING

    def worker(self) -> Worker:
        """What does the work in a process; other jobs may make another one."""
        return Worker(self)


class Worker:
    """Answers one input after the other; never raises because of an input."""

    def __init__(self, job: Job, loaded: LoadedPipeline | None = None) -> None:
        self.job = job
        self.loaded = loaded or LoadedPipeline(job.pipeline, threads=job.threads).opened()
        self.info = self.loaded.info
        self.reading = replace(job.reading, window=self.loaded.window)
        check_window(self.reading.window, self.reading.full_range)

    def __call__(self, source: Input) -> ImageResult:
        started = time.perf_counter()
        answer = _Answer(ImageResult(name_of(source), "failed"))
        try:
            self._analyse(source, answer)
        except InputRefused as error:
            answer.add(status="refused", reason=reason(error))
        except MemoryError:
            answer.add(status="failed", reason="memory: there is not enough.")
        except Exception as error:
            # The border of one input: a defect of ours costs this answer, not the run.
            log.debug("analysing %s", answer.result.name, exc_info=True)
            answer.add(status="failed", reason=_failure(error))
        if answer.result.status != "analysed":
            answer.add(findings=None, outlines={}, masks={}, files={})
        return replace(answer.result, seconds=time.perf_counter() - started)

    def _analyse(self, source: Input, answer: _Answer) -> None:
        given = source if isinstance(source, Radiograph) else self._open(source, answer)
        self.loaded.check_header(given)  # before anything is decoded
        stored = None if isinstance(given, Radiograph) else given
        radiograph = given if isinstance(given, Radiograph) else self.reading.decode(given)
        answer.add(ids=radiograph.ids, width=radiograph.width, height=radiograph.height)
        notes = tuple(f"reading: {words}" for words in radiograph.decoding.warnings)
        answer.add(warnings=notes)
        found = self.loaded.findings(radiograph, masks=self.job.masks)
        result = replace(answer.result, status="analysed", findings=found)
        if self.job.sink is not None:
            result = self.job.sink(stored, radiograph, result, self.info).light()
        answer.result = result

    def _open(self, source: Item, answer: _Answer) -> StoredImage:
        data = source.load()
        answer.add(content_sha256=hashlib.sha256(data).hexdigest())
        stored = self.reading.open((source.name, data))
        answer.add(ids=stored.ids)
        return stored


@dataclass(slots=True)
class _Answer:
    """What is known so far, so that a refusal half-way keeps it."""

    result: ImageResult

    def add(self, **changes: Any) -> None:
        self.result = replace(self.result, **changes)


def name_of(source: Input) -> str:
    return source.source if isinstance(source, Radiograph) else source.name


def run(
    inputs: Sequence[Input], job: Job, *, workers: int = 1, done: Done | None = None
) -> list[ImageResult]:
    """Answer all inputs, in their order.

    Args:
        inputs: items or radiographs; items and the job must be picklable for several workers.
        workers: 1 works in this process; more start that many processes, and a crash of one of
            them loses only the input it worked on.
        done: called in this process with index and answer, in the order of completion.

    Raises:
        ConfigError, BundleError: the job itself is wrong.
    """
    if workers < 1 or job.threads < 1:
        raise ConfigError(f"{workers} workers with {job.threads} threads; needed: 1 or more")
    results: dict[int, ImageResult] = {}

    def finish(index: int, result: ImageResult) -> None:
        results[index] = result
        if done is not None:
            done(index, result)

    if workers == 1:
        worker = job.worker()
        for index, source in enumerate(inputs):
            finish(index, worker(source))
    else:
        from hilum.inference.pool import Pool

        with Pool(job, min(workers, max(1, len(inputs)))) as pool:
            pool.run(inputs, finish)
    return [results[index] for index in range(len(inputs))]


def content_sha256(item: Item) -> str | None:
    """The hash under which an item's answer is recorded; None where it cannot be loaded."""
    try:
        return hashlib.sha256(item.load()).hexdigest()
    except InputRefused:
        return None


def reason(error: InputRefused) -> str:
    """ "code: what came. What to do.", without the name of the source."""
    text = f"{error.reason} {error.remedy}".strip()
    return f"{error.code}: {text}"


def _failure(error: Exception) -> str:
    if isinstance(error, ModelOutputError):
        return f"model-output: {error}"
    if isinstance(error, HilumError):
        return f"failed: {error}"
    # Messages of foreign exceptions may quote the input; their type is enough here.
    return f"internal: {type(error).__name__}; please report it with the file's properties."
