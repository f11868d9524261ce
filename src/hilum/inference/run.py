"""Many inputs -> answers in their order, here or on worker processes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hilum.core.errors import ConfigError
from hilum.core.results import ImageResult
from hilum.dicom.reading import DEFAULT_READING, Reading
from hilum.dicom.stored import check_window
from hilum.inference.answer import Input, Sink, answer
from hilum.inference.loaded import LoadedPipeline
from hilum.inference.pipeline import Pipeline
from hilum.inference.pool import Pool

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
    """Answers one input after the other."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.loaded = LoadedPipeline(job.pipeline, threads=job.threads).opened()
        check_window(self.loaded.window, job.reading.full_range)

    def __call__(self, source: Input) -> ImageResult:
        job = self.job
        return answer(self.loaded, source, masks=job.masks, sink=job.sink, reading=job.reading)


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
        with Pool(job, min(workers, max(1, len(inputs)))) as pool:
            pool.run(inputs, finish)
    return [results[index] for index in range(len(inputs))]
