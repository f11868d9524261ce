"""Results as DICOM objects, by highdicom (`pip install 'hilum[dicom]'`).

source    header of the source image -> what its results inherit, all of it valid
display   its grey scale, for the presentation state
analysis  one analysed image and the identifiers of its objects
codes     labels, scores and pipelines as coded concepts
writers   what the registry of report/writers names
sr        structured report, TID 1500
seg       masks as a binary segmentation
gsps      boxes as a grayscale softcopy presentation state
sc        secondary capture with burned-in boxes

Every object opens a new series in the study of its source and never changes the source.
docs/dicom-results.md documents them.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable, Iterable
from datetime import datetime
from io import BytesIO
from typing import Any

from pydicom.dataset import Dataset
from pydicom.filewriter import dcmwrite

from hilum.core.errors import ConfigError, NotWritten
from hilum.core.extras import require
from hilum.core.options import unknown
from hilum.dicom.analysed import Analysed
from hilum.report.writers.dicom.analysis import Analysis
from hilum.report.writers.dicom.source import source_of

_HERE = "hilum.report.writers.dicom"
KINDS = {
    "sr": f"{_HERE}.sr:comprehensive_3d",
    "sr-comprehensive": f"{_HERE}.sr:comprehensive",
    "seg": f"{_HERE}.seg:segmentation",
    "gsps": f"{_HERE}.gsps:presentation_state",
    "sc": f"{_HERE}.sc:secondary_capture",
}


def dicom_objects(
    image: Analysed, kinds: Iterable[str], created: datetime | None = None
) -> dict[str, Dataset]:
    """One DICOM object of each kind about an analysed image.

    Args:
        image: its masks are in memory.
        kinds: names of `KINDS`.
        created: when the image was analysed; now by default. With it a retry is the same, byte
            by byte; the UIDs are the same in any case.

    Raises:
        NotWritten: the source is no DICOM image or lacks valid identifiers, it was not
            analysed, or one of the kinds cannot be made of it. No other kind is lost with it
            when asked for by itself.
        ConfigError: a kind that is none.
        MissingExtraError: highdicom is not installed.
    """
    require("dicom")
    builders = {kind: _builder(kind) for kind in kinds}
    result = image.result
    if result.status != "analysed" or result.findings is None:
        raise NotWritten(f"The image is {result.status}; needed: one that is analysed.")
    source = source_of(image.stored, image.radiograph)
    assert image.stored is not None  # else its source was refused
    logging.getLogger("highdicom").setLevel(logging.WARNING)  # its notes quote identifiers
    analysis = Analysis(
        content=image.stored.sha256,
        source=source.image,
        patient=source.patient,
        left_out=source.left_out,
        radiograph=image.radiograph,
        findings=result.findings,
        pipeline=image.pipeline,
        created=created or datetime.now(),
    )
    return {kind: build(analysis) for kind, build in builders.items()}


def to_bytes(ds: Dataset) -> bytes:
    """The DICOM file (PS3.10) of an object."""
    out = BytesIO()
    dcmwrite(out, ds, enforce_file_format=True)
    return out.getvalue()


def _builder(kind: str) -> Callable[[Analysis], Dataset]:
    if kind not in KINDS:
        raise ConfigError(unknown("kind of DICOM object", kind, KINDS))
    module, name = KINDS[kind].split(":")
    builder: Any = getattr(importlib.import_module(module), name)
    return builder  # type: ignore[no-any-return]
