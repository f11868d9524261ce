"""DICOMweb (PS3.18): STOW-RS in, QIDO-RS and WADO-RS of what is held, own results included."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from fastapi.exceptions import HTTPException
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
from hilum.serve.web.held import Held, narrowed, objects, readable, studies
from hilum.serve.web.images import jpeg, previews_of, service_of
from hilum.serve.web.multipart import parts, related
from hilum.serve.web.problems import gone
from hilum.serve.web.query import Query, query_of

log = logging.getLogger(__name__)
router = APIRouter(prefix="/dicom-web", tags=["dicomweb"])
JSON, DICOM, OCTETS = "application/dicom+json", "application/dicom", "application/octet-stream"
UID = r"^[0-9.]{1,64}$"
Uid = Annotated[str, Path(pattern=UID)]
Frames = Annotated[str, Path(pattern=r"^[0-9]{1,4}(,[0-9]{1,4})*$")]
# Failure reasons of PS3.18 table I.2-2 and PS3.4 table B.2-1.
NO_RESOURCES, CANNOT_UNDERSTAND, WRONG_STUDY = 0xA700, 0xC000, 0xA900
BINARY, LARGE = ("OB", "OW", "OF", "OD", "OL", "OV", "UN"), 2**20  # bytes
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


_KEYS = {"study": "StudyInstanceUID", "series": "SeriesInstanceUID", "sop": "SOPInstanceUID"}
_MORE = '299 hilum "There are additional results that can be requested"'
Group = list[Dataset]


def _found(
    request: Request, where: Mapping[str, str], level: str, attributes: tuple[str, ...]
) -> Response:
    """One answer per study, series or instance; 204 for none (PS3.18 section 10.6.3.3)."""
    query = query_of(request.query_params.multi_items())
    path = {_KEYS[name]: value for name, value in where.items()}
    base = str(request.url_for("find_studies"))
    answers, most = list[Dataset](), query.offset + query.limit
    for study in studies(service_of(request), narrowed(query, path), request.state.user.name):
        held = [one.dataset for one in study]
        if query.modalities and query.modalities.isdisjoint(_modalities(held)):
            continue
        of_level = _by(held, _KEYS[level])
        fitting = _by(filter(query.fits, _asked_for(held, path)), _KEYS[level])
        fitting.pop("", None)  # images without a study are no study: they are found as instances
        for uid, (first, *_) in fitting.items():
            out = _answer(first, query, attributes, level)
            if place := _path(first, level):
                out.RetrieveURL = base + place
            answers.append(_counted(out, of_level[uid], held, level))
        if len(answers) > most:
            break
    chosen = [one.to_json_dict() for one in answers[query.offset : most]]
    if not chosen:
        return Response(status_code=204)
    headers = {"Warning": _MORE} if len(answers) > most else None
    return Response(json.dumps(chosen), media_type=JSON, headers=headers)


def _by(held: Iterable[Dataset], keyword: str) -> dict[str, Group]:
    groups: dict[str, Group] = {}
    for ds in held:
        groups.setdefault(str(ds.get(keyword, "")), []).append(ds)
    return groups


def _asked_for(held: Iterable[Dataset], path: Mapping[str, str]) -> Iterator[Dataset]:
    return (ds for ds in held if all(str(ds.get(k, "")) == v for k, v in path.items()))


def _modalities(held: Iterable[Dataset]) -> set[str]:
    return {str(ds.get("Modality", "")) for ds in held} - {""}


def _answer(first: Dataset, query: Query, attributes: tuple[str, ...], level: str) -> Dataset:
    """What the first that fits has of the attributes."""
    out = Dataset()
    names = (*attributes, *query.attributes)
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
    for one in instances:  # before an answer is begun
        one.check_there()
    return related(((DICOM, one.content) for one in instances), DICOM)


def _metadata(request: Request, **where: str) -> Response:
    instances = readable(iter(_wanted(request, **where)))
    content = json.dumps([_header(one.dataset) for one in instances])
    return Response(content, media_type=JSON)


def _header(ds: Dataset) -> dict[str, Any]:
    """Without what is as large as pixels, such as a document: that comes with the instance."""
    large = [e.tag for e in ds if e.VR in BINARY and len(e.value or b"") > LARGE]
    for tag in large:
        del ds[tag]
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


@router.get(f"{_INSTANCE}/frames/{{numbers}}", response_class=Response, responses=_ANY_OF)
def frames(
    request: Request, study: Uid, series: Uid, sop: Uid, numbers: Frames, user: Reader
) -> Response:
    """Pixels of frames by their numbers, a part each, in the transfer syntax that they are stored
    in; a number that stands twice is answered once."""
    stored = _wanted(request, study=study, series=series, sop=sop)[0].stored
    order = [*dict.fromkeys(map(int, numbers.split(",")))]
    held = _frames(stored, set(order))
    if missing := [number for number in order if number not in held]:
        raise HTTPException(404, f"there is no frame {missing[0]}")
    syntax = stored.parsed.syntax if stored.parsed else ""
    kind = f"{OCTETS}; transfer-syntax={syntax}"
    return related([(kind, held[number]) for number in order], OCTETS)


def _frames(stored: StoredImage, numbers: set[int]) -> dict[int, bytes]:
    """The bytes of the frames that are there, by number from 1, whatever the header counts.

    Raises:
        HTTPException: 422, damaged.
        InputRefused: the header has no whole number where one is needed.
    """
    pixels, header = stored.parsed.pixels if stored.parsed else None, stored.header
    count = max(header.integer("NumberOfFrames", 1), 1)
    there = {number for number in numbers if 1 <= number <= count}
    if pixels is None or not there:
        return {}
    if not pixels.encapsulated:
        rows, columns = header.integer("Rows"), header.integer("Columns")
        bits = header.integer("BitsAllocated") * header.integer("SamplesPerPixel", 1)
        size = max((rows * columns * bits + 7) // 8, 0)
        native = {n: bytes(pixels.value[(n - 1) * size : n * size]) for n in there}
        return {n: content for n, content in native.items() if content}
    try:
        fragments = generate_fragmented_frames(bytes(pixels.value), number_of_frames=count)
        upto = enumerate(islice(fragments, max(there)), start=1)
        return {n: b"".join(parts) for n, parts in upto if n in there}
    except (ValueError, IndexError) as error:
        raise HTTPException(422, "its pixel data are damaged") from error
