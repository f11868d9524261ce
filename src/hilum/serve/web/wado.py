"""WADO-RS (PS3.18 10.4): instances bit by bit, their headers, their frames; own results included.

Every object comes in the transfer syntax that it is stored in, or where that is asked for in
explicit little endian (`decoded`). Pictures of it are made by `rendering`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request, Response
from fastapi.exceptions import HTTPException
from pydicom.dataset import Dataset

from hilum.dicom.part10 import EXPLICIT_LITTLE
from hilum.dicom.several import frames_of
from hilum.dicom.syntaxes import BASELINE, CODECS, EXTENDED, HT, J2K, LOSSLESS, LS, RLE_LOSSLESS
from hilum.serve.web import decoded
from hilum.serve.web.auth import Reader, peer_of
from hilum.serve.web.dicomweb import BINARY
from hilum.serve.web.held import Held, objects, of_each
from hilum.serve.web.images import service_of
from hilum.serve.web.media import (
    DICOM,
    INSTANCE,
    JPEG,
    JSON,
    OCTETS,
    PREFIX,
    RELATED,
    Accept,
    Accepted,
    Media,
    Uid,
    responses,
)
from hilum.serve.web.multipart import related
from hilum.serve.web.problems import gone

router = APIRouter(prefix=PREFIX, tags=["dicomweb"])
Frames = Annotated[str, Path(pattern=r"^[0-9]{1,4}(,[0-9]{1,4})*$")]
LARGE = 2**20  # bytes
_HEADERS = (Media(kind=JSON), Media(kind="application/json"))
_OBJECTS, _JSON = responses(RELATED, DICOM), responses(*map(str, _HEADERS))
_ANEW: dict[str, Any] = {"syntaxes": lambda: {EXPLICIT_LITTLE}, "anew": True}
# What a compressed frame is called (PS3.18 table 8.7.3-5); it may be called octets, too.
_NAMES = {
    JPEG: (BASELINE, EXTENDED, LOSSLESS),
    "image/jls": (LS,),
    "image/jp2": (J2K,),
    "image/jphc": (HT,),
    "image/dicom-rle": (RLE_LOSSLESS,),
}
_FRAME_KINDS = {
    str(syntax): kind
    for kind, codecs in _NAMES.items()
    for codec in codecs
    for syntax in CODECS[codec].syntaxes
}


# --- What a request names -----------------------------------------------------------------------


def _wanted(request: Request, **where: str) -> list[Held]:
    """The instances, which the audit trail then names.

    Raises:
        HTTPException: 404, nothing of it is held.
    """
    service, user = service_of(request), request.state.user.name
    instances = list(objects(service, where, asker=user))
    if not instances:
        raise gone("object")
    by_class: dict[str, list[str]] = {}
    for one in instances:
        by_class.setdefault(one.sop_class, []).append(one.id)
    service.audit.tell(
        "viewed",
        user=user,
        peer=peer_of(request),
        study=where["study"],
        instances=by_class,
        text="WADO-RS",
    )
    return instances


def _of_study(request: Request, user: Reader, study: Uid) -> list[Held]:
    return _wanted(request, study=study)


def _of_series(request: Request, user: Reader, study: Uid, series: Uid) -> list[Held]:
    return _wanted(request, study=study, series=series)


def _of_instance(request: Request, user: Reader, study: Uid, series: Uid, sop: Uid) -> list[Held]:
    return _wanted(request, study=study, series=series, sop=sop)


OfStudy = Annotated[list[Held], Depends(_of_study)]
OfSeries = Annotated[list[Held], Depends(_of_series)]
OfInstance = Annotated[list[Held], Depends(_of_instance)]


# --- Instances ----------------------------------------------------------------------------------


@router.get("/studies/{study}", response_class=Response, responses=_OBJECTS)
def study(held: OfStudy, accept: Accepted) -> Response:
    """All instances of a study, bit by bit."""
    return _whole(held, accept)


@router.get("/studies/{study}/series/{series}", response_class=Response, responses=_OBJECTS)
def series(held: OfSeries, accept: Accepted) -> Response:
    """All instances of a series."""
    return _whole(held, accept)


@router.get(INSTANCE, response_class=Response, responses=_OBJECTS)
def instance(held: OfInstance, accept: Accepted) -> Response:
    """One instance, bit by bit."""
    return _whole(held, accept)


def _whole(instances: list[Held], accept: Accept) -> Response:
    def syntaxes() -> set[str]:
        return {one.syntax for one in instances}

    shapes = (True, False) if len(instances) == 1 else (True,)
    stored = [Media(kind=DICOM, parts=parts, syntaxes=syntaxes) for parts in shapes]
    way = accept.choose([*stored, *(replace(one, **_ANEW) for one in stored)])
    for one in instances:  # before an answer is begun
        one.check_there()
    bodies: Iterable[bytes] = (one.content for one in instances)
    if way.anew:  # what cannot be decoded is told as long as it can be
        bodies = [decoded.instance(one) for one in instances]
    if not way.parts:
        return Response(next(iter(bodies)), media_type=DICOM)
    return related(((DICOM, body) for body in bodies), DICOM)


# --- Headers ------------------------------------------------------------------------------------


@router.get("/studies/{study}/metadata", response_class=Response, responses=_JSON)
def study_metadata(held: OfStudy, accept: Accepted) -> Response:
    """Headers of a study; a header `Warning` counts the instances that cannot be read."""
    return _metadata(held, accept)


@router.get("/studies/{study}/series/{series}/metadata", response_class=Response, responses=_JSON)
def series_metadata(held: OfSeries, accept: Accepted) -> Response:
    """Headers of a series."""
    return _metadata(held, accept)


@router.get(f"{INSTANCE}/metadata", response_class=Response, responses=_JSON)
def instance_metadata(held: OfInstance, accept: Accepted) -> Response:
    """Header of one instance."""
    return _metadata(held, accept)


def _metadata(instances: list[Held], accept: Accept) -> Response:
    kind = accept.choose(_HEADERS).kind
    headers, counted = of_each(instances, lambda one: _header(one.dataset))
    return Response(json.dumps(headers), media_type=kind, headers=counted)


def _header(ds: Dataset) -> dict[str, Any]:
    """Without what is as large as pixels, such as a document: that comes with the instance."""
    large = [e.tag for e in ds if e.VR in BINARY and len(e.value or b"") > LARGE]
    for tag in large:
        del ds[tag]
    return ds.to_json_dict(suppress_invalid_tags=True)


# --- Frames -------------------------------------------------------------------------------------


@router.get(f"{INSTANCE}/frames/{{numbers}}", response_class=Response, responses=responses(RELATED))
def frames(instances: OfInstance, numbers: Frames, accept: Accepted) -> Response:
    """Frames by their numbers, a part each: as octets their pixels, by the name of the codec or
    where `transfer-syntax=*` is said as they are stored. A number that stands twice is answered
    once."""
    (held,), order = instances, listed(numbers)
    stored = held.stored
    there = frames_of(stored, set(order))
    if missing := [number for number in order if number not in there]:
        raise no_frame(missing[0])
    syntax = stored.parsed.syntax if stored.parsed else ""
    kept = Media(kind=OCTETS, parts=True, syntaxes=lambda: {syntax})
    named = [replace(kept, kind=_FRAME_KINDS[syntax])] if syntax in _FRAME_KINDS else []
    way = accept.choose([*named, replace(kept, **_ANEW), kept])
    if way.anew:
        syntax = EXPLICIT_LITTLE
        there = decoded.frames(held, there)
    return related([(f"{way.kind}; transfer-syntax={syntax}", there[n]) for n in order], way.kind)


def listed(numbers: str) -> list[int]:
    """Each once, in the order in which they are asked for."""
    return [*dict.fromkeys(map(int, numbers.split(",")))]


def no_frame(number: int) -> HTTPException:
    return HTTPException(404, f"there is no frame {number}")
