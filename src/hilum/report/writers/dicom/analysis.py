"""One analysed image with all that its DICOM objects are made of, and who they are.

Identifiers follow from the source image (its UID and its bytes: two may have one UID), the pipeline
and the kind of object, so that a retry gives the same object and an archive never holds a result
twice, nor two under one UID. Knows no object.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from hilum.core.findings import Findings
from hilum.core.geometry import clip_boxes
from hilum.core.radiograph import Radiograph
from hilum.core.results import PipelineInfo
from hilum.dicom.stored import OWN_MARK

NOTICE = "AI result, not for diagnosis"
ADVICE = "Research use only, not a medical device: a qualified reader decides."
VERSION = version("hilum")
REVISION = 2  # of what these writers write; a new one is a new object
TIMES = (
    *("Series{}", "Content{}", "InstanceCreation{}"),
    *("PresentationCreation{}", "{}OfSecondaryCapture"),
)
SERIES_NUMBERS = {"sr": 9101, "sr-comprehensive": 9102, "seg": 9103, "gsps": 9104, "sc": 9105}


def derived_uid(*names: object) -> str:
    """A UID that follows from names; UUID-derived ones need no registration (PS3.5 B.2)."""
    digest = hashlib.sha256(json.dumps(names).encode()).digest()
    return f"2.25.{uuid.UUID(bytes=digest[:16], version=5).int}"


@dataclass(frozen=True, slots=True, eq=False)
class Analysis:
    """What every writer takes."""

    content: str  # SHA-256 of the source's bytes
    source: Dataset  # image and
    patient: Dataset  # patient of source.py
    left_out: tuple[str, ...]  # of the source, since invalid
    radiograph: Radiograph
    findings: Findings
    pipeline: PipelineInfo
    created: datetime

    @property
    def pipeline_hash(self) -> str:
        """SHA-256 of what is known of the pipeline: steps, bundles, points, calibration."""
        text = json.dumps(self.pipeline.to_json(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def uid(self, *names: object) -> str:
        """The UID of something about this image by this pipeline; the same at every call."""
        source = self.source.SOPInstanceUID, self.content
        return derived_uid(REVISION, *source, self.pipeline_hash, *names)

    def tracking(self, index: int) -> tuple[str, str]:
        """Identifier and UID of a finding, the same in every kind of object."""
        label = self.findings.labels[index]
        return f"{label} {index + 1}", self.uid("finding", label, index)

    def corners(self, index: int) -> NDArray[np.float64]:
        """(5, 2) closed outline of a box, column and row. DICOM counts from pixel edges, as we."""
        boxes = clip_boxes(self.findings.boxes_px, self.findings.width, self.findings.height)
        x1, y1, x2, y2 = boxes[index].astype(np.float64).round(2)  # as findings.json has them
        return np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2], [x1, y1]])

    def series(self, kind: str) -> dict[str, Any]:
        """Keyword arguments of every highdicom object: a new series in the source's study."""
        return {
            "series_instance_uid": self.uid(kind, "series"),
            "sop_instance_uid": self.uid(kind),
            "series_number": SERIES_NUMBERS[kind],
            "instance_number": 1,
            "series_description": f"{OWN_MARK} {kind}: {NOTICE}",
            "manufacturer": OWN_MARK,
            "manufacturer_model_name": f"{OWN_MARK} {VERSION}",
            "software_versions": VERSION,
            "device_serial_number": self.pipeline_hash[:16],
            "specific_character_set": "ISO_IR 192",
        }

    def finish(self, ds: Dataset) -> Dataset:
        """Set patient and study, and the times that highdicom takes from the clock."""
        for element in self.patient:
            ds[element.tag] = element
        day, time = self.created.strftime("%Y%m%d"), self.created.strftime("%H%M%S")
        for when in TIMES:
            if when == TIMES[0] or when.format("Date") in ds:
                setattr(ds, when.format("Date"), day)
                setattr(ds, when.format("Time"), time)
        for item in ds.get("ContributingEquipmentSequence", ()):
            if "ContributionDateTime" in item:
                item.ContributionDateTime = day + time
        return ds
