"""Earlier images of the patient, asked of an archive beside the analysis and never before it.

Found by QIDO-RS or C-FIND, fetched by WADO-RS or C-MOVE to our own node. They come in by the same
door as everything, are kept, and are not analysed; `analysis.link_priors` joins them to the image.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy.orm import Session

from hilum.dicom.web import PeerFailed, WebArchive, text_of, texts_of
from hilum.serve.peers import DicomArchive
from hilum.serve.tables import Image, Work

if TYPE_CHECKING:
    from hilum.serve.config import Priors
    from hilum.serve.service import Service

log = logging.getLogger(__name__)
AGAIN_S = 30.0
MODALITIES = ("CR", "DX")


def fetch(service: Service, work: Work) -> None:
    """Fetch the newest earlier studies of an image's patient, or leave it after a while."""
    config, image = service.config.priors, service.records.image(work.subject)
    if config is None or image is None or not image.patient:
        _leave(service, work, "no priors to ask for")
        return
    try:
        count = (
            _from_web(service, config, image) if config.web else _from_node(service, config, image)
        )
    except PeerFailed as error:
        log.warning("priors of image %s: %s", image.id, error)
        if service.clock() - image.received >= config.within_s:
            _leave(service, work, f"priors are not to be had: {error}")
            return
        with service.records.write() as session:
            due = service.clock() + AGAIN_S
            service.queue.postpone(session, work, due, str(error))
        return
    _leave(service, work, f"{count} earlier studies asked for")


def _from_web(service: Service, config: Priors, image: Image) -> int:
    assert config.web is not None
    archive = WebArchive(config.web)
    studies = [
        _Study(
            uid=text_of(one, "0020000D") or "",
            date=text_of(one, "00080020") or "",
            patient=text_of(one, "00100020") or "",
            modalities=texts_of(one, "00080061"),
        )
        for one in archive.query("/studies", {"PatientID": str(image.patient)})
    ]
    chosen = _chosen(studies, image, config.newest)
    for study in chosen:
        for series in archive.query(f"/studies/{study}/series", {}):
            uid = text_of(series, "0020000E")
            if uid and text_of(series, "00080060") in MODALITIES:
                for content in archive.retrieve(f"/studies/{study}/series/{uid}"):
                    service.intake.receive(content, origin="prior", sender="priors")
    return len(chosen)


def _from_node(service: Service, config: Priors, image: Image) -> int:
    assert config.dicom is not None
    node = DicomArchive(config.dicom, service.config.node.ae_title)
    wanted = {"PatientID": str(image.patient), "ModalitiesInStudy": ""}
    answers = node.find(QueryRetrieveLevel="STUDY", StudyDate="", StudyInstanceUID="", **wanted)
    studies = [
        _Study(
            uid=str(one.get("StudyInstanceUID", "")),
            date=str(one.get("StudyDate", "")),
            patient=str(one.get("PatientID", "")),
            modalities=_values(one.get("ModalitiesInStudy")),
        )
        for one in answers
    ]
    chosen = _chosen(studies, image, config.newest)
    for study in chosen:
        # Series by series: our node takes no report or CT that lies beside a radiograph.
        level = {"QueryRetrieveLevel": "SERIES", "StudyInstanceUID": study}
        for series in node.find(SeriesInstanceUID="", Modality="", **level):
            if series.get("Modality") in MODALITIES and series.get("SeriesInstanceUID"):
                node.move(SeriesInstanceUID=str(series.SeriesInstanceUID), **level)
    return len(chosen)


def _values(value: Any) -> list[str]:
    """Of an attribute with none, one or several."""
    return [] if not value else [value] if isinstance(value, str) else [*map(str, value)]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Study:
    """What an archive says of one."""

    uid: str
    date: str
    patient: str
    modalities: Sequence[str]  # none: not told

    @property
    def has_radiograph(self) -> bool:
        """Where it is not told: perhaps."""
        return not self.modalities or not set(MODALITIES).isdisjoint(self.modalities)


def _chosen(studies: list[_Study], image: Image, newest: int) -> list[str]:
    """The newest studies with a radiograph before the image's own; of this patient, even where an
    archive answers others, such as to an ID with a wildcard in it."""
    own = image.study_date or "99999999"
    earlier = {
        one.uid: one.date
        for one in studies
        if one.date
        and one.date < own
        and one.uid != image.study
        and one.patient.strip() == image.patient
        and one.has_radiograph
    }
    order = sorted(earlier, key=lambda study: earlier[study], reverse=True)
    return [study for study in order if study][:newest]


def _leave(service: Service, work: Work, what: str) -> None:
    with service.records.write() as session:
        _say(service, session, work, what)
        service.queue.finish(session, work)


def _say(service: Service, session: Session, work: Work, what: str) -> None:
    image = session.get(Image, work.subject)
    if image is not None:
        service.records.say(session, image.id, image.state, what)


def given_up(service: Service, session: Session, work: Work, why: str) -> None:
    """An image without its priors is an image."""
    _say(service, session, work, f"priors are not to be had: {why}")
