"""Tables of the service. Times are seconds since 1970 (UTC); ids are hexadecimal hashes.

A change of a table needs a migration (`migrations/versions`); a test compares the two.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, String, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

ROUTINE, HIGH, STAT = 0, 1, 2
PRIORITIES = {"routine": ROUTINE, "high": HIGH, "stat": STAT}

Id = String(32)


class Base(DeclarativeBase):
    """Of all tables."""

    type_annotation_map = {dict[str, Any]: JSON, list[Any]: JSON, str: String(1024)}  # noqa: RUF012


class Image(Base):
    """One received object. What its header says is filled in when it is checked."""

    __tablename__ = "images"
    __table_args__ = (
        Index("images_state", "state", "received"),
        Index("images_received", "received"),
    )

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    content: Mapped[str] = mapped_column(String(64))  # SHA-256 of the data set
    bytes: Mapped[int]
    state: Mapped[str] = mapped_column(String(16))
    reason: Mapped[str | None] = mapped_column(Text)
    received: Mapped[float]
    analysed: Mapped[float | None]
    origin: Mapped[str] = mapped_column(String(16))
    sender: Mapped[str | None]  # AE title or user
    name: Mapped[str | None]  # of an uploaded file
    wanted: Mapped[str | None] = mapped_column(String(64))  # pipeline asked for by the sender
    priority: Mapped[int] = mapped_column(default=ROUTINE)
    sop_class: Mapped[str | None] = mapped_column(String(64))
    sop: Mapped[str | None] = mapped_column(index=True)
    series: Mapped[str | None]
    study: Mapped[str | None] = mapped_column(index=True)
    patient: Mapped[str | None] = mapped_column(index=True)
    patient_name: Mapped[str | None]
    study_date: Mapped[str | None] = mapped_column(String(32))
    accession: Mapped[str | None]
    modality: Mapped[str | None] = mapped_column(String(32))
    view: Mapped[str | None] = mapped_column(String(32))
    manufacturer: Mapped[str | None]
    syntax: Mapped[str | None] = mapped_column(String(64))
    rows: Mapped[int | None]
    columns: Mapped[int | None]
    spacing: Mapped[list[Any] | None] = mapped_column(JSON)  # row, column in mm
    inverted: Mapped[bool] = mapped_column(default=False)
    pipeline: Mapped[str | None] = mapped_column(String(64))  # whose score is shown
    score: Mapped[float | None] = mapped_column(index=True)
    finding: Mapped[bool | None]
    prior: Mapped[str | None] = mapped_column(Id)  # an earlier image of the patient


class Result(Base):
    """What one pipeline said of one image; its files lie in the store under its id."""

    __tablename__ = "results"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    image: Mapped[str] = mapped_column(ForeignKey("images.id"), index=True)
    pipeline: Mapped[str] = mapped_column(String(64))
    fingerprint: Mapped[str] = mapped_column(String(64))
    made: Mapped[float]
    bytes: Mapped[int]
    shadow: Mapped[bool] = mapped_column(default=False)
    document: Mapped[dict[str, Any]] = mapped_column(JSON)  # hilum.findings/1
    files: Mapped[dict[str, Any]] = mapped_column(JSON)  # "sr": "sr.dcm", "mask-lungs": ...


class Delivery(Base):
    """One object for one destination: waiting -> delivered | dead."""

    __tablename__ = "deliveries"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    image: Mapped[str] = mapped_column(ForeignKey("images.id"), index=True)
    result: Mapped[str | None] = mapped_column(Id)  # None: the image itself
    destination: Mapped[str] = mapped_column(String(64))
    object: Mapped[str] = mapped_column(String(16))
    state: Mapped[str] = mapped_column(String(16), index=True)
    attempts: Mapped[int] = mapped_column(default=0)
    reason: Mapped[str | None] = mapped_column(Text)
    since: Mapped[float]  # of the first attempt of this round
    changed: Mapped[float]
    commitment: Mapped[str | None] = mapped_column(String(64), index=True)  # Transaction UID
    report: Mapped[dict[str, Any] | None] = mapped_column(JSON)  # what the archive says of it


class Work(Base):
    """One piece of work, claimed under a lease; its id says what it is, so none is there twice."""

    __tablename__ = "work"
    __table_args__ = (
        Index("work_due", "state", "priority", "turn", "due"),
        Index("work_turn", "state", "turn"),
        Index("work_asker", "asker", "state", "turn"),
    )

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    kind: Mapped[str] = mapped_column(String(16))
    subject: Mapped[str] = mapped_column(Id, index=True)  # an image, a delivery, a work item
    details: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    state: Mapped[str] = mapped_column(String(16))  # waiting, running, done, failed
    priority: Mapped[int] = mapped_column(default=ROUTINE)
    due: Mapped[float]
    asked: Mapped[float] = mapped_column(default=0.0)  # when `due` was said
    asker: Mapped[str | None]  # whose it is: a sender, a destination
    turn: Mapped[int] = mapped_column(default=0)  # its place in the line, fair between askers
    attempts: Mapped[int] = mapped_column(default=0)
    crashes: Mapped[int] = mapped_column(default=0)
    owner: Mapped[str | None] = mapped_column(String(64), index=True)
    lease: Mapped[float | None]  # until when it is the owner's
    reason: Mapped[str | None] = mapped_column(Text)


class Event(Base):
    """What happened to an image, in order; also what a page is told."""

    __tablename__ = "events"

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    image: Mapped[str] = mapped_column(Id, index=True)
    at: Mapped[float]
    what: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(String(16))


class Feedback(Base):
    """What a reader says of a finding or an image."""

    __tablename__ = "feedback"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    image: Mapped[str] = mapped_column(ForeignKey("images.id"), index=True)
    at: Mapped[float]
    by: Mapped[str]
    verdict: Mapped[str] = mapped_column(String(16))
    pipeline: Mapped[str | None] = mapped_column(String(64))
    finding: Mapped[str | None]
    boxes: Mapped[list[Any] | None] = mapped_column(JSON)
    label: Mapped[str | None]
    comment: Mapped[str | None] = mapped_column(Text)


class Session(Base):
    """A log-in; `id` is a hash of its cookie."""

    __tablename__ = "sessions"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    name: Mapped[str]
    role: Mapped[str] = mapped_column(String(16))
    csrf: Mapped[str] = mapped_column(String(64))
    password: Mapped[str | None] = mapped_column(String(64))  # hash of the one it began with
    expires: Mapped[float]


class AuditEntry(Base):
    """One message of the audit trail and the hash that chains it to the one before."""

    __tablename__ = "audit"

    number: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[float]
    message: Mapped[str] = mapped_column(Text)
    previous: Mapped[str] = mapped_column(String(64))
    hash: Mapped[str] = mapped_column(String(64))


class Note(Base):
    """Small facts by name: what was accepted, what a monitor knows."""

    __tablename__ = "notes"

    name: Mapped[str] = mapped_column(String(128), primary_key=True)
    value: Mapped[dict[str, Any]] = mapped_column(JSON)
