"""What people ask for: another pipeline, a heat map, another try, another priority."""

from __future__ import annotations

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from hilum.core.errors import HilumError
from hilum.core.options import unknown
from hilum.serve import explaining
from hilum.serve.analysis import CONFLICT, ask
from hilum.serve.service import Service
from hilum.serve.tables import PRIORITIES, Delivery, Image, Result, Work
from hilum.serve.work import CHECK, DELIVER


class NotPossible(HilumError):
    """What was asked for does not fit the state of the image or delivery."""


class NotThere(HilumError):
    """No image or delivery of that id."""


def analyse(service: Service, id: str, pipeline: str) -> bool:
    """Analyse an image by a pipeline, for looking at: nothing is sent to a destination. False
    where it was asked for before and is not done yet.

    Raises:
        NotThere, NotPossible: no such image; no such pipeline, or it is not checked yet.
    """
    if pipeline not in service.pipelines.names:
        raise NotPossible(unknown("pipeline", pipeline, service.pipelines.names))
    with service.records.write() as session:
        image = _image(session.get(Image, id))
        if image.state == "received" or (image.reason or "").startswith(CONFLICT):
            raise NotPossible(f"the image is {image.state}; needed: one that is checked")
        details = {"pipeline": pipeline, "shown": False, "shadow": False, "destinations": []}
        if image.state != "analysed":  # the first answer is the one that is shown
            details["shown"] = True
        is_new = ask(service, session, image, details)
        if is_new:
            service.records.say(session, id, image.state, f"analysis by {pipeline} asked for")
    return is_new


def explain(service: Service, id: str, pipeline: str | None) -> bool:
    """Make a heat map of the newest result of a pipeline (None: the shown one). False where it is
    there, or was asked for before.

    Raises:
        NotThere: no such image or result.
    """
    with service.records.write() as session:
        image = _image(session.get(Image, id))
        result = newest_result(session, id, pipeline or image.pipeline)
        if result is None:
            raise NotThere("there is no such result")
        return explaining.ask(service, session, result)


def retry(service: Service, id: str) -> None:
    """Check and analyse again what was refused or has failed.

    Raises:
        NotThere, NotPossible: no such image; it is analysed, or on its way.
    """
    with service.records.write() as session:
        image = _image(session.get(Image, id))
        if image.state not in ("refused", "failed"):
            raise NotPossible(f"the image is {image.state}; needed: refused or failed")
        service.queue.again(session, CHECK, id)
        image.state, image.reason = "received", None
        service.records.say(session, id, "received", "retry asked for")


def retry_delivery(service: Service, id: str) -> None:
    """Send again what is a dead letter, or now what waits for its time.

    Raises:
        NotThere, NotPossible: no such delivery; it is delivered.
    """
    with service.records.write() as session:
        delivery = session.get(Delivery, id)
        if delivery is None:
            raise NotThere("there is no such delivery")
        if delivery.state == "delivered":
            raise NotPossible("it is delivered, and verified")
        now = service.clock()
        delivery.state, delivery.reason = "waiting", None
        delivery.attempts, delivery.since, delivery.changed = 0, now, now
        delivery.commitment = delivery.report = None
        if not service.queue.again(session, DELIVER, id):
            service.queue.hurry(session, DELIVER, id)


def retry_dead(service: Service, destination: str) -> int:
    """Send again all that is a dead letter to a destination; how many.

    Raises:
        NotThere: no such destination.
    """
    if destination not in service.config.destinations:
        raise NotThere("there is no such destination")
    dead = Delivery.state == "dead", Delivery.destination == destination
    with service.records.read() as session:
        ids = list(session.scalars(select(Delivery.id).where(*dead)))
    for id in ids:
        retry_delivery(service, id)
    return len(ids)


def set_priority(service: Service, id: str, priority: str) -> None:
    """What of the image is still to be done comes sooner or later.

    Raises:
        NotThere, NotPossible: no such image; no such priority.
    """
    if priority not in PRIORITIES:
        raise NotPossible(unknown("priority", priority, PRIORITIES))
    with service.records.write() as session:
        image = _image(session.get(Image, id))
        image.priority = PRIORITIES[priority]
        waiting = Work.subject == id, Work.state == "waiting"
        session.execute(update(Work).where(*waiting).values(priority=image.priority))
        service.records.say(session, id, image.state, f"priority {priority}")


def newest_result(session: Session, id: str, pipeline: str | None) -> Result | None:
    """The newest result of an image by a pipeline that may be shown."""
    query = select(Result).where(Result.image == id, ~Result.shadow, Result.pipeline == pipeline)
    return session.scalar(query.order_by(Result.made.desc()).limit(1))


def _image(image: Image | None) -> Image:
    if image is None:
        raise NotThere("there is no such image")
    return image
