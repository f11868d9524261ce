"""What a run says about each of its inputs, and the one JSON form of it: hilum.findings/1.

Knows no reader, no model and no file. docs/findings-json.md documents the form.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from hilum.core.findings import Findings, StudyResult
from hilum.core.manifest import OperatingPoint
from hilum.core.radiograph import Identifiers

SCHEMA = "hilum.findings/1"
Status = Literal["analysed", "refused", "failed"]


@dataclass(frozen=True, slots=True)
class ImageResult:
    """The answer to one input. Only "analysed" has findings; the others have a reason.

    `refused` is about the input and stays so; `failed` is about us (a crash, NaN) and may be
    tried again. Neither is ever the same as a normal radiograph.
    """

    name: str  # as given: a path, "zip!member"
    status: Status
    reason: str | None = None  # "code: what came. What to do."
    findings: Findings | None = None
    ids: Identifiers = field(default_factory=Identifiers)
    width: int | None = None
    height: int | None = None
    seconds: float = 0.0
    content_sha256: str | None = None
    masks: Mapping[str, str] = field(default_factory=dict)  # name -> file, once written
    extras: Mapping[str, str] = field(default_factory=dict)  # other files, once written

    def to_json(self) -> dict[str, Any]:
        """The entry of `images` in findings.json."""
        found = self.findings
        return {
            "path": self.name,
            "sop_instance_uid": self.ids.sop_instance_uid,
            "study_instance_uid": self.ids.study_instance_uid,
            "status": self.status,
            "reason": self.reason,
            "width": self.width,
            "height": self.height,
            "scores": _rounded(found.image_scores) if found else {},
            "findings": _boxes_to_json(found) if found else [],
            "masks": dict(self.masks),
            "seconds": round(self.seconds, 4),
        }

    def to_record(self) -> dict[str, Any]:
        """`to_json` and what else a resumed run needs; the pictures are files by now."""
        more = {"content_sha256": self.content_sha256, "extras": dict(self.extras)}
        return self.to_json() | more

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> ImageResult:
        """The inverse of `to_record`, without the pixels of masks."""
        found = _findings_from_json(record) if record["status"] == "analysed" else None
        return cls(
            name=record["path"],
            status=record["status"],
            reason=record["reason"],
            findings=found,
            ids=Identifiers(
                study_instance_uid=record["study_instance_uid"],
                sop_instance_uid=record["sop_instance_uid"],
            ),
            width=record["width"],
            height=record["height"],
            seconds=record["seconds"],
            content_sha256=record["content_sha256"],
            masks=record["masks"],
            extras=record["extras"],
        )

    def light(self) -> ImageResult:
        """The same without mask pixels, which weigh megabytes."""
        if self.findings is None or not self.findings.masks:
            return self
        return replace(self, findings=replace(self.findings, masks={}))


@dataclass(frozen=True, slots=True)
class PipelineInfo:
    """Which pipeline answered: name, version and (name, SHA-256) of each bundle.

    `operating_points` are those that stand beside the scores, by name: the one of score "box"
    decides which boxes are shown, the others only mark image and study scores.
    """

    name: str
    version: str
    bundles: tuple[tuple[str, str], ...]
    operating_points: Mapping[str, OperatingPoint] = field(default_factory=dict)
    calibrated_on: str = ""  # what scores were made probabilities on; "" = they are none

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "version": self.version,
            "bundles": [{"name": name, "sha256": sha256} for name, sha256 in self.bundles],
            "operating_points": {n: p.to_json() for n, p in self.operating_points.items()},
            "calibrated_on": self.calibrated_on,
        }


@dataclass(frozen=True, slots=True)
class RunResult:
    """All answers of a run, in the order of its inputs."""

    pipeline: PipelineInfo
    images: tuple[ImageResult, ...]
    studies: tuple[StudyResult, ...]

    def __len__(self) -> int:
        return len(self.images)

    def __iter__(self) -> Iterator[ImageResult]:
        return iter(self.images)

    def __getitem__(self, index: int) -> ImageResult:
        return self.images[index]

    @property
    def counts(self) -> dict[str, int]:
        """Images by status."""
        counts = dict.fromkeys(("analysed", "refused", "failed"), 0)
        for image in self.images:
            counts[image.status] += 1
        return counts

    def to_json(self) -> dict[str, Any]:
        """The whole of findings.json."""
        return {
            "schema": SCHEMA,
            "pipeline": self.pipeline.to_json(),
            "images": [image.to_json() for image in self.images],
            "studies": [
                {
                    "study_instance_uid": study.study_instance_uid,
                    "scores": _rounded(study.scores),
                    "images": list(study.images),
                }
                for study in self.studies
            ],
        }


def group_studies(images: Sequence[ImageResult]) -> list[tuple[str | None, tuple[int, ...]]]:
    """Indices of analysed images by study, in order of appearance.

    Images without a study identifier stand alone: nothing says that they belong together.
    """
    groups: dict[str, list[int]] = {}
    order: list[tuple[str | None, list[int]]] = []
    for index, image in enumerate(images):
        if image.status != "analysed":
            continue
        uid = image.ids.study_instance_uid
        if uid is None:
            order.append((None, [index]))
        elif uid in groups:
            groups[uid].append(index)
        else:
            groups[uid] = [index]
            order.append((uid, groups[uid]))
    return [(uid, tuple(indices)) for uid, indices in order]


def _rounded(scores: Mapping[str, float]) -> dict[str, float]:
    return {name: round(float(score), 6) for name, score in scores.items()}


def _boxes_to_json(found: Findings) -> list[dict[str, Any]]:
    rows = zip(found.labels, found.scores, found.boxes_px, strict=True)
    return [
        {
            "label": label,
            "score": round(float(score), 6),
            "box_px": [round(float(edge), 2) for edge in box],
        }
        for label, score, box in rows
    ]


def _findings_from_json(record: Mapping[str, Any]) -> Findings:
    boxes = record["findings"]
    return Findings(
        width=record["width"],
        height=record["height"],
        boxes_px=np.array([box["box_px"] for box in boxes], np.float32).reshape(-1, 4),
        scores=np.array([box["score"] for box in boxes], np.float32),
        labels=tuple(box["label"] for box in boxes),
        image_scores=record["scores"],
    )
