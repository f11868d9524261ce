"""Files of a finished run made anew from its findings.json, without a model.

Knows no pipeline: what was found stands in the folder, pixels and headers come from the source
again, and only if that still is what was analysed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from hilum.core.errors import DataError, InputRefused, NotWritten
from hilum.core.results import ImageResult, PipelineInfo, RunResult, load_results, masks_of
from hilum.dicom.analysed import Analysed
from hilum.dicom.discover import Item, discover
from hilum.dicom.reading import DEFAULT_READING, Reading
from hilum.dicom.stored import StoredImage
from hilum.report.results import ResultFolder
from hilum.report.writers import NOT_WRITTEN

Sources = Mapping[str, Item]  # SHA-256 of the bytes -> where they lie


def rewrite(
    results: ResultFolder,
    sources: Iterable[Path] | None = None,
    *,
    reading: Reading = DEFAULT_READING,
    advance: Callable[[], None] = lambda: None,
) -> RunResult:
    """Call the folder's writers for every analysed image, then write tables and page again.

    Args:
        results: a folder of `hilum predict`, and the writers to call; none: tables and page only.
        sources: where the analysed files lie now, found by their content; None: where they lay.
        reading: as of the run; the folder tells only its window.
        advance: called after each image.

    Raises:
        DataError: there is no findings.json, or it is damaged.
    """
    run = load_results(results.path)
    reading = replace(reading, window=run.pipeline.window)
    known = None if sources is None or not results.writers else _by_content(sources)
    images = []
    for image in run:
        images.append(_again(image, results, run.pipeline, sources=known, reading=reading))
        advance()
    whole = replace(run, images=tuple(images))
    results.finish(whole)
    return whole


def _by_content(sources: Iterable[Path]) -> Sources:
    items = {}
    for item in discover(sources):
        try:
            items[hashlib.sha256(item.load()).hexdigest()] = item
        except InputRefused:
            continue  # cannot be opened: what it should have been is said by what misses it
    return items


def _again(
    image: ImageResult,
    results: ResultFolder,
    pipeline: PipelineInfo,
    sources: Sources | None,
    reading: Reading,
) -> ImageResult:
    """The image with its files written anew; what cannot be is a warning."""
    if image.findings is None or not results.writers:
        return image
    marks = tuple(f"{NOT_WRITTEN}{name}: " for name in results.writers)
    kept = tuple(text for text in image.warnings if not text.startswith(marks))
    try:
        masks = masks_of(image, results.path)
        stored = _open(image, sources, reading)
        radiograph = reading.decode(stored)
    except (InputRefused, NotWritten, DataError) as error:
        return replace(image, warnings=(*kept, *(f"{mark}{error}" for mark in marks)))
    findings = replace(image.findings, masks=masks)
    full = replace(image, findings=findings, warnings=kept, ids=stored.ids)
    again = results(Analysed(stored=stored, radiograph=radiograph, result=full, pipeline=pipeline))
    return replace(again.light(), ids=image.ids)


def _open(image: ImageResult, sources: Sources | None, reading: Reading) -> StoredImage:
    """The very object that was analysed.

    Raises:
        InputRefused, NotWritten: it is not there, or no longer what it was.
    """
    if sources is None:
        item = _where_it_lay(image.name)
    elif (same := sources.get(image.content_sha256 or "")) is not None:
        item = same
    else:
        raise NotWritten("no file of the same content is among the sources; name its folder.")
    data = item.load()
    if hashlib.sha256(data).hexdigest() != image.content_sha256:
        raise NotWritten("its file has changed since it was analysed; analyse it again.")
    return reading.open((image.name, data))


def _where_it_lay(name: str) -> Item:
    """A file, or the member of a zip: "study.zip!a/1.dcm"."""
    parts = name.split("!")
    for count in range(1, len(parts)):
        archive = "!".join(parts[:count])
        if not Path(name).exists() and Path(archive).is_file():
            return Item(name, archive, "!".join(parts[count:]))
    return Item(name, name)
