"""What a worker needs to know once, and the worker: it answers one input after the other."""

from __future__ import annotations

from dataclasses import dataclass

from hilum.core.results import ImageResult
from hilum.dicom.analysed import Sink
from hilum.dicom.reading import DEFAULT_READING, Reading
from hilum.dicom.stored import check_window
from hilum.inference.answer import Input, answer
from hilum.inference.loaded import LoadedPipeline
from hilum.inference.pipeline import Pipeline


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
