"""A received image -> checked -> analysed, refused or failed, with the files of its result.

Two pieces of work. `check` parses the header in a guarded child, sets conflicts aside and makes
the plan; `analyse` asks one pipeline. Each ends in one transaction that holds the state, the
result, the deliveries and the work that follows, so a process may die anywhere between.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from hilum.core.errors import InputRefused
from hilum.core.outlines import svg_path
from hilum.core.radiograph import Radiograph
from hilum.core.results import ImageResult, RunResult
from hilum.dicom.analysed import Analysed
from hilum.dicom.reading import Reading
from hilum.dicom.stored import StoredImage
from hilum.inference.answer import answer, reason
from hilum.report.writers import NOT_WRITTEN, File, Writer, write_all
from hilum.serve import routing, worklist
from hilum.serve.config import SOURCE
from hilum.serve.monitor import shadow
from hilum.serve.pipelines import NotLoaded
from hilum.serve.records import hashed, plain
from hilum.serve.tables import Delivery, Image, Result, Work
from hilum.serve.work import ANALYSE, CHECK, DELIVER, PRIOR

if TYPE_CHECKING:
    from hilum.inference.loaded import LoadedPipeline
    from hilum.serve.service import Service

log = logging.getLogger(__name__)
CONFLICT = "conflict"  # how the reason of an image begins that was set aside
MIXED_UP = (
    "another image of its study has another PatientID: one of both is filed wrong, or the sender's "
    "identifiers are; find out which before either is read"
)
OWN = "own-result"  # and of one of our own results
_SETTLED = ("analysed", "refused", "failed")


# --- Check --------------------------------------------------------------------------------------


def check(service: Service, work: Work) -> None:
    """Header, conflicts, plan. The image is `checked` and its analyses are waiting, or `refused`.

    Raises:
        HilumError: the store or the records are away; the work is still there.
    """
    data = service.store.read(work.subject)
    try:
        stored = service.opened(work.subject, data)
        own = f"{OWN}: it was made by hilum." if stored.own_result else None
    except InputRefused as error:
        stored, own = None, reason(error)
    with service.records.write() as session:
        image = session.get_one(Image, work.subject)
        if stored is not None:
            _describe(image, stored)
            own = own or _conflict(service, session, image)
            if mixed_up(session, image):
                log.warning("image %s: %s", image.id, MIXED_UP)
                service.records.say(session, image.id, image.state, MIXED_UP)
        if own is not None or stored is None:
            settle(service, session, image, state="refused", why=own or "unreadable")
            service.queue.finish(session, work)
            return
        _begin(service, session, image, stored, turn=work.turn)
        service.queue.finish(session, work)


def _begin(
    service: Service, session: Session, image: Image, stored: StoredImage, *, turn: int
) -> None:
    """The image is checked; what follows waits, in its place."""
    facts = routing.Facts(
        sender=image.sender,
        origin=image.origin,
        descriptions=stored.descriptions,
        view=image.view,
        modality=image.modality,
    )
    accepted = shadow.accepted(service, session)
    plan = routing.plan(service.config, facts, image.wanted, accepted)
    image.priority = max(image.priority, plan.priority)
    image.state, image.reason = "checked", None
    link_priors(service, session, image)
    names = ", ".join(plan.pipelines) or "none: it is kept only"
    service.records.say(session, image.id, "checked", f"checked; pipelines: {names}")
    for index, name in enumerate((*plan.pipelines, *plan.shadow)):
        details = {
            "pipeline": name,
            "shown": index == 0,
            "shadow": index >= len(plan.pipelines),
            "destinations": [] if index >= len(plan.pipelines) else list(plan.destinations),
        }
        ask(service, session, image, details, turn=turn)
    if service.config.priors is not None and image.patient and plan.pipelines:
        service.queue.add(session, PRIOR, image.id, priority=image.priority, asker="priors")


def ask(
    service: Service,
    session: Session,
    image: Image,
    details: dict[str, Any],
    *,
    turn: int | None = None,
) -> bool:
    """Analysis by one pipeline is to be done; False where it was asked for before."""
    name, queue = str(details["pipeline"]), service.queue
    place: dict[str, Any] = {"priority": image.priority, "asker": image.sender, "turn": turn}
    return queue.add(session, ANALYSE, image.id, key=name, details=details, **place) or queue.again(
        session, ANALYSE, image.id, key=name, details=details
    )


def link_priors(service: Service, session: Session, image: Image) -> None:
    """To each image of the patient the newest of an earlier day; what was refused is no prior."""
    if not (image.patient and image.study_date):
        return
    session.flush()
    query = select(Image).where(Image.patient == image.patient, Image.state != "refused")
    query = query.where(Image.study_date.is_not(None)).order_by(Image.study_date, Image.received)
    earlier: str | None = None
    for _, day in groupby(session.scalars(query), key=lambda one: one.study_date):
        for one in (held := list(day)):
            if one.prior != earlier:
                one.prior = earlier
                service.records.say(session, one.id, one.state, "its prior is another image now")
        earlier = held[-1].id


def _describe(image: Image, stored: StoredImage) -> None:
    """What lists and rules need of the header; text as typed, cut to what databases take."""
    header, ids = stored.header, stored.ids
    image.sop, image.series = plain(ids.sop_instance_uid), plain(ids.series_instance_uid)
    image.study, image.patient = plain(ids.study_instance_uid), plain(ids.patient_id)
    image.patient_name = plain(header.text("PatientName"))
    image.study_date = plain(header.text("StudyDate"), 32)
    image.accession = plain(header.text("AccessionNumber"))
    image.manufacturer = plain(header.text("Manufacturer"))
    image.modality, image.view = plain(stored.modality, 32), plain(stored.view, 32)
    image.sop_class = plain(stored.sop_class, 64)
    image.syntax = plain(stored.parsed.syntax, 64) if stored.parsed else None
    image.inverted = header.code("PhotometricInterpretation") == "MONOCHROME1"


def _conflict(service: Service, session: Session, image: Image) -> str | None:
    """Why the image is set aside: its UID is that of another object."""
    if not image.sop:
        return None
    service.records.alone(session, f"sop {image.sop}")
    session.flush()
    others = select(Image.id).where(Image.sop == image.sop, Image.id != image.id)
    kept = others.where(Image.reason.is_(None) | ~Image.reason.startswith(CONFLICT))
    if session.scalar(kept.limit(1)) is None:
        return None
    return f"{CONFLICT}: another object with its SOPInstanceUID came first; this one is set aside."


def mixed_up(session: Session, image: Image) -> bool:
    """Whether another image of its study is of somebody else."""
    if not image.study or not image.patient:
        return False
    session.flush()
    others = select(Image.id).where(Image.study == image.study, Image.patient != image.patient)
    return session.scalar(others.limit(1)) is not None


# --- Analyse ------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Collected:
    """Takes the files of an image from the worker, in memory."""

    writers: dict[str, Writer]
    files: list[File] = field(default_factory=list)
    radiograph: Radiograph | None = None

    def __call__(self, image: Analysed) -> ImageResult:
        result = image.result
        assert result.findings is not None
        self.radiograph = image.radiograph
        self.files, warnings = write_all(self.writers, image)
        return replace(
            result,
            outlines={name: svg_path(mask) for name, mask in result.findings.masks.items()},
            files={_key(file): _name(file) for file in self.files},
            warnings=(*result.warnings, *warnings),
        )


@dataclass(frozen=True, slots=True)
class _Held:
    """An object of the store as an input; its name is its id."""

    name: str
    data: bytes

    def load(self) -> bytes:
        return self.data


def analyse(service: Service, work: Work) -> None:
    """Ask one pipeline; keep its files, then its result and all that follows at once.

    Raises:
        StoreUnavailable, RecordsUnavailable: full or away; the work is still there.
    """
    name = str(work.details["pipeline"])
    try:
        loaded = service.pipelines.opened(name)
    except NotLoaded as error:
        with service.records.write() as session:
            _without_result(service, session, work, state="failed", why=f"pipeline {name}: {error}")
        return
    result_id = hashed(work.subject, loaded.fingerprint)
    with service.records.read() as session:
        known = session.get(Result, result_id)
    if known is not None:
        with service.records.write() as session:
            _known(service, session, work, known)
        return
    service.store.check_room(1)  # before it is computed
    sink = _Collected(service.writers)
    held = _Held(work.subject, service.store.read(work.subject))
    result = answer(loaded, held, sink=sink, reading=Reading(untrusted=True, child=service.child))
    if result.status != "analysed":
        with service.records.write() as session:
            _without_result(service, session, work, state=result.status, why=str(result.reason))
        return
    size = service.store.keep_result(result_id, {_name(f): f.content for f in sink.files})
    with service.records.write() as session:
        _with_result(
            service,
            session,
            work,
            loaded=loaded,
            answer=result,
            result_id=result_id,
            sink=sink,
            size=size,
        )


def _known(service: Service, session: Session, work: Work, result: Result) -> None:
    """Asked for before, by another name or as a shadow: nothing is computed twice."""
    image = session.get_one(Image, work.subject)
    if not work.details["shadow"]:
        kept, shown = session.merge(result), bool(work.details["shown"])
        kept.shadow = False
        for destination in work.details["destinations"]:
            _send(service, session, image, result=kept, destination=destination, shown=shown)
    if work.details["shown"] and image.state != "analysed":
        answer = ImageResult.from_json(result.document["images"][0])
        _show(image, answer, None, work.details["pipeline"])
        image.analysed = result.made
        settle(service, session, image, "analysed")
    elif not work.details["shadow"]:
        _say_of_another(service, session, work, f"is there, as “{result.pipeline}”")
    service.queue.finish(session, work)


def _with_result(
    service: Service,
    session: Session,
    work: Work,
    loaded: LoadedPipeline,
    answer: ImageResult,
    result_id: str,
    sink: _Collected,
    size: int,
) -> None:
    details, image = work.details, session.get_one(Image, work.subject)
    document = RunResult(loaded.info, (answer,), loaded.combine((answer,))).to_json()
    result = Result(
        id=result_id,
        image=image.id,
        pipeline=details["pipeline"],
        fingerprint=loaded.fingerprint,
        made=service.records.clock(),
        bytes=size,
        shadow=details["shadow"],
        document=document,
        files=dict(answer.files),
    )
    service.records.add_once(session, result)
    for warning in answer.warnings:
        if warning.startswith(NOT_WRITTEN):
            service.records.say(session, image.id, image.state, plain(warning) or "")
    if details["shown"]:
        _show(image, answer, sink.radiograph, details["pipeline"])
        image.analysed = result.made
        settle(service, session, image, "analysed")
    elif not details["shadow"]:
        words = f"analysed by {details['pipeline']} too"
        service.records.say(session, image.id, image.state, words)
    for destination in details["destinations"]:
        _send(
            service,
            session,
            image,
            result=result,
            destination=destination,
            shown=bool(details["shown"]),
        )
    service.queue.finish(session, work)


def _show(image: Image, answer: ImageResult, radiograph: Radiograph | None, name: str) -> None:
    """The image's row says what its pipeline found."""
    findings = answer.findings
    assert findings is not None
    image.pipeline, image.finding = name, bool(answer.marked)
    image.rows, image.columns = answer.height, answer.width
    image.score = findings.lead
    if radiograph is not None and radiograph.spacing_mm is not None:
        image.spacing = list(radiograph.spacing_mm)


def _without_result(service: Service, session: Session, work: Work, state: str, why: str) -> None:
    image = session.get_one(Image, work.subject)
    if work.details["shown"]:
        settle(service, session, image, state=state, why=why)
    else:
        _say_of_another(service, session, work, f"{state}: {why}")
    service.queue.finish(session, work, "failed" if state == "failed" else "done", why)


def _say_of_another(service: Service, session: Session, work: Work, what: str) -> None:
    """What came of an analysis beside the one that is shown: the image stands as it did."""
    image, words = session.get_one(Image, work.subject), f"analysis by {work.details['pipeline']}"
    service.records.say(session, image.id, image.state, plain(f"{words} {what}") or "")


def settle(
    service: Service, session: Session, image: Image, state: str, why: str | None = None
) -> None:
    """An image has come to an end, which its history and a work list are told."""
    image.state, image.reason = state, plain(why)
    level = logging.ERROR if state == "failed" else logging.INFO
    log.log(level, "image %s is %s%s", image.id, state, f": {image.reason}" if why else "")
    if state == "refused":
        link_priors(service, session, image)
    service.records.say(session, image.id, state, state + (f": {image.reason}" if why else ""))
    service.audit.analysed(session, image)
    worklist.hurry(service, session, image.id)


def _send(
    service: Service,
    session: Session,
    image: Image,
    result: Result,
    destination: str,
    shown: bool,
) -> None:
    """Deliveries of a result to one destination, and their work."""
    wanted = service.config.destinations.get(destination)
    for kind in wanted.objects if wanted else ():
        if kind == SOURCE:
            if shown:
                _deliver(service, session, image, result=None, destination=destination, kind=kind)
        elif kind in result.files:
            _deliver(service, session, image, result=result.id, destination=destination, kind=kind)


def _deliver(
    service: Service,
    session: Session,
    image: Image,
    result: str | None,
    destination: str,
    kind: str,
) -> None:
    now = service.records.clock()
    delivery = Delivery(
        id=hashed(image.id, result, destination, kind),
        image=image.id,
        result=result,
        destination=destination,
        object=kind,
        state="waiting",
        attempts=0,
        since=now,
        changed=now,
    )
    if service.records.add_once(session, delivery):
        place: dict[str, Any] = {"priority": image.priority, "asker": destination}
        service.queue.add(session, DELIVER, delivery.id, **place)


# --- Work that ends badly -----------------------------------------------------------------------


def given_up(service: Service, session: Session, work: Work, why: str) -> None:
    """The image of a check or analysis that cannot be done is `failed`, visibly."""
    if work.kind == CHECK or work.details.get("shown"):
        image = session.get_one(Image, work.subject)
        if image.state not in _SETTLED:
            settle(service, session, image, state="failed", why=why)
    elif work.kind == ANALYSE:
        _say_of_another(service, session, work, f"failed: {why}")


def _key(file: File) -> str:
    return file.key if file.key == file.writer else f"{file.writer}-{file.key}"


def _name(file: File) -> str:
    return f"{file.writer}{file.ending}".lower()
