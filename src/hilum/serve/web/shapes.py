"""What the REST interface takes and answers: the models of its OpenAPI document."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

State = Literal["received", "checked", "analysed", "refused", "failed"]
Priority = Literal["routine", "high", "stat"]
Verdict = Literal["accept", "reject", "redraw", "add", "comment"]
Coordinate = Annotated[float, Field(ge=0, le=1e5)]  # px of the image
Box = tuple[Coordinate, Coordinate, Coordinate, Coordinate]
NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"


class Asked(BaseModel):
    """Of every body that is sent to us: unknown keys are errors."""

    model_config = ConfigDict(extra="forbid")


class Login(Asked):
    name: str = Field(max_length=200, examples=["anna"])
    password: str = Field(max_length=1000, examples=["correct horse"])


class Analyse(Asked):
    pipeline: str = Field(pattern=NAME, examples=["default"])


class Change(Asked):
    priority: Priority = Field(examples=["stat"])


class Remark(Asked):
    """What a reader says of a finding, or of the image (`finding` null): `accept` and `reject`
    all that was found, `redraw` it anew, `add` what was missed, `comment`."""

    verdict: Verdict = Field(examples=["redraw"])
    pipeline: str | None = Field(default=None, pattern=NAME)
    finding: str | None = Field(default=None, max_length=64)
    boxes: list[Box] | None = Field(default=None, max_length=100, examples=[[[10, 20, 110, 90]]])
    label: str | None = Field(default=None, max_length=64, examples=["opacity"])
    comment: str | None = Field(default=None, max_length=4000)

    @model_validator(mode="after")
    def _fits(self) -> Remark:
        if self.verdict == "redraw" and self.boxes is None:
            raise ValueError("redraw needs `boxes`: [[x1, y1, x2, y2], ...], none: []")
        if self.verdict == "add" and (not self.boxes or self.finding is not None):
            raise ValueError("add needs `boxes` and no `finding`: it is about what was missed")
        if self.verdict not in ("redraw", "add") and self.boxes:
            raise ValueError("boxes go with the verdicts redraw and add")
        if self.verdict == "comment" and not (self.comment or "").strip():
            raise ValueError("comment needs `comment`")
        for x1, y1, x2, y2 in self.boxes or ():
            if not (x1 < x2 and y1 < y2):
                raise ValueError("a box is [x1, y1, x2, y2] with x1 < x2 and y1 < y2")
        return self


class Feedback(BaseModel):
    by: str
    at: float
    verdict: Verdict
    pipeline: str | None
    finding: str | None
    boxes: list[list[float]] | None
    label: str | None
    comment: str | None


class Who(BaseModel):
    name: str
    role: Literal["reader", "admin"]


class Point(BaseModel):
    name: str
    threshold: float
    aim: str
    meaning: str
    score: str
    chosen_on: str
    sensitivity: float | None
    false_marks_per_100: float | None


class Ways(BaseModel):
    """How one may log in."""

    password: bool  # some local user is known
    provider: str | None  # host of the OpenID provider; /session/oidc leads there


class PipelineStatus(BaseModel):
    name: str
    about: str
    fingerprint: str | None
    default: bool
    outputs: list[str]
    operating_points: list[Point]
    problem: str | None


class Disk(BaseModel):
    used: int
    limit: int | None


class Status(BaseModel):
    version: str
    notice: str
    pipelines: list[PipelineStatus]
    disk: Disk | None
    user: Who | None


class ReceivedImage(BaseModel):
    id: str
    state: State
    name: str | None
    duplicate: bool


class RefusedFile(BaseModel):
    name: str
    problem: str


class Receipts(BaseModel):
    images: list[ReceivedImage]
    refused: list[RefusedFile]


class Patient(BaseModel):
    id: str | None
    name: str | None


class DeliveryCounts(BaseModel):
    waiting: int = 0
    delivered: int = 0
    dead: int = 0


class Row(BaseModel):
    """What a list and a single image have in common."""

    id: str
    study: str | None  # hash of its UID
    name: str | None
    state: State
    reason: str | None
    planned: (
        bool  # an analysis that will show is still to be done; else a checked image is kept only
    )
    received: float
    analysed: float | None
    origin: str
    modality: str | None
    view: str | None
    priority: Priority
    score: float | None
    finding: bool | None
    patient: Patient | None
    study_date: str | None
    pipeline: str | None
    prior: str | None


class Summary(Row):
    deliveries: DeliveryCounts
    feedback: int


class Page(BaseModel):
    items: list[Summary]
    total: int
    page: int
    per_page: int


class Moment(BaseModel):
    at: float
    what: str


class Delivery(BaseModel):
    id: str
    destination: str
    object: str
    state: str
    reason: str | None


class Heat(BaseModel):
    """What a score rests on: where hiding a part of the image lowers it."""

    bundle: str  # whose score
    method: str
    score: str
    value: float  # of the whole image
    strongest: float  # how far hiding a part lowers it at most
    positions: int  # of the hidden part
    map: list[list[int]]  # rows over the whole image, 0 to 255; 255 is the strongest


class Detail(Row):
    size: tuple[int, int] | None
    spacing: tuple[float, float] | None
    inverted: bool
    warnings: list[str]  # of the image among the others; what a pipeline warns of is in its result
    results: dict[str, dict[str, Any]]
    history: list[Moment]
    feedback: list[Feedback]
    deliveries: list[Delivery]


class KnownUser(BaseModel):
    name: str
    role: Literal["reader", "admin"]
    configured: bool  # in the configuration; else by `hilum users`


class RuleInForce(BaseModel):
    when: dict[str, str]  # conditions, patterns; none: everything
    pipelines: list[str]  # the first one is shown; none: images are kept only
    shadow: list[str]
    destinations: list[str]
    priority: Priority
    reached: bool  # no earlier rule takes all that fits it


class DestinationState(BaseModel):
    name: str
    address: str
    objects: list[str]
    deidentified: bool
    verified_by: str
    deliveries: DeliveryCounts
    last_delivered: float | None
    waits_s: float | None  # how long the oldest that waits has been tried
    reason: str | None  # why it waits


class DeadLetter(BaseModel):
    id: str
    image: str
    destination: str
    object: str
    reason: str | None
    changed: float


class Administration(BaseModel):
    users: list[KnownUser]
    provider: str | None  # host of the OpenID provider, whose users are not listed
    rules: list[RuleInForce]  # in their order; the first one that fits decides
    destinations: list[DestinationState]
    dead_letters: list[DeadLetter]  # the newest


class SentAgain(BaseModel):
    """Dead letters that are sent again."""

    deliveries: int


class Trail(BaseModel):
    """Of the audit trail."""

    whole: bool
    entries: int | None
    head: str | None  # note it elsewhere, so that a cut shows
    problem: str | None
