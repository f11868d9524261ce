"""`hilum.predict(...)`: paths or radiographs -> answers as values."""

from __future__ import annotations

import os
from collections.abc import Iterable

from hilum.core.radiograph import Radiograph, Window
from hilum.core.results import RunResult, conflicting
from hilum.dicom.reading import Reading
from hilum.inference.answer import Input
from hilum.inference.job import Job
from hilum.inference.loaded import LoadedPipeline
from hilum.inference.pipeline import Pipeline
from hilum.inference.run import run

Path = str | os.PathLike[str]
Given = Path | Radiograph


def predict(
    paths_or_radiographs: Given | Iterable[Given],
    *,
    pipeline: Pipeline | Path | None = None,
    precision: str | None = None,
    threshold: float | None = None,
    workers: int = 1,
    threads: int = 1,
    masks: bool = True,
    window: Window | None = None,
    full_range: bool = False,
    untrusted: bool = False,
) -> RunResult:
    """Analyse chest radiographs. Research use only: a qualified reader decides.

    Args:
        paths_or_radiographs: one or several files, folders, zips, or radiographs from
            `hilum.read`; folders and zips are expanded.
        pipeline: a YAML file, the name of a shipped pipeline, or None for the default.
        precision: "fp32" or "int8"; None for what each bundle prefers.
        threshold: show boxes from this score on; None for the pipeline's threshold.
        workers: processes (with more than one, call from under `if __name__ == "__main__"`).
        threads: threads of each process.
        masks: compute masks at source size.
        window: (centre, width) in modality units, used instead of each file's own VOI.
        full_range: read the whole stored range, without windows and VOI LUTs.
        untrusted: open files in a child process with limits of time and memory.

    Returns:
        One ImageResult for each input, in order; what cannot be analysed has a status and a
        reason instead of findings. Boxes and masks are in pixels of the stored matrix.

    Raises:
        ConfigError, BundleError: the pipeline, its bundles or the options are wrong. Never
            because of one input.

    Example:
        >>> import hilum
        >>> for image in hilum.predict("chest.dcm"):  # doctest: +SKIP
        ...     print(image.status, image.findings.image_scores["opacity"])
    """
    chosen = Pipeline.load(pipeline).changed(
        precision=precision, threshold=threshold, window=window
    )
    reading = Reading(full_range=full_range, untrusted=untrusted)
    job = Job(chosen, threads, masks, reading=reading)
    images = conflicting(run(_inputs(paths_or_radiographs), job, workers=workers))
    loaded = LoadedPipeline(chosen)
    return RunResult(loaded.info, images, loaded.combine(images))


def _inputs(given: Given | Iterable[Given]) -> list[Input]:
    if isinstance(given, (str, os.PathLike, Radiograph)):
        given = [given]
    inputs: list[Input] = []
    for one in given:
        if isinstance(one, Radiograph):
            inputs.append(one)
        else:
            from hilum.dicom.discover import discover

            inputs += discover([one])
    return inputs
