"""The audit trail: messages of DICOM PS3.15 A.5, each chained to the one before by its hash.

Rows are only ever added, in the transaction of what they tell. Whoever changes, drops or swaps
one breaks the chain; `verify` says where. Cutting off the end shows against a number and hash
that were noted elsewhere: `hilum audit verify --head`. Patients are there by their hashed ids only.
"""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from xml.etree import ElementTree

from sqlalchemy import select
from sqlalchemy.orm import Session

from hilum.core.errors import HilumError
from hilum.serve.records import Records, plain
from hilum.serve.tables import AuditEntry, Image

FIRST = "0" * 64
SUCCESS, MINOR, SERIOUS = "0", "4", "8"  # EventOutcomeIndicator
_BATCH = 1000

# DCM codes of CID 400 and 401 (PS3.16): what audit events are called.
EVENTS = {
    "start": ("110100", "Application Activity", "110120", "Application Start"),
    "stop": ("110100", "Application Activity", "110121", "Application Stop"),
    "received": ("110104", "DICOM Instances Transferred", "", ""),
    "sent": ("110104", "DICOM Instances Transferred", "", ""),
    "analysed": ("110103", "DICOM Instances Accessed", "", ""),
    "viewed": ("110103", "DICOM Instances Accessed", "", ""),
    "exported": ("110106", "Export", "", ""),
    "query": ("110112", "Query", "", ""),
    "login": ("110114", "User Authentication", "110122", "Login"),
    "logout": ("110114", "User Authentication", "110123", "Logout"),
    "alert": ("110113", "Security Alert", "110126", "Node Authentication"),
    "changed": ("110100", "Application Activity", "110131", "Software Configuration"),
}
_ACTIONS = {"received": "C", "sent": "R", "analysed": "U", "viewed": "R", "changed": "U"}


class TrailBroken(HilumError):
    """The audit trail is not as it was written."""


@dataclass(frozen=True, slots=True)
class Head:
    """Where a trail ends: note it elsewhere, so that a cut shows."""

    number: int
    hash: str


class Audit:
    """Adds messages and verifies the chain."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._node = socket.gethostname()

    def add(
        self,
        session: Session,
        event: str,
        *,
        user: str | None = None,
        peer: str | None = None,
        image: str | None = None,
        study: str | None = None,
        instances: Mapping[str, Sequence[str]] | None = None,
        outcome: str = SUCCESS,
        text: str | None = None,
    ) -> None:
        """Add one message in the caller's transaction.

        Args:
            event: a key of `EVENTS`.
            user: who asked: a log-in, an AE title.
            peer: address of the other side.
            image: its id, a hash; never a UID or name.
            study: StudyInstanceUID, which the trail keeps as its hash.
            instances: ids of those of the study that it is about, by SOP class.
        """
        self._records.alone(session, "audit")
        session.flush()
        newest = session.execute(
            select(AuditEntry.number, AuditEntry.hash).order_by(AuditEntry.number.desc()).limit(1)
        ).first()
        number, previous = (newest[0] + 1, newest[1]) if newest else (1, FIRST)
        at = self._records.clock()
        content = self._message(
            event,
            at,
            user,
            peer=peer,
            image=image,
            study=study,
            instances=instances,
            outcome=outcome,
            text=text,
        )
        entry = AuditEntry(number=number, at=at, message=content, previous=previous)
        entry.hash = _link(number, previous, content)
        session.add(entry)
        session.flush()

    def tell(self, event: str, **details: Any) -> None:
        """`add` in a transaction of its own."""
        with self._records.write() as session:
            self.add(session, event, **details)

    def analysed(self, session: Session, image: Image) -> None:
        """An image came to an end."""
        outcome = {"failed": SERIOUS, "refused": MINOR}.get(image.state, SUCCESS)
        self.add(
            session,
            "analysed",
            image=image.id,
            study=image.study,
            outcome=outcome,
            text=image.state,
        )

    def verify(self, head: Head | None = None) -> Head:
        """Go through the whole chain.

        Args:
            head: an earlier end of it, which must be in it still.

        Raises:
            TrailBroken: naming the first number that is not as it was written.
        """
        number, previous, met = 0, FIRST, head is None or head.number == 0
        for entry in self._entries():
            number += 1
            right = entry.previous == previous and entry.hash == _link(
                number, previous, entry.message
            )
            if entry.number != number or not right:
                raise TrailBroken(
                    f"audit entry {number} is missing, changed or out of its place; "
                    "restore the database from a copy and compare"
                )
            previous = entry.hash
            met = met or (head is not None and head == Head(number, previous))
        if not met:
            raise TrailBroken(f"the noted end (entry {head and head.number}) is not in the trail")
        return Head(number, previous)

    def messages(self, after: int = 0) -> Iterator[str]:
        """The XML messages, in order, such as for an audit repository."""
        for entry in self._entries(after):
            yield entry.message

    def _entries(self, after: int = 0) -> Iterator[AuditEntry]:
        while True:
            query = select(AuditEntry).where(AuditEntry.number > after)
            with self._records.read() as session:
                entries = list(session.scalars(query.order_by(AuditEntry.number).limit(_BATCH)))
            if not entries:
                return
            yield from entries
            after = entries[-1].number

    def _message(
        self,
        event: str,
        at: float,
        user: str | None,
        peer: str | None,
        image: str | None,
        study: str | None,
        instances: Mapping[str, Sequence[str]] | None,
        outcome: str,
        text: str | None,
    ) -> str:
        """AuditMessage of PS3.15 A.5.1."""
        code, words, kind, kind_words = EVENTS[event]
        root = ElementTree.Element("AuditMessage")
        about = ElementTree.SubElement(
            root,
            "EventIdentification",
            EventActionCode=_ACTIONS.get(event, "E"),
            EventDateTime=datetime.fromtimestamp(at, UTC).isoformat(),
            EventOutcomeIndicator=outcome,
        )
        _code(about, "EventID", code, words)
        if kind:
            _code(about, "EventTypeCode", kind, kind_words)
        if text:
            ElementTree.SubElement(about, "EventOutcomeDescription").text = _xml(text)
        process = {"UserID": str(os.getpid()), "AlternativeUserID": "hilum"}
        here = ElementTree.SubElement(
            root, "ActiveParticipant", process, UserIsRequestor=str(user is None).lower()
        )
        _code(here, "RoleIDCode", "110150", "Application")
        if user is not None or peer is not None:
            other = {"UserID": _xml(user or "unknown"), "UserIsRequestor": "true"}
            if peer is not None:
                other |= {"NetworkAccessPointID": _xml(peer), "NetworkAccessPointTypeCode": "2"}
            ElementTree.SubElement(root, "ActiveParticipant", other)
        ElementTree.SubElement(root, "AuditSourceIdentification", AuditSourceID=self._node)
        if study is not None:
            digest = hashlib.sha256(study.encode()).hexdigest()[:32]
            node = _object(root, digest, "3", code="110180", words="Study Instance UID (SHA-256)")
            _instances(node, instances or {})
        if image is not None:
            _object(
                root,
                image,
                "3",
                code="110181",
                words="hilum image (hash of SOP Instance UID and content)",
            )
        return ElementTree.tostring(root, encoding="unicode")


def _code(parent: ElementTree.Element, name: str, code: str, words: str) -> None:
    values = {"csd-code": code, "codeSystemName": "DCM", "originalText": words}
    ElementTree.SubElement(parent, name, values)


def _object(
    root: ElementTree.Element, id: str, role: str, code: str, words: str
) -> ElementTree.Element:
    values = {
        "ParticipantObjectID": id,
        "ParticipantObjectTypeCode": "2",
        "ParticipantObjectTypeCodeRole": role,
    }
    node = ElementTree.SubElement(root, "ParticipantObjectIdentification", values)
    _code(node, "ParticipantObjectIDTypeCode", code, words)
    # A name or a query must stand here; people's names and UIDs are not in the trail.
    ElementTree.SubElement(node, "ParticipantObjectName").text = id
    return node


def _instances(study: ElementTree.Element, by_class: Mapping[str, Sequence[str]]) -> None:
    """What of a study a message is about: instances by their ids, by SOP class."""
    if not by_class:
        return
    about = ElementTree.SubElement(study, "ParticipantObjectDescription")
    for sop_class, ids in by_class.items():
        values = {"UID": sop_class} if sop_class else {}
        node = ElementTree.SubElement(about, "SOPClass", values, NumberOfInstances=str(len(ids)))
        for id in ids:
            ElementTree.SubElement(node, "Instance", UID=id)


def _xml(text: str) -> str:
    """Without the control characters that XML cannot hold."""
    return "".join(c for c in plain(text) or "" if c.isprintable())


def _link(number: int, previous: str, message: str) -> str:
    return hashlib.sha256(f"{number}\n{previous}\n{message}".encode()).hexdigest()
