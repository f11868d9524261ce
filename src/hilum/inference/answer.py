"""One input -> one answer, whatever happens to it: refusals and errors of ours stay with it.

Knows no other inputs and no processes; a `Sink` may write result files.
"""

from __future__ import annotations

import hashlib
import logging
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from hilum.core.errors import HilumError, InputRefused, ModelOutputError, NotKept
from hilum.core.radiograph import Radiograph
from hilum.core.results import ImageResult
from hilum.dicom.analysed import Analysed, Sink
from hilum.dicom.reading import DEFAULT_READING, Reading
from hilum.inference.loaded import LoadedPipeline

if TYPE_CHECKING:
    from hilum.dicom.stored import StoredImage

log = logging.getLogger(__name__)


class Item(Protocol):
    """Something that has a name and bytes, such as hilum.dicom.discover.Item."""

    @property
    def name(self) -> str: ...

    def load(self) -> bytes: ...


Input = Item | Radiograph


def answer(
    loaded: LoadedPipeline,
    source: Input,
    *,
    masks: bool = True,
    sink: Sink | None = None,
    reading: Reading = DEFAULT_READING,
) -> ImageResult:
    """What the pipeline says of one input; never raises because of it.

    Raises:
        NotKept: the sink cannot write; nothing is wrong with the input.
    """
    started = time.perf_counter()
    out = _Answer(ImageResult(name_of(source), "failed"))
    reading = replace(reading, window=loaded.window)  # as its bundles were trained
    try:
        _analyse(loaded, source, out, masks=masks, sink=sink, reading=reading)
    except NotKept:
        raise
    except InputRefused as error:
        out.add(status="refused", reason=reason(error))
    except MemoryError:
        out.add(status="failed", reason="memory: there is not enough.")
    except Exception as error:
        # The border of one input: a defect of ours costs this answer, not the run.
        log.debug("analysing %s", out.result.name, exc_info=True)
        out.add(status="failed", reason=_failure(error))
    if out.result.status != "analysed":
        out.add(findings=None, outlines={}, masks={}, files={})
    return replace(out.result, seconds=time.perf_counter() - started)


@dataclass(slots=True)
class _Answer:
    """What is known so far, so that a refusal half-way keeps it."""

    result: ImageResult

    def add(self, **changes: Any) -> None:
        self.result = replace(self.result, **changes)


def _analyse(
    loaded: LoadedPipeline,
    source: Input,
    out: _Answer,
    masks: bool,
    sink: Sink | None,
    reading: Reading,
) -> None:
    stored = None if isinstance(source, Radiograph) else _open(source, out, reading)
    given = source if isinstance(source, Radiograph) else stored
    assert given is not None
    loaded.check_header(given)  # before anything is decoded
    radiograph = given if isinstance(given, Radiograph) else reading.decode(given)
    out.add(ids=radiograph.ids, width=radiograph.width, height=radiograph.height)
    out.add(warnings=tuple(f"reading: {words}" for words in radiograph.decoding.warnings))
    findings = loaded.findings(radiograph, masks=masks)
    result = replace(out.result, status="analysed", findings=findings)
    if sink is not None:
        analysed = Analysed(
            stored=stored, radiograph=radiograph, result=result, pipeline=loaded.info
        )
        try:
            result = sink(analysed).light()
        except OSError as error:
            raise NotKept.of(error) from error
    out.result = result


def _open(source: Item, out: _Answer, reading: Reading) -> StoredImage:
    data = source.load()
    out.add(content_sha256=hashlib.sha256(data).hexdigest())
    stored = reading.open((source.name, data))
    out.add(ids=stored.ids)
    return stored


def name_of(source: Input) -> str:
    return source.source if isinstance(source, Radiograph) else source.name


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
    if isinstance(error, OSError) and error.strerror:  # its file's name may tell of a patient
        return f"system: {error.strerror}. Run again when that is mended."
    # Messages of foreign exceptions may quote the input; their type is enough here.
    return f"internal: {type(error).__name__}; please report it with the file's properties."
