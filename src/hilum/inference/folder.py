"""Many inputs -> a result folder that a stopped run goes on filling.

What the command line, a service, a cluster and a notebook call alike:

    analyse(list(discover(paths)), Pipeline.load(), ResultFolder(out, parse("picture,mask,sr")))

Knows no kind of result file; those are written by the `Results` it is given
(`hilum.report.results.ResultFolder`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from hilum.core.folders import claimed
from hilum.core.radiograph import Radiograph
from hilum.core.results import ImageResult, RunResult, conflicting
from hilum.dicom.analysed import Analysed
from hilum.dicom.reading import DEFAULT_READING, Reading
from hilum.inference.answer import Input, content_sha256
from hilum.inference.job import Job
from hilum.inference.journal import Journal
from hilum.inference.loaded import LoadedPipeline
from hilum.inference.pipeline import Pipeline
from hilum.inference.run import run

FEW = 4  # images that are done before a second process has started


class Results(Protocol):
    """Where the answers go: files of each image in the workers, those of the run at its end."""

    @property
    def path(self) -> Path: ...

    @property
    def names(self) -> Sequence[str]:
        """What is written directly below the folder."""
        ...

    @property
    def settings(self) -> dict[str, Any]:
        """What decides the files; other settings start anew."""
        ...

    def __call__(self, image: Analysed) -> ImageResult: ...

    def finish(self, run: RunResult) -> None: ...


def analyse(
    inputs: Sequence[Input],
    pipeline: Pipeline,
    results: Results,
    *,
    workers: int = 1,
    threads: int = 1,
    masks: bool = True,
    reading: Reading = DEFAULT_READING,
    fresh: bool = False,
    advance: Callable[[], None] = lambda: None,
) -> RunResult:
    """Analyse into a result folder, going on where an earlier run of the same settings stopped.

    Args:
        reading: whether windows are used, and whether files are opened in a guarded child.
        fresh: analyse again what is already there.
        advance: called after each image, in this process.

    Raises:
        ConfigError, BundleError: the pipeline, its bundles or the folder are wrong.
        NotKept: nothing more can be written; what is there is kept.
    """
    from hilum import __version__

    with claimed(results.path, "predict", names=results.names):
        loaded = LoadedPipeline(pipeline)
        settings = {"masks": masks, "threads": threads, "hilum": __version__, **results.settings}
        settings["full_range"] = reading.full_range
        key = json.dumps([loaded.fingerprint, settings], sort_keys=True)
        job = Job(pipeline=pipeline, threads=threads, masks=masks, sink=results, reading=reading)
        with Journal(results.path, key, fresh=fresh) as journal:
            answers = _finished(inputs, journal, advance)
            left = [index for index in range(len(inputs)) if index not in answers]

            def done(position: int, result: ImageResult) -> None:
                journal.append(result)
                answers[left[position]] = result
                advance()

            hands = workers if len(left) > FEW else 1
            run([inputs[index] for index in left], job, workers=hands, done=done)
            images = conflicting([answers[index] for index in range(len(inputs))])
            whole = RunResult(loaded.info, images, loaded.combine(images))
            results.finish(whole)
        return whole


def _finished(
    inputs: Sequence[Input], journal: Journal, advance: Callable[[], None]
) -> dict[int, ImageResult]:
    """What the journal already answers, for unchanged content."""
    names, results = journal.names(), {}
    for index, item in enumerate(inputs):
        if isinstance(item, Radiograph) or item.name not in names:
            continue
        result = journal.find(item.name, content_sha256(item))
        if result is not None:
            results[index] = result
            advance()
    return results
