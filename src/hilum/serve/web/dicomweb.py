"""DICOMweb (PS3.18): STOW-RS in, QIDO-RS and WADO-RS of what is held, own results included."""

from __future__ import annotations

import fnmatch
import json
import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from fastapi.exceptions import HTTPException
from pydicom.datadict import keyword_for_tag, tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.encaps import generate_fragmented_frames
from starlette.concurrency import run_in_threadpool

from hilum.core.errors import InputRefused
from hilum.core.turns import Busy
from hilum.dicom.part10 import looks_like_dicom
from hilum.dicom.stored import StoredImage
from hilum.report.writers.picture import picture
from hilum.serve.records import RecordsUnavailable
from hilum.serve.service import Service
from hilum.serve.store import StoreUnavailable
from hilum.serve.web.auth import Reader
from hilum.serve.web.held import Held, objects, readable
from hilum.serve.web.images import jpeg, previews_of, service_of
from hilum.serve.web.multipart import parts, related
from hilum.serve.web.problems import gone

log = logging.getLogger(__name__)
router = APIRouter(prefix="/dicom-web", tags=["dicomweb"])
JSON, DICOM, OCTETS = "application/dicom+json", "application/dicom", "application/octet-stream"
Uid = Annotated[str, Path(pattern=r"^[0-9.]{1,64}$")]
Frame = Annotated[str, Path(pattern=r"^[0-9]{1,4}$")]
# Failure reasons of PS3.18 table I.2-2 and PS3.4 table B.2-1.
NO_RESOURCES, CANNOT_UNDERSTAND, WRONG_STUDY = 0xA700, 0xC000, 0xA900
MOST = 1000  # answers of a query without a limit
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
_ANY_OF: dict[int | str, dict[str, Any]] = {
    200: {"content": {kind: {} for kind in (JSON, "multipart/related", "image/jpeg")}},
    204: {"description": "Nothing of it is held"},
}
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


@router.get("/studies", response_class=Response, responses=_ANY_OF)
def find_studies(request: Request, user: Reader) -> Response:
    """Studies that match."""
    return _found(request, {}, "study", STUDY)


@router.get("/series", response_class=Response, responses=_ANY_OF)
def find_series(request: Request, user: Reader) -> Response:
    """Series that match."""
    return _found(request, {}, "series", (*STUDY, *SERIES))


@router.get("/instances", response_class=Response, responses=_ANY_OF)
def find_instances(request: Request, user: Reader) -> Response:
    """Instances that match."""
    return _found(request, {}, "sop", (*STUDY, *SERIES, *INSTANCE))


@router.get("/studies/{study}/series", response_class=Response, responses=_ANY_OF)
def series_of_study(request: Request, study: Uid, user: Reader) -> Response:
    """Series of a study."""
    return _found(request, {"study": study}, "series", (*STUDY, *SERIES))


@router.get("/studies/{study}/instances", response_class=Response, responses=_ANY_OF)
def instances_of_study(request: Request, study: Uid, user: Reader) -> Response:
    """Instances of a study."""
    return _found(request, {"study": study}, "sop", (*STUDY, *SERIES, *INSTANCE))


@router.get(
    "/studies/{study}/series/{series}/instances", response_class=Response, responses=_ANY_OF
)
def instances_of_series(request: Request, study: Uid, series: Uid, user: Reader) -> Response:
    """Instances of a series."""
    where = {"study": study, "series": series}
    return _found(request, where, "sop", (*STUDY, *SERIES, *INSTANCE))


# Asked of the database; everything else of the headers.
_NARROWING = {"StudyInstanceUID": "study", "PatientID": "patient", "AccessionNumber": "accession"}
_KEYS = {"study": "StudyInstanceUID", "series": "SeriesInstanceUID", "sop": "SOPInstanceUID"}


def _found(
    request: Request, where: Mapping[str, str], level: str, attributes: tuple[str, ...]
) -> Response:
    """One answer per study, series or instance; 204 for none (PS3.18 section 10.6.3.3)."""
    query = _query(request)
    narrowed = dict(where)
    for keyword, name in _NARROWING.items():
        if re.fullmatch(r"[^*?,\\\0]+", query.wanted.get(keyword, "")):
            narrowed.setdefault(name, query.wanted[keyword])
    groups: dict[str, list[Dataset]] = {}
    asker = request.state.user.name
    for held in readable(objects(service_of(request), narrowed, asker=asker)):
        if _matches(held.dataset, query.wanted):
            groups.setdefault(str(held.dataset.get(_KEYS[level], "")), []).append(held.dataset)
        if len(groups) > query.limit + query.offset:
            break
    base = str(request.url_for("find_studies"))
    chosen = list(groups.values())[query.offset : query.offset + query.limit]
    answers = [_answer(group, (*attributes, *query.attributes), level, base) for group in chosen]
    if not answers:
        return Response(status_code=204)
    return Response(json.dumps([one.to_json_dict() for one in answers]), media_type=JSON)


@dataclass(frozen=True, slots=True)
class _Query:
    limit: int
    offset: int
    wanted: Mapping[str, str]  # values by keyword
    attributes: tuple[str, ...]  # asked for beside the usual ones


def _query(request: Request) -> _Query:
    wanted, extra = dict[str, str](), list[str]()
    numbers = {"limit": MOST, "offset": 0}
    for name, value in request.query_params.multi_items():
        if name in numbers:
            if not re.fullmatch(r"[0-9]{1,6}", value):
                raise HTTPException(400, f"{name}: needed: a whole number")
            numbers[name] = int(value)
        elif name == "includefield":
            extra += [_keyword(one) for one in value.split(",") if one != "all"]
        elif name != "fuzzymatching":
            wanted[_keyword(name)] = value
    return _Query(
        limit=min(numbers["limit"], MOST),
        offset=numbers["offset"],
        wanted=wanted,
        attributes=tuple(filter(None, extra)),
    )


def _keyword(name: str) -> str:
    """Of a keyword or a tag such as 0020000D.

    Raises:
        HTTPException: 400, the standard knows none.
    """
    keyword = keyword_for_tag(int(name, 16)) if re.fullmatch("[0-9A-Fa-f]{8}", name) else name
    if name != "ModalitiesInStudy" and (not keyword or tag_for_keyword(keyword) is None):
        raise HTTPException(400, "a query names an attribute that the standard does not know")
    return keyword


def _matches(ds: Dataset, wanted: Mapping[str, str]) -> bool:
    return all(_matches_one(ds, name, value) for name, value in wanted.items())


def _matches_one(ds: Dataset, name: str, value: str) -> bool:
    """Ranges of dates, lists of UIDs, * and ? (PS3.4 section C.2.2.2)."""
    name = "Modality" if name == "ModalitiesInStudy" else name
    held = str(ds.get(name, "") or "")
    if value in ("", "*"):
        return True
    if "-" in value and name.endswith("Date"):
        first, _, last = value.partition("-")
        return bool(held) and first <= held and (not last or held <= last)
    if name.endswith("UID"):
        return held in re.split(r"[,\\]", value)
    return fnmatch.fnmatchcase(held.lower(), value.lower().replace("[", "[[]"))


def _answer(group: list[Dataset], attributes: Iterable[str], level: str, base: str) -> Dataset:
    first, out = group[0], Dataset()
    for name in attributes:
        if name in first:
            out[name] = first[name]
    if level == "study":
        out.ModalitiesInStudy = sorted({str(ds.get("Modality", "")) for ds in group} - {""})
        series = {str(ds.get("SeriesInstanceUID", "")) for ds in group}
        out.NumberOfStudyRelatedSeries = len(series)
        out.NumberOfStudyRelatedInstances = len(group)
    if level == "series":
        out.NumberOfSeriesRelatedInstances = len(group)
    out.InstanceAvailability = "ONLINE"
    path = f"{base}/{first.get('StudyInstanceUID', '')}"
    if level != "study":
        path += f"/series/{first.get('SeriesInstanceUID', '')}"
    if level == "sop":
        path += f"/instances/{first.get('SOPInstanceUID', '')}"
    out.RetrieveURL = path
    return out


# --- WADO-RS ------------------------------------------------------------------------------------


def _wanted(request: Request, **where: str) -> list[Held]:
    """
    Raises:
        HTTPException: 404, nothing of it is held.
    """
    instances = list(objects(service_of(request), where, asker=request.state.user.name))
    if not instances:
        raise gone("object")
    request.app.state.service.audit.tell("viewed", image=instances[0].image.id, text="WADO-RS")
    return instances


def _whole(request: Request, **where: str) -> Response:
    instances = _wanted(request, **where)
    accept = request.headers.get("accept", "*/*")
    if len(instances) == 1 and accept.strip().startswith(DICOM) and "+json" not in accept:
        return Response(instances[0].content, media_type=DICOM)
    return related(((DICOM, one.content) for one in instances), DICOM)


def _metadata(request: Request, **where: str) -> Response:
    instances = readable(iter(_wanted(request, **where)))
    content = json.dumps([_header(one.dataset) for one in instances])
    return Response(content, media_type=JSON)


def _header(ds: Dataset) -> dict[str, Any]:
    return ds.to_json_dict(suppress_invalid_tags=True)


@router.get("/studies/{study}", response_class=Response, responses=_ANY_OF)
def study(request: Request, study: Uid, user: Reader) -> Response:
    """All instances of a study, bit by bit."""
    return _whole(request, study=study)


@router.get("/studies/{study}/metadata", response_class=Response, responses=_ANY_OF)
def study_metadata(request: Request, study: Uid, user: Reader) -> Response:
    """Headers of a study."""
    return _metadata(request, study=study)


@router.get("/studies/{study}/series/{series}", response_class=Response, responses=_ANY_OF)
def series(request: Request, study: Uid, series: Uid, user: Reader) -> Response:
    """All instances of a series."""
    return _whole(request, study=study, series=series)


@router.get("/studies/{study}/series/{series}/metadata", response_class=Response, responses=_ANY_OF)
def series_metadata(request: Request, study: Uid, series: Uid, user: Reader) -> Response:
    """Headers of a series."""
    return _metadata(request, study=study, series=series)


_INSTANCE = "/studies/{study}/series/{series}/instances/{sop}"


@router.get(_INSTANCE, response_class=Response, responses=_ANY_OF)
def instance(request: Request, study: Uid, series: Uid, sop: Uid, user: Reader) -> Response:
    """One instance, bit by bit."""
    return _whole(request, study=study, series=series, sop=sop)


@router.get(f"{_INSTANCE}/metadata", response_class=Response, responses=_ANY_OF)
def instance_metadata(
    request: Request, study: Uid, series: Uid, sop: Uid, user: Reader
) -> Response:
    """Header of one instance."""
    return _metadata(request, study=study, series=series, sop=sop)


@router.get(f"{_INSTANCE}/rendered", response_class=Response, responses=_ANY_OF)
def rendered(request: Request, study: Uid, series: Uid, sop: Uid, user: Reader) -> Response:
    """One image as displayed, JPEG."""
    held = _wanted(request, study=study, series=series, sop=sop)[0]
    if held.kind not in ("image", "sc"):
        raise HTTPException(406, "this object is no image")
    key = held.result.id if held.result else held.image.id
    radiograph = previews_of(request).read(key, lambda: held.stored.radiograph())
    return Response(jpeg(picture(radiograph, 2048)), media_type="image/jpeg")


@router.get(f"{_INSTANCE}/frames/{{frame}}", response_class=Response, responses=_ANY_OF)
def frames(
    request: Request, study: Uid, series: Uid, sop: Uid, frame: Frame, user: Reader
) -> Response:
    """Pixels of the frame, in the transfer syntax that they are stored in."""
    held = _wanted(request, study=study, series=series, sop=sop)[0]
    stored = held.stored
    contents = list(_frames(stored))
    if not 1 <= int(frame) <= len(contents):
        raise gone("frame")
    syntax = stored.parsed.syntax if stored.parsed else ""
    kind = f"{OCTETS}; transfer-syntax={syntax}"
    return related([(kind, contents[int(frame) - 1])], OCTETS)


def _frames(stored: StoredImage) -> Iterator[bytes]:
    pixels = stored.parsed.pixels if stored.parsed else None
    if pixels is None:
        return
    count = int(stored.header.text("NumberOfFrames") or 1)
    if not pixels.encapsulated:
        size = len(pixels.value) // max(count, 1)
        yield from (bytes(pixels.value[i * size : (i + 1) * size]) for i in range(count))
        return
    try:
        for fragments in generate_fragmented_frames(bytes(pixels.value), number_of_frames=count):
            yield b"".join(fragments)
    except (ValueError, IndexError) as error:
        raise HTTPException(422, "its pixel data are damaged") from error
