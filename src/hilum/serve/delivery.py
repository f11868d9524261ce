"""One object for one destination: sent, verified, or sent again later; in the end a dead letter.

Objects have UIDs that follow from image and pipeline, so a second sending of the same is the same
object, and an archive holds it once. Where the archive can be asked, it is: before sending again,
and after. A storage commitment comes later: until its report or its time the delivery waits.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from sqlalchemy.orm import Session

from hilum.core.errors import ConfigError, HilumError, InputRefused
from hilum.dicom.deidentify import Deidentified, deidentify
from hilum.dicom.pseudonyms import Pseudonyms, open_secret
from hilum.dicom.stored import open_stored
from hilum.dicom.web import PeerFailed, WebArchive
from hilum.serve import worklist
from hilum.serve.commitment import new_transaction, note
from hilum.serve.config import Destination, Retry
from hilum.serve.peers import DicomArchive
from hilum.serve.records import plain
from hilum.serve.tables import Delivery, Image, Result, Work

if TYPE_CHECKING:
    from hilum.serve.service import Service

log = logging.getLogger(__name__)


class NotSendable(HilumError):
    """What is to be sent can never be sent like this; a dead letter at once."""


def deliver(service: Service, work: Work) -> None:
    """Send one object; ends as delivered, waiting for a later time, or dead.

    Raises:
        RecordsUnavailable, StoreUnavailable: they are away; the work is still there.
    """
    with service.records.read() as session:
        delivery = session.get_one(Delivery, work.subject)
        result = session.get(Result, delivery.result) if delivery.result else None
    destination = service.config.destinations.get(delivery.destination)
    try:
        if destination is None:
            raise NotSendable("its destination is no longer in the configuration")
        content = _content(service, delivery, result)
        if delivery.commitment is None:
            _send(service, work, destination, content)
        if destination.verification == "commitment" and _open(service, work, destination, content):
            return
    except (NotSendable, InputRefused) as error:
        why = f"{error.reason} {error.remedy}" if isinstance(error, InputRefused) else str(error)
        _end(service, work, "dead", why)
    except (PeerFailed, ConfigError) as error:  # the latter: certificates of the moment
        _later(service, work, destination.retry if destination else Retry(), str(error))
    else:
        _end(service, work, "delivered", None)


def _content(service: Service, delivery: Delivery, result: Result | None) -> bytes:
    if result is not None:
        return service.store.read_result(result.id, str(result.files[delivery.object]))
    return _copy(service, delivery).data


def _copy(service: Service, delivery: Delivery) -> Deidentified:
    """The image without its identity; the same bytes at every attempt, under a secret that is
    made once and kept in the folder."""
    secret, _ = open_secret(service.config.root / "pseudonyms.secret")
    return deidentify(service.store.read(delivery.image), Pseudonyms(secret))


def _send(service: Service, work: Work, destination: Destination, content: bytes) -> None:
    """
    Raises:
        PeerFailed: it is not there, or the archive does not say that it is.
    """
    uid, study = _uids(content)
    if destination.web is not None:
        archive = WebArchive(destination.web)
        by_query = destination.verification == "qido"
        if by_query and work.attempts > 1 and archive.has(study, uid):
            return
        archive.store(content, uid)
        if by_query and not archive.has(study, uid):
            raise PeerFailed("the server answered success, and does not have the object")
        return
    assert destination.dicom is not None
    node = DicomArchive(destination.dicom, service.config.node.ae_title)
    node.store(content)
    if destination.verification == "find" and not _found(node, study, uid):
        raise PeerFailed("the node answered success, and does not have the object")
    if destination.verification == "commitment":
        _ask_commitment(service, work, node, content)


def _uids(content: bytes) -> tuple[str, str]:
    """
    Raises:
        NotSendable: no archive could take it.
    """
    ids = open_stored(("object", content)).ids
    if not ids.sop_instance_uid or not ids.study_instance_uid:
        raise NotSendable("the object has no SOPInstanceUID or StudyInstanceUID")
    return ids.sop_instance_uid, ids.study_instance_uid


# --- Storage commitment -------------------------------------------------------------------------


def _ask_commitment(service: Service, work: Work, node: DicomArchive, content: bytes) -> None:
    """The transaction is on the disk before the archive knows of it: its report finds us."""
    transaction = new_transaction()
    with service.records.write() as session:
        delivery = session.get_one(Delivery, work.subject)
        delivery.commitment, delivery.report = transaction, None
        delivery.changed = service.clock()
    node.commit(content, transaction, lambda report: note(service.records, service.queue, report))


def _open(service: Service, work: Work, destination: Destination, content: bytes) -> bool:
    """True while the report may still come; the work waits for it then.

    Raises:
        PeerFailed: the archive does not commit itself, or has not said so in time.
    """
    uid, _ = _uids(content)
    with service.records.write() as session:
        delivery = session.get_one(Delivery, work.subject, with_for_update=True)
        until = delivery.changed + destination.report_s
        if delivery.report is None and service.clock() < until:
            delivery.reason = "stored; its storage commitment is waited for"
            service.queue.postpone(session, work, until, delivery.reason)
            return True
    if delivery.report is None:
        raise PeerFailed("the node has not reported the storage commitment in time")
    outcome = delivery.report.get(uid, "it is not in the report")
    if outcome is not None:
        raise PeerFailed(f"the node does not commit itself to keep the object: {outcome}")
    return False


def _found(node: DicomArchive, study: str, uid: str) -> bool:
    keys = {"StudyInstanceUID": study, "SeriesInstanceUID": "", "SOPInstanceUID": uid}
    return any(
        str(one.get("SOPInstanceUID", "")) == uid
        for one in node.find(QueryRetrieveLevel="IMAGE", **keys)
    )


def _later(service: Service, work: Work, retry: Retry, why: str) -> None:
    """Wait twice as long as the time before; give up after long enough."""
    now = service.clock()
    with service.records.write() as session:
        delivery = session.get_one(Delivery, work.subject)
        delivery.attempts, delivery.reason, delivery.changed = (
            delivery.attempts + 1,
            plain(why),
            now,
        )
        delivery.commitment = delivery.report = None  # it is sent again
        if now - delivery.since >= retry.give_up_s:
            _dead(service, session, delivery, why)
            service.queue.finish(session, work, "failed", why)
            return
        wait = min(retry.first_s * 2.0 ** min(delivery.attempts - 1, 30), retry.longest_s)
        service.queue.postpone(session, work, now + wait, why)
    what = delivery.object, delivery.image, delivery.destination
    log.warning("%s of image %s waits for %s: %s; again in %.0f s", *what, why, wait)


def _end(service: Service, work: Work, state: str, why: str | None) -> None:
    with service.records.write() as session:
        delivery = session.get_one(Delivery, work.subject)
        delivery.attempts, delivery.changed = delivery.attempts + 1, service.clock()
        if state == "dead":
            _dead(service, session, delivery, why or "")
        else:
            delivery.state, delivery.reason = state, None
            _tell(service, session, delivery, f"{delivery.object} delivered")
        service.queue.finish(session, work, "failed" if state == "dead" else "done", why or "")


def _dead(service: Service, session: Session, delivery: Delivery, why: str) -> None:
    delivery.state, delivery.reason = "dead", plain(why)
    _tell(service, session, delivery, f"{delivery.object} is a dead letter", outcome="8")
    what = delivery.object, delivery.image, delivery.destination
    log.error("%s of image %s is a dead letter to %s: %s", *what, why)


def _tell(
    service: Service, session: Session, delivery: Delivery, what: str, outcome: str = "0"
) -> None:
    image = session.get_one(Image, delivery.image)
    worklist.hurry(service, session, image.id)
    service.records.say(session, image.id, image.state, f"{what} to {delivery.destination}")
    service.audit.add(
        session,
        "sent",
        peer=delivery.destination,
        image=image.id,
        study=image.study,
        outcome=outcome,
        text=what,
    )


def given_up(service: Service, session: Session, work: Work, why: str) -> None:
    """A delivery that fails in a way nobody foresaw is a dead letter."""
    delivery = session.get(Delivery, work.subject)
    if delivery is not None and delivery.state == "waiting":
        _dead(service, session, delivery, why)
