"""One analysed image with its source: what every writer of results takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from hilum.core.radiograph import Radiograph
    from hilum.core.results import ImageResult, PipelineInfo
    from hilum.dicom.stored import StoredImage


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysed:
    """What was found on one image, by which pipeline, and what it was found on."""

    stored: StoredImage | None  # None for a radiograph made in memory
    radiograph: Radiograph
    result: ImageResult  # its findings hold masks at source size
    pipeline: PipelineInfo


# Called in the worker with each analysed image; may write files, and names them in the result.
Sink: TypeAlias = Callable[[Analysed], "ImageResult"]
