"""The trail tells what happened, about nobody by name, and shows every later change."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from sqlalchemy import text

from helpers.service import Parts, radiograph_file
from hilum.serve.audit import EVENTS, Head, TrailBroken


def change(parts: Parts, statement: str) -> None:
    with parts.records.write() as session:
        session.execute(text(statement))


def filled(parts: Parts) -> Head:
    for number in range(3):
        parts.receive(radiograph_file(f"1.2.{number}"), sender="CR1", peer="10.0.0.1")
    return parts.service.audit.verify()


def test_an_untouched_trail_is_whole(parts: Parts) -> None:
    head = filled(parts)
    assert head.number == 3
    parts.service.audit.tell("login", user="reader", peer="127.0.0.1")
    assert parts.service.audit.verify(head).number == 4


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit SET message = replace(message, 'CR1', 'CR2') WHERE number = 2",
        "DELETE FROM audit WHERE number = 2",
        "UPDATE audit SET hash = previous WHERE number = 2",
        "UPDATE audit SET number = 9 WHERE number = 2",
    ],
)
def test_whoever_changes_an_entry_breaks_the_chain(parts: Parts, statement: str) -> None:
    filled(parts)
    change(parts, statement)
    with pytest.raises(TrailBroken, match="entry 2"):
        parts.service.audit.verify()


def test_a_trail_that_was_cut_lacks_its_noted_end(parts: Parts) -> None:
    head = filled(parts)
    change(parts, "DELETE FROM audit WHERE number = 3")
    assert parts.service.audit.verify().number == 2
    with pytest.raises(TrailBroken, match="noted end"):
        parts.service.audit.verify(head)


def test_messages_have_the_parts_of_ps3_15(parts: Parts) -> None:
    filled(parts)
    message = ElementTree.fromstring(next(parts.service.audit.messages()))  # noqa: S314
    event = message.find("EventIdentification")
    assert event is not None
    assert event.get("EventActionCode") == "C"
    assert event.get("EventOutcomeIndicator") == "0"
    identity = event.find("EventID")
    assert identity is not None
    assert identity.get("csd-code") == EVENTS["received"][0]
    people = message.findall("ActiveParticipant")
    assert [one.get("NetworkAccessPointID") for one in people] == [None, "10.0.0.1"]
    assert message.find("AuditSourceIdentification") is not None
    (image,) = message.findall("ParticipantObjectIdentification")
    assert [one.tag for one in image] == ["ParticipantObjectIDTypeCode", "ParticipantObjectName"]
    assert image.findtext("ParticipantObjectName") == image.get("ParticipantObjectID")


def test_an_event_is_recorded_with_what_it_tells_or_not_at_all(parts: Parts) -> None:
    def torn() -> None:
        with parts.records.write() as session:
            parts.service.audit.add(session, "login", user="reader")
            raise RuntimeError("before the end")

    with pytest.raises(RuntimeError):
        torn()
    assert parts.service.audit.verify().number == 0
