"""What a run says about each of its inputs, and the one JSON form of it: hilum.findings/1.

Knows no reader and no model. docs/findings-json.md documents the form.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from hilum.core.documents import parse_json, read_document
from hilum.core.errors import DataError, HilumError
from hilum.core.findings import Findings, StudyResult
from hilum.core.findings_schema import SCHEMA, check_document, check_entry
from hilum.core.labels import ANATOMY
from hilum.core.manifest import OperatingPoint
from hilum.core.radiograph import Identifiers, Window

FINDINGS = "findings.json"
Status = Literal["analysed", "refused", "failed"]
_STATUS: dict[str, Status] = {"analysed": "analysed", "refused": "refused", "failed": "failed"}


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
    warnings: tuple[str, ...] = ()  # what a reader should know of an analysed image
    outlines: Mapping[str, str] = field(default_factory=dict)  # mask -> SVG path, source pixels
    masks: Mapping[str, str] = field(default_factory=dict)  # mask -> file, once written
    files: Mapping[str, str] = field(default_factory=dict)  # other files, once written

    @property
    def marked(self) -> tuple[str, ...]:
        """`Findings.marked`, also where masks are gone and their outlines are left."""
        known = self.findings.marked if self.findings else ()
        outlined = (name for name, path in self.outlines.items() if path and name not in ANATOMY)
        return (*known, *(name for name in outlined if name not in known))

    def to_json(self) -> dict[str, Any]:
        """The entry of `images` in findings.json."""
        findings = self.findings
        return {
            "path": self.name,
            "content_sha256": self.content_sha256,
            "sop_instance_uid": self.ids.sop_instance_uid,
            "series_instance_uid": self.ids.series_instance_uid,
            "study_instance_uid": self.ids.study_instance_uid,
            "status": self.status,
            "reason": self.reason,
            "warnings": list(self.warnings),
            "width": self.width,
            "height": self.height,
            "scores": _rounded(findings.image_scores) if findings else {},
            "findings": _boxes_to_json(findings) if findings else [],
            "outlines": dict(self.outlines),
            "masks": dict(self.masks),
            "files": dict(self.files),
            "declined": dict(findings.declined) if findings else {},
            "seconds": round(self.seconds, 4),
        }

    def to_record(self) -> dict[str, Any]:
        """`to_json` and the patient, who stands in no result file, for a resumed run."""
        return self.to_json() | {"patient_id": self.ids.patient_id}

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> ImageResult:
        """The inverse of `to_json` and `to_record`, without the pixels of masks.

        Raises:
            DataError: an entry of another form.
        """
        check_entry(entry)
        try:
            return cls._of(entry)
        except (KeyError, HilumError) as error:
            raise DataError(f"an image of another form: {type(error).__name__} {error}") from None

    @classmethod
    def _of(cls, entry: Mapping[str, Any]) -> ImageResult:
        """Of a checked entry."""
        return cls(
            name=entry["path"],
            status=_STATUS[entry["status"]],
            reason=entry["reason"],
            findings=_findings_from_json(entry) if entry["status"] == "analysed" else None,
            ids=Identifiers(
                patient_id=entry.get("patient_id"),
                study_instance_uid=entry["study_instance_uid"],
                series_instance_uid=entry["series_instance_uid"],
                sop_instance_uid=entry["sop_instance_uid"],
            ),
            width=entry["width"],
            height=entry["height"],
            seconds=entry["seconds"],
            content_sha256=entry["content_sha256"],
            warnings=tuple(entry["warnings"]),
            outlines=entry["outlines"],
            masks=entry["masks"],
            files=entry["files"],
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
    fingerprint: str = ""  # SHA-256 of everything that decides a result
    window: Window | None = None  # with which images were read; None: as each file says

    def to_json(self) -> dict[str, Any]:
        own = {
            "name": self.name,
            "version": self.version,
            "bundles": [{"name": name, "sha256": sha256} for name, sha256 in self.bundles],
            "operating_points": {n: p.to_json() for n, p in self.operating_points.items()},
            "calibrated_on": self.calibrated_on,
            "fingerprint": self.fingerprint,
        }
        return own if self.window is None else own | {"window": list(self.window)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> PipelineInfo:
        """The inverse of `to_json`.

        Raises:
            KeyError, ValueError: of another form; `check_document` says what.
        """
        points = value["operating_points"].items()
        return cls(
            name=value["name"],
            version=value["version"],
            bundles=tuple((one["name"], one["sha256"]) for one in value["bundles"]),
            operating_points={n: OperatingPoint.model_validate(p) for n, p in points},
            calibrated_on=value["calibrated_on"],
            fingerprint=value.get("fingerprint", ""),
            window=tuple(value["window"]) if value.get("window") else None,
        )


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
        """Images by status, and how many have warnings."""
        counts = dict.fromkeys((*_STATUS, "warned"), 0)
        for image in self.images:
            counts[image.status] += 1
            counts["warned"] += bool(image.warnings)
        return counts

    def to_json(self) -> dict[str, Any]:
        """The whole of findings.json."""
        return {
            "schema": SCHEMA,
            "pipeline": self.pipeline.to_json(),
            "counts": self.counts,
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

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> RunResult:
        """The inverse of `to_json`, without the pixels of masks.

        Raises:
            DataError: another schema, or an entry of another form.
        """
        check_document(value)
        try:
            images = tuple(ImageResult._of(entry) for entry in value["images"])
            studies = tuple(
                StudyResult(s["study_instance_uid"], s["scores"], tuple(s["images"]))
                for s in value["studies"]
            )
            return cls(PipelineInfo.from_json(value["pipeline"]), images, studies)
        except (KeyError, TypeError, ValueError, HilumError) as error:
            raise DataError(f"no findings of {SCHEMA}: {type(error).__name__} {error}") from None


def load_results(folder: str | os.PathLike[str]) -> RunResult:
    """What a result folder says, read from its findings.json.

    Raises:
        DataError: there is none, or it is damaged.
    """
    path = Path(folder) / FINDINGS
    if not path.is_file():
        raise DataError(f"{path}: there is no such file; name a folder of `hilum predict`")
    value = read_document(path, parse_json, DataError)
    try:
        return RunResult.from_json(value)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None


def masks_of(result: ImageResult, root: str | os.PathLike[str]) -> dict[str, NDArray[np.bool_]]:
    """(H, W) masks of an image by name, from memory or from the files that a run wrote.

    Args:
        root: the result folder, which the files are relative to.

    Raises:
        DataError: a file outside the folder, missing, damaged or of another size.
    """
    if result.findings is not None and result.findings.masks:
        return dict(result.findings.masks)
    shape = result.height, result.width
    return {name: read_mask(Path(root), file, shape) for name, file in result.masks.items()}


def read_mask(
    root: Path, file: str, shape: tuple[int | None, int | None] | None = None
) -> NDArray[np.bool_]:
    """One mask file of a result folder; what is not 0 is set.

    Raises:
        DataError: see `masks_of`.
    """
    path = root / file
    if not path.resolve().is_relative_to(root.resolve()):
        raise DataError(f"mask {file!r} lies outside {root}; refused")
    content = np.fromfile(path, np.uint8) if path.is_file() else np.zeros(0, np.uint8)
    mask = cv2.imdecode(content, cv2.IMREAD_GRAYSCALE) if content.size else None
    if mask is None:
        raise DataError(
            f"{path}: missing or no image; masks lie beside findings.json: was that moved, or "
            "read from a pipe? Else run `hilum predict --fresh` again"
        )
    if shape is not None and mask.shape != shape:
        raise DataError(f"{path}: {mask.shape} px; needed: those of its image, {shape}")
    return np.asarray(mask != 0)


def conflicting(images: Sequence[ImageResult]) -> tuple[ImageResult, ...]:
    """The same images, warned where their identifiers cannot all be true: one SOPInstanceUID of
    different content, one study of several patients. No identifier of a patient is written."""
    contents, patients = defaultdict[str, set[str]](set), defaultdict[str, set[str]](set)
    for image in images:
        ids = image.ids
        if ids.sop_instance_uid and image.content_sha256:
            contents[ids.sop_instance_uid].add(image.content_sha256)
        if ids.study_instance_uid and ids.patient_id:
            patients[ids.study_instance_uid].add(ids.patient_id)
    return tuple(_warned(image, contents, patients) for image in images)


def _warned(
    image: ImageResult, contents: Mapping[str, set[str]], patients: Mapping[str, set[str]]
) -> ImageResult:
    warnings: tuple[str, ...] = ()
    if len(contents.get(image.ids.sop_instance_uid or "", ())) > 1:
        warnings += ("identity: another file here has its SOPInstanceUID and differs from it",)
    if len(patients.get(image.ids.study_instance_uid or "", ())) > 1:
        warnings += ("identity: its study holds images of several patients here",)
    return replace(image, warnings=image.warnings + warnings) if warnings else image


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


def _boxes_to_json(findings: Findings) -> list[dict[str, Any]]:
    rows = zip(findings.ids, findings.labels, findings.scores, findings.boxes_px, strict=True)
    return [
        {
            "id": name,
            "label": label,
            "score": round(float(score), 6),
            "box_px": [round(float(edge), 2) for edge in box],
        }
        for name, label, score, box in rows
    ]


def _findings_from_json(record: Mapping[str, Any]) -> Findings:
    boxes = record["findings"]
    return Findings(
        width=_side(record["width"]),
        height=_side(record["height"]),
        boxes_px=np.array([box["box_px"] for box in boxes], np.float32).reshape(-1, 4),
        scores=np.array([box["score"] for box in boxes], np.float32),
        labels=tuple(box["label"] for box in boxes),
        image_scores=record["scores"],
        declined=record["declined"],
    )


def _side(value: int | None) -> int:
    if value is None:
        raise DataError("an analysed image without width and height")
    return value
