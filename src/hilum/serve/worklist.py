"""Work items of a UPS-RS server (IHE AI Workflow): claimed, their images analysed, ended with a
reference to what came of them.

An item is one piece of durable work: its transaction is on the disk before the server is told, and
each call of `advance` does the next step that is not done: claim, take the images in, end. It is
completed when every image of it has come to an end and its results are where they were to go.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from hilum.core.errors import HilumError
from hilum.dicom.stored import open_stored
from hilum.dicom.web import PeerFailed, PeerRefused, WebArchive
from hilum.serve import ups
from hilum.serve.records import hashed, plain
from hilum.serve.tables import Delivery, Image, Note, Result, Work
from hilum.serve.work import ANALYSE, WORKITEM

if TYPE_CHECKING:
    from hilum.serve.config import Destination, Worklist
    from hilum.serve.service import Service

log = logging.getLogger(__name__)
AGAIN_S = 30.0
GIVE_UP_S = 7 * 86400.0  # of a server that does not take the end of an item
_PREFIX = "workitem "
_SETTLED = ("analysed", "refused", "failed")


def run(service: Service, stop: threading.Event) -> None:
    """Look for items until `stop`."""
    config = service.config.worklist
    assert config is not None
    while not stop.is_set():
        try:
            look(service)
        except HilumError as error:
            log.warning("work list: %s", error)
        stop.wait(config.every_s)


def look(service: Service) -> int:
    """Note what is scheduled for us, and the work that it makes; how many new items.

    Raises:
        HilumError: the server or the records are away.
    """
    config = service.config.worklist
    assert config is not None
    return sum(_add(service, uid) for uid in ups.scheduled(WebArchive(config.web), config.keys))


def _add(service: Service, uid: str) -> bool:
    id, item = hashed(uid), ups.Item.new(uid)
    value = {"uid": uid, "transaction": item.transaction, "at": service.clock()}
    value |= {"claimed": False, "images": [], "problem": None}
    with service.records.write() as session:
        if not service.queue.add(session, WORKITEM, id):
            return False
        session.add(Note(name=_PREFIX + id, value=value))
    return True


def hurry(service: Service, session: Session, image: str) -> None:
    """Something of an image has ended: so may its work item."""
    if service.config.worklist is None:
        return
    for note in session.scalars(select(Note).where(Note.name.startswith(_PREFIX))):
        if image in note.value["images"]:
            service.queue.hurry(session, WORKITEM, note.name.removeprefix(_PREFIX))


# --- One item -----------------------------------------------------------------------------------


def advance(service: Service, work: Work) -> None:
    """Do the next steps of an item, as far as they go today.

    Raises:
        HilumError: the records or the store are away; the work is still there.
    """
    config, note = service.config.worklist, _note(service, work)
    if config is None or note is None:
        with service.records.write() as session:
            service.queue.finish(session, work)
        return
    server, value = WebArchive(config.web), note.value
    item = ups.Item(uid=value["uid"], transaction=value["transaction"])
    try:
        if not value["claimed"]:
            ups.claim(server, item)
            value = _keep(service, note, claimed=True)
        if not value["images"] and not value["problem"]:
            value = _take_in(service, config, server, note=note, item=item)
        outcome = _outcome(service, value)
        if outcome is None:
            _postpone(service, work, "its images are on their way")
            return
        times = {"began": value["at"], "ended": service.clock()}
        ups.end(server, item, outcome, station=config.station, **times)
    except (ups.NotOurs, PeerRefused) as error:
        log.warning("work list: an item is left: %s", error)
        _end(service, work, "failed", str(error))
    except PeerFailed as error:
        if service.clock() - value["at"] > GIVE_UP_S:
            _end(service, work, "failed", str(error))
        else:
            _postpone(service, work, str(error))
    else:
        _end(service, work, "done", outcome.state)


def _take_in(
    service: Service, config: Worklist, server: WebArchive, note: Note, item: ups.Item
) -> dict[str, Any]:
    """Fetch the images; what is not to be had in time is a problem that ends the item."""
    archive, problem, ids = WebArchive(config.images or config.web), None, list[str]()
    try:
        ids = [
            service.intake.receive(content, origin="worklist", sender="worklist").id
            for path in ups.inputs(server, item)
            for content in archive.retrieve(path)
        ]
        if not ids:
            problem = "the item refers to no instance"
    except ups.NotOurs:
        raise
    except PeerFailed as error:
        late = service.clock() - note.value["at"] > config.within_s
        if not late and not isinstance(error, PeerRefused):
            raise
        problem = f"its instances are not to be had: {error}"
    return _keep(service, note, images=ids, problem=problem)


def _outcome(service: Service, value: dict[str, Any]) -> ups.Outcome | None:
    """How the item ends; None: something of it is still going on."""
    if value["problem"]:
        return ups.Outcome(state=ups.CANCELED, reason=value["problem"])
    ids = value["images"]
    with service.records.read() as session:
        images = list(session.scalars(select(Image).where(Image.id.in_(ids))))
        deliveries = list(session.scalars(select(Delivery).where(Delivery.image.in_(ids))))
        open_ = Work.subject.in_(ids), Work.kind == ANALYSE, Work.state.in_(("waiting", "running"))
        going = session.scalar(select(Work.id).where(*open_).limit(1)) is not None
        results = {one.result: session.get(Result, one.result) for one in deliveries if one.result}
    if going or any(one.state not in _SETTLED for one in images):
        return None
    if any(one.state == "waiting" for one in deliveries):
        return None
    problems = [one.reason or one.state for one in images if one.state == "failed"]
    problems += [f"not delivered: {one.reason}" for one in deliveries if one.state == "dead"]
    if not any(one.state == "analysed" for one in images):
        problems = problems or [one.reason or one.state for one in images]
    if problems:
        return ups.Outcome(state=ups.CANCELED, reason=plain("; ".join(problems)) or "")
    outputs = (_output(service, one, results[one.result]) for one in deliveries if one.result)
    return ups.Outcome(state=ups.COMPLETED, outputs=tuple(one for one in outputs if one))


def _output(service: Service, delivery: Delivery, result: Result | None) -> ups.Output | None:
    """A delivered object, where its destination has it."""
    destination = service.config.destinations.get(delivery.destination)
    if result is None or destination is None:
        return None
    stored = open_stored(
        ("object", service.store.read_result(result.id, str(result.files[delivery.object])))
    )
    ids = stored.ids
    study, series = str(ids.study_instance_uid), str(ids.series_instance_uid)
    return ups.Output(
        study=study,
        series=series,
        sop_class=str(stored.sop_class),
        sop=str(ids.sop_instance_uid),
        **_where(destination, study, series),
    )


def _where(destination: Destination, study: str, series: str) -> dict[str, str]:
    if destination.web is not None:
        base = destination.web.url.rstrip("/")
        return {"url": f"{base}/studies/{study}/series/{series}"}
    assert destination.dicom is not None
    return {"ae_title": destination.dicom.ae_title}


# --- Its note -----------------------------------------------------------------------------------


def _note(service: Service, work: Work) -> Note | None:
    with service.records.read() as session:
        return session.get(Note, _PREFIX + work.subject)


def _keep(service: Service, note: Note, **values: Any) -> dict[str, Any]:
    with service.records.write() as session:
        kept = session.get_one(Note, note.name)
        kept.value = {**kept.value, **values}
        return kept.value


def _postpone(service: Service, work: Work, why: str) -> None:
    with service.records.write() as session:
        service.queue.postpone(session, work, service.clock() + AGAIN_S, why)


def _end(service: Service, work: Work, state: str, why: str) -> None:
    with service.records.write() as session:
        service.queue.finish(session, work, state, why)
        note = session.get(Note, _PREFIX + work.subject)
        if note is not None:
            session.delete(note)


def given_up(service: Service, session: Session, work: Work, why: str) -> None:
    """The item stays in progress; its server shows that."""
    note = session.get(Note, _PREFIX + work.subject)
    if note is not None:
        session.delete(note)
    log.error("work list: an item could not be ended: %s", why)
