"""What a findings.json may hold (hilum.findings/1), checked before anything of it is used.

Every reader of such a document (results, prediction files, the journal) asks here, so that none of
them takes what another refuses. Keys may be missing where a reader can do without; unknown ones are
of a newer hilum, and pass. docs/findings-json.md documents the form.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from hilum.core.errors import DataError
from hilum.core.geometry import FARTHEST_PX
from hilum.core.manifest import OperatingPoint
from hilum.core.options import checked

SCHEMA = "hilum.findings/1"
_PATH_DATA = re.compile(r"[MLHVZCQmlhvzcq0-9 ,.\-]*")


def _inside(file: str) -> str:
    """The page links it, and masks are read from it."""
    parts = re.split(r"[/\\]", file)
    if not parts[0] or ".." in parts or ":" in file:
        raise ValueError(f"file {file!r} lies outside the result folder; needed: one inside")
    return file


def _drawn(outline: str) -> str:
    if not _PATH_DATA.fullmatch(outline):
        raise ValueError(f"outline {outline[:40]!r}; needed: SVG path data, such as M0 0l5 3-2 7z")
    return outline


Name = Annotated[str, Field(min_length=1)]
Score = Annotated[float, Field(ge=0, le=1)]
Edge = Annotated[float, Field(ge=-FARTHEST_PX, le=FARTHEST_PX)]
Side = Annotated[int, Field(ge=1, le=FARTHEST_PX)]
Row = Annotated[int, Field(ge=0)]
File = Annotated[str, AfterValidator(_inside)]
Outline = Annotated[str, AfterValidator(_drawn)]


class _Form(BaseModel):
    """No texts for numbers, no truth values for numbers, no NaN."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)


class BoxForm(_Form):
    """One finding."""

    label: Name
    score: Score
    box_px: list[Edge] = Field(min_length=4, max_length=4)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        x1, y1, x2, y2 = self.box_px
        if x2 < x1 or y2 < y1:
            raise ValueError(f"box {self.box_px} is reversed; needed: x1 <= x2 and y1 <= y2")
        return self


class EntryForm(_Form):
    """One image."""

    path: Name
    status: Literal["analysed", "refused", "failed"] = "analysed"
    findings: list[BoxForm]
    scores: dict[Name, Score]
    content_sha256: str | None = None
    sop_instance_uid: str | None = None
    series_instance_uid: str | None = None
    study_instance_uid: str | None = None
    patient_id: str | None = None
    reason: str | None = None
    warnings: list[str] = Field(default_factory=list)
    width: Side | None = None
    height: Side | None = None
    outlines: dict[str, Outline] = Field(default_factory=dict)
    masks: dict[str, File] = Field(default_factory=dict)
    files: dict[str, File] = Field(default_factory=dict)
    declined: dict[str, str] = Field(default_factory=dict)
    seconds: float = Field(default=0.0, ge=0)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.status != "analysed" and (self.findings or self.scores):
            raise ValueError(f"{self.path!r} is {self.status} and has findings; it has no answer")
        if (self.width is None) != (self.height is None):
            raise ValueError(f"{self.path!r} has one side; needed: width and height, or neither")
        return self


class StudyForm(_Form):
    """One study."""

    study_instance_uid: str | None
    scores: dict[Name, Score]
    images: list[Row]


class PipelineForm(_Form):
    """Who answered."""

    name: str = ""
    version: str = ""
    bundles: list[dict[str, str]] = Field(default_factory=list)
    operating_points: dict[str, OperatingPoint] = Field(default_factory=dict)
    calibrated_on: str = ""
    fingerprint: str = ""
    window: list[float] | None = Field(default=None, min_length=2, max_length=2)


class DocumentForm(_Form):
    """The whole."""

    schema_: Literal["hilum.findings/1"] = Field(alias="schema")
    pipeline: PipelineForm | None = None
    counts: dict[str, int] | None = None
    images: list[EntryForm]
    studies: list[StudyForm] | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for study in self.studies or ():
            beyond = [row for row in study.images if row >= len(self.images)]
            if beyond:
                raise ValueError(
                    f"a study has image {beyond[0]}; there are {len(self.images)}, from 0"
                )
        if self.counts is not None:
            of = [image.status for image in self.images]
            for status in ("analysed", "refused", "failed"):
                stated, there = self.counts.get(status, 0), of.count(status)
                if stated != there:
                    raise ValueError(
                        f"its counts say {stated} {status}, {there} are there: images were "
                        "lost or added"
                    )
        return self


def check_document(value: Any) -> Mapping[str, Any]:
    """The same, if it is a findings.json.

    Raises:
        DataError: what it holds that no findings.json does, and where.
    """
    if not isinstance(value, dict) or value.get("schema") != SCHEMA:
        schema = value.get("schema") if isinstance(value, dict) else None
        raise DataError(f"schema {str(schema)[:40]!r}; needed: {SCHEMA}")
    checked(DocumentForm, value, f"no findings of {SCHEMA}", DataError)
    return value


def check_entry(value: Any) -> Mapping[str, Any]:
    """The same, if it is an image's entry, or its record in a journal.

    Raises:
        DataError: as `check_document`.
    """
    checked(EntryForm, value, f"no image of {SCHEMA}", DataError)
    entry: Mapping[str, Any] = value
    return entry
