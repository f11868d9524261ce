"""Work items of a UPS-RS server (PS3.18 11; IHE AIW-I): claimed, their images taken in, completed.

A claimed item is noted with its transaction UID, which alone may end it, before the server is
told; so a claim survives us. It is completed when every image of it has come to an end.
"""

from __future__ import annotations

import logging
import threading
import uuid
from typing import TYPE_CHECKING, Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from hilum.core.errors import HilumError
from hilum.serve.config import Worklist
from hilum.serve.peers import PeerFailed, WebArchive, items_of, text_of
from hilum.serve.records import hashed
from hilum.serve.tables import Image, Note, Work

if TYPE_CHECKING:
    from hilum.serve.service import Service

log = logging.getLogger(__name__)
AGAIN_S = 30.0
STATE, TRANSACTION = "00741000", "00081195"
SCHEDULED, IN_PROGRESS, COMPLETED, CANCELED = "SCHEDULED", "IN PROGRESS", "COMPLETED", "CANCELED"
_INPUT, _OUTPUT = "00404021", "00404033"  # Input, Output Information Sequence
_SETTLED = ("analysed", "refused", "failed")


def run(service: Service, stop: threading.Event) -> None:
    """Look for items until `stop`."""
    config = service.config.worklist
    assert config is not None
    while not stop.is_set():
        try:
            claim(service)
        except HilumError as error:
            log.warning("work list: %s", error)
        stop.wait(config.every_s)


def claim(service: Service) -> int:
    """Claim what is scheduled for our station, and take its images in; how many items.

    Raises:
        HilumError: the server, the store or the records are away. A claim that is noted is gone
            on with at the next call.
    """
    config = service.config.worklist
    assert config is not None
    server = WebArchive(config.web)
    for note in _notes(service):
        if not note.value["images"]:
            _take_in(service, server, note)
    keys = {
        "ProcedureStepState": SCHEDULED,
        "ScheduledStationNameCodeSequence.CodeValue": config.station,
    }
    count = 0
    for item in server.query("/workitems", keys):
        uid = text_of(item, "00080018")
        if uid and text_of(item, STATE) in (None, SCHEDULED):
            count += _claim(service, server, config, uid, item)
    return count


def _claim(
    service: Service, server: WebArchive, config: Worklist, uid: str, item: dict[str, Any]
) -> int:
    transaction = f"2.25.{uuid.uuid4().int}"
    paths = [path for one in items_of(item, _INPUT) if (path := _path(one))]
    value = {"uid": uid, "transaction": transaction, "paths": paths, "images": []}
    note = Note(name=_name(uid), value=value)
    with service.records.write() as session:
        session.merge(note)
    try:
        _set_state(server, note, IN_PROGRESS)
    except PeerFailed:  # another station was faster
        with service.records.write() as session:
            session.delete(session.get_one(Note, note.name))
        return 0
    _take_in(service, server, note)
    return 1


def _path(reference: dict[str, Any]) -> str | None:
    """Where WADO-RS has what an item of the input sequence refers to."""
    study, series = text_of(reference, "0020000D"), text_of(reference, "0020000E")
    if study is None or series is None:
        return None
    return f"/studies/{study}/series/{series}"


def _take_in(service: Service, server: WebArchive, note: Note) -> None:
    ids = [
        service.intake.receive(content, origin="worklist", sender="worklist").id
        for path in note.value["paths"]
        for content in server.retrieve(path)
    ]
    with service.records.write() as session:
        kept = session.get_one(Note, note.name)
        kept.value = {**kept.value, "images": ids}
    if not ids:
        _set_state(server, note, CANCELED)


def report(service: Service, work: Work) -> None:
    """An image came to an end: complete its work item when it was the last one."""
    config, note = service.config.worklist, None
    with service.records.read() as session:
        for one in _notes(service):
            if work.subject in one.value["images"]:
                images = session.scalars(select(Image).where(Image.id.in_(one.value["images"])))
                note, states = one, [image.state for image in images]
    if config is None or note is None or not all(state in _SETTLED for state in states):
        with service.records.write() as session:
            service.queue.finish(session, work)
        return
    try:
        done = all(state == "analysed" for state in states)
        _finish(WebArchive(config.web), note, COMPLETED if done else CANCELED)
    except PeerFailed as error:
        with service.records.write() as session:
            service.queue.postpone(session, work, service.clock() + AGAIN_S, str(error))
        return
    with service.records.write() as session:
        service.queue.finish(session, work)
        session.delete(session.get_one(Note, note.name))


def _finish(server: WebArchive, note: Note, state: str) -> None:
    """A final state needs its output and the end of the procedure first (PS3.4 CC.2.1.3)."""
    performed = {"vr": "SQ", "Value": [{_OUTPUT: {"vr": "SQ"}}]}
    change = {
        TRANSACTION: {"vr": "UI", "Value": [note.value["transaction"]]},
        "00741216": performed,  # UnifiedProcedureStepPerformedProcedureSequence
    }
    server.send("POST", f"/workitems/{note.value['uid']}", [change], {})
    _set_state(server, note, state)


def _set_state(server: WebArchive, note: Note, state: str) -> None:
    body = {
        STATE: {"vr": "CS", "Value": [state]},
        TRANSACTION: {"vr": "UI", "Value": [note.value["transaction"]]},
    }
    server.send("PUT", f"/workitems/{note.value['uid']}/state", [body], {})


def _notes(service: Service) -> list[Note]:
    with service.records.read() as session:
        return list(session.scalars(select(Note).where(Note.name.startswith("workitem "))))


def _name(uid: str) -> str:
    return f"workitem {hashed(uid)}"


def given_up(service: Service, session: Session, work: Work, why: str) -> None:
    """The item stays in progress; its server shows that."""
    log.error("work list: an item could not be completed: %s", why)
