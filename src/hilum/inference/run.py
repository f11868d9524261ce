"""Many inputs -> answers in their order, here or on worker processes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hilum.core.errors import ConfigError
from hilum.core.results import ImageResult
from hilum.inference.answer import Input
from hilum.inference.job import Job
from hilum.inference.pool import Pool

Done = Callable[[int, ImageResult], None]


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
