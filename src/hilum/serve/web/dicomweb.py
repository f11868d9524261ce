"""DICOMweb (PS3.18): STOW-RS in, QIDO-RS of what is held, own results included."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.exceptions import HTTPException
from pydicom.dataset import Dataset
from starlette.concurrency import run_in_threadpool

from hilum.core.errors import InputRefused
from hilum.core.turns import Busy
from hilum.dicom.part10 import looks_like_dicom
from hilum.serve.records import RecordsUnavailable
from hilum.serve.service import Service
from hilum.serve.store import StoreUnavailable
from hilum.serve.web.auth import Reader, peer_of
from hilum.serve.web.held import narrowed, studies
from hilum.serve.web.images import service_of
from hilum.serve.web.media import DICOM, JSON, PREFIX, UID, Accept, Accepted, Media, Uid, responses
from hilum.serve.web.multipart import parts
from hilum.serve.web.query import Query, query_of

log = logging.getLogger(__name__)
router = APIRouter(prefix=PREFIX, tags=["dicomweb"])
# Failure reasons of PS3.18 table I.2-2 and PS3.4 table B.2-1.
NO_RESOURCES, CANNOT_UNDERSTAND, WRONG_STUDY = 0xA700, 0xC000, 0xA900
BINARY = ("OB", "OW", "OF", "OD", "OL", "OV", "UN")
STUDY = (
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "ReferringPhysicianName",
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyInstanceUID",
    "StudyID",
    "StudyDescription",
)
SERIES = ("Modality", "SeriesDescription", "SeriesInstanceUID", "SeriesNumber")
INSTANCE = (
    "SOPClassUID",
    "SOPInstanceUID",
    "InstanceNumber",
    "Rows",
    "Columns",
    "BitsAllocated",
    "NumberOfFrames",
)
# Older clients ask for JSON by its general name.
_LISTS = (Media(kind=JSON), Media(kind="application/json"))
_MATCHES = responses(*map(str, _LISTS)) | {204: {"description": "Nothing matches"}}
_STOWED: dict[int | str, dict[str, Any]] = {
    code: {"description": text, "content": {JSON: {}}}
    for code, text in {200: "All", 202: "Some", 409: "None", 503: "No room"}.items()
}
_OBJECTS = {"schema": {"type": "string", "format": "binary"}}
_BODY = {"requestBody": {"required": True, "content": {"multipart/related": _OBJECTS}}}


# --- STOW-RS ------------------------------------------------------------------------------------


@router.post("/studies", response_class=Response, responses=_STOWED, openapi_extra=_BODY)
async def stow(request: Request, user: Reader) -> Response:
    """Store instances; the answer says of each what became of it."""
    return await _stow(request, user.name, None)


@router.post("/studies/{study}", response_class=Response, responses=_STOWED, openapi_extra=_BODY)
async def stow_study(request: Request, study: Uid, user: Reader) -> Response:
    """Store instances of one study."""
    return await _stow(request, user.name, study)


async def _stow(request: Request, sender: str, study: str | None) -> Response:
    kind = request.headers.get("content-type", "")
    if not kind.lower().startswith("multipart/related"):
        raise HTTPException(415, 'needed: multipart/related; type="application/dicom"')
    content = await request.body()
    try:
        bodies = list(parts(content, kind))
    except ValueError as error:
        raise HTTPException(400, str(error)) from error
    if not bodies:
        raise HTTPException(400, "the body has no part")
    return await run_in_threadpool(_stowed, service_of(request), bodies, sender, study)


def _stowed(
    service: Service, bodies: list[tuple[str, bytes]], sender: str, study: str | None
) -> Response:
    """Each part through the intake."""
    done, failed = list[Dataset](), list[Dataset]()
    for kind, data in bodies:
        item, reason = _stow_one(service, data, kind, sender=sender, study=study)
        if reason:
            item.FailureReason = reason
        (failed if reason else done).append(item)
    answer = Dataset()
    if done:
        answer.ReferencedSOPSequence = done
    if failed:
        answer.FailedSOPSequence = failed
    full = any(item.FailureReason == NO_RESOURCES for item in failed)
    status = 503 if full else 200 if not failed else 202 if done else 409
    content = json.dumps(answer.to_json_dict())
    headers = {"Retry-After": "10"} if full else None
    return Response(content, status, headers=headers, media_type=JSON)


def _stow_one(
    service: Service, data: bytes, kind: str, sender: str, study: str | None
) -> tuple[Dataset, int]:
    """Reference of one instance, and why it is not stored (0: it is)."""
    item = Dataset()
    if kind != DICOM or not looks_like_dicom(data[:132]):
        return item, CANNOT_UNDERSTAND
    if len(data) > service.config.node.object_bytes:
        return item, NO_RESOURCES
    try:
        stored = service.opened("part", data, sender)
    except InputRefused:
        return item, CANNOT_UNDERSTAND
    except Busy:
        return item, NO_RESOURCES
    uids = {"ReferencedSOPClassUID": stored.sop_class}
    uids["ReferencedSOPInstanceUID"] = stored.ids.sop_instance_uid
    if not all(value and re.fullmatch(r"[0-9.]{1,64}", value) for value in uids.values()):
        return item, CANNOT_UNDERSTAND
    for name, value in uids.items():
        setattr(item, name, value)
    if study is not None and stored.ids.study_instance_uid != study:
        return item, WRONG_STUDY
    try:
        service.intake.receive(data, origin="stow", sender=sender)
    except (Busy, StoreUnavailable, RecordsUnavailable) as error:
        log.error("STOW-RS answered 0xA700, out of resources: %s", error)
        return item, NO_RESOURCES
    return item, 0


# --- QIDO-RS ------------------------------------------------------------------------------------


@router.get("/studies", response_class=Response, responses=_MATCHES)
def find_studies(request: Request, accept: Accepted, user: Reader) -> Response:
    """Studies that match."""
    return _found(request, accept, {}, "study")


@router.get("/series", response_class=Response, responses=_MATCHES)
def find_series(request: Request, accept: Accepted, user: Reader) -> Response:
    """Series that match."""
    return _found(request, accept, {}, "series")


@router.get("/instances", response_class=Response, responses=_MATCHES)
def find_instances(request: Request, accept: Accepted, user: Reader) -> Response:
    """Instances that match."""
    return _found(request, accept, {}, "sop")


@router.get("/studies/{study}/series", response_class=Response, responses=_MATCHES)
def series_of_study(request: Request, study: Uid, accept: Accepted, user: Reader) -> Response:
    """Series of a study."""
    return _found(request, accept, {"study": study}, "series")


@router.get("/studies/{study}/instances", response_class=Response, responses=_MATCHES)
def instances_of_study(request: Request, study: Uid, accept: Accepted, user: Reader) -> Response:
    """Instances of a study."""
    return _found(request, accept, {"study": study}, "sop")


@router.get(
    "/studies/{study}/series/{series}/instances", response_class=Response, responses=_MATCHES
)
def instances_of_series(
    request: Request, study: Uid, series: Uid, accept: Accepted, user: Reader
) -> Response:
    """Instances of a series."""
    where = {"study": study, "series": series}
    return _found(request, accept, where, "sop")


_ATTRIBUTES = {
    "study": STUDY,
    "series": (*STUDY, *SERIES),
    "sop": (*STUDY, *SERIES, *INSTANCE),
}
_KEYS = {"study": "StudyInstanceUID", "series": "SeriesInstanceUID", "sop": "SOPInstanceUID"}
_MORE = '299 hilum "There are additional results that can be requested"'
Group = list[Dataset]


def _found(request: Request, accept: Accept, where: Mapping[str, str], level: str) -> Response:
    """One answer per study, series or instance; 204 for none (PS3.18 section 10.6.3.3)."""
    kind = accept.choose(_LISTS).kind
    query = query_of(request.query_params.multi_items())
    service, user = service_of(request), request.state.user.name
    # Without its words, which may name a patient.
    service.audit.tell("query", user=user, peer=peer_of(request), text=f"QIDO-RS, {level}")
    path = {_KEYS[name]: value for name, value in where.items()}
    base = str(request.url_for("find_studies"))
    answers, most = list[Dataset](), query.offset + query.limit
    for study in studies(service, narrowed(query, path), user):
        held = [one.dataset for one in study]
        if query.modalities and query.modalities.isdisjoint(_modalities(held)):
            continue
        of_level = _by(held, _KEYS[level])
        fitting = _by(filter(query.fits, _asked_for(held, path)), _KEYS[level])
        fitting.pop("", None)  # images without a study are no study: they are found as instances
        for uid, (first, *_) in fitting.items():
            out = _answer(first, query, level)
            if place := _path(first, level):
                out.RetrieveURL = base + place
            answers.append(_counted(out, of_level[uid], held, level))
        if len(answers) > most:
            break
    chosen = [one.to_json_dict() for one in answers[query.offset : most]]
    if not chosen:
        return Response(status_code=204)
    headers = {"Warning": _MORE} if len(answers) > most else None
    return Response(json.dumps(chosen), media_type=kind, headers=headers)


def _by(held: Iterable[Dataset], keyword: str) -> dict[str, Group]:
    groups: dict[str, Group] = {}
    for ds in held:
        groups.setdefault(str(ds.get(keyword, "")), []).append(ds)
    return groups


def _asked_for(held: Iterable[Dataset], path: Mapping[str, str]) -> Iterator[Dataset]:
    return (ds for ds in held if all(str(ds.get(k, "")) == v for k, v in path.items()))


def _modalities(held: Iterable[Dataset]) -> set[str]:
    return {str(ds.get("Modality", "")) for ds in held} - {""}


def _answer(first: Dataset, query: Query, level: str) -> Dataset:
    """What the first that fits has of the attributes of a level."""
    out = Dataset()
    names = (*_ATTRIBUTES[level], *query.attributes)
    if query.every and level == "sop":
        names = (*names, *(one.keyword for one in first if one.keyword and one.VR not in BINARY))
    for name in names:
        if name in first:
            out[name] = first[name]
    return out


def _path(ds: Dataset, level: str) -> str:
    """Where a study, series or instance is retrieved from, below `/studies`; "" where one of its
    UIDs is none, as those of files that are no more than named."""
    names = {"studies": "study", "series": "series", "instances": "sop"}
    upto = [*names.values()].index(level) + 1
    uids = {name: str(ds.get(_KEYS[key], "")) for name, key in [*names.items()][:upto]}
    if not all(re.fullmatch(UID, uid) for uid in uids.values()):
        return ""
    return "/".join(f"{name}/{uid}" for name, uid in uids.items()).removeprefix("studies")


def _counted(out: Dataset, group: Group, held: Group, level: str) -> Dataset:
    """With what is counted over all of the study or series, whatever of it was asked for."""
    if level == "study":
        out.ModalitiesInStudy = sorted(_modalities(held))
        out.NumberOfStudyRelatedSeries = len(_by(held, "SeriesInstanceUID"))
        out.NumberOfStudyRelatedInstances = len(held)
    if level == "series":
        out.NumberOfSeriesRelatedInstances = len(group)
    out.InstanceAvailability = "ONLINE"
    return out
