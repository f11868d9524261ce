"""Images over REST: received, listed, looked at, analysed again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Annotated, Any, Literal

import cv2
import numpy as np
from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.exceptions import HTTPException
from numpy.typing import NDArray
from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile

from hilum.core.results import ImageResult, PipelineInfo, read_mask
from hilum.dicom.analysed import Analysed
from hilum.dicom.stored import StoredImage
from hilum.report.writers.overlay import OverlayWriter
from hilum.report.writers.picture import picture, shrunk
from hilum.serve import actions, explaining
from hilum.serve.analysis import MIXED_UP, mixed_up
from hilum.serve.records import hashed
from hilum.serve.service import Service
from hilum.serve.tables import PRIORITIES, Delivery, Event, Feedback, Image, Result, Work
from hilum.serve.web import shapes
from hilum.serve.web.auth import Reader
from hilum.serve.web.previews import Previews
from hilum.serve.web.problems import gone
from hilum.serve.web.upload import FILES, receive_files, sample
from hilum.serve.web.user import User
from hilum.serve.work import ANALYSE

router = APIRouter(tags=["images"])
Id = Annotated[str, Path(pattern="^[0-9a-f]{32}$", description="Hash that names an image.")]
Pipeline = Annotated[str | None, Query(pattern=shapes.NAME, description="Default: the shown one.")]
_PRIORITY_NAMES = {number: name for name, number in PRIORITIES.items()}
_SORTS: dict[str, Any] = {
    "received": Image.received,
    "score": func.coalesce(Image.score, -1.0),
    "priority": Image.priority,
}
_KINDS = {"json": "application/json", "png": "image/png"}
_UPLOAD = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["files"],
                    "properties": {
                        "files": {"type": "array", "items": {"type": "string", "format": "binary"}},
                        "pipeline": {"type": "string"},
                    },
                }
            }
        },
    }
}


def service_of(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


def shown(image: Image) -> dict[str, Any]:
    """The fields of `shapes.Row`."""
    fields = ("id", "name", "state", "reason", "received", "analysed", "origin", "modality")
    row = {name: getattr(image, name) for name in (*fields, "view", "score", "finding")}
    row |= {"study_date": image.study_date, "pipeline": image.pipeline, "prior": image.prior}
    row["study"] = hashed(image.study) if image.study else None
    row["priority"] = _PRIORITY_NAMES[image.priority]
    known = image.patient is not None or image.patient_name is not None
    row["patient"] = {"id": image.patient, "name": image.patient_name} if known else None
    return row


# --- In -----------------------------------------------------------------------------------------


@router.post("/images", status_code=202, response_model=shapes.Receipts, openapi_extra=_UPLOAD)
async def upload(request: Request, user: Reader) -> Any:
    """Keep DICOM, PNG and JPEG files, also in zips, and analyse them."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "multipart/form-data":
        raise HTTPException(415, "needed: multipart/form-data with `files`")
    async with request.form(max_files=FILES, max_fields=10) as form:
        files = [one for one in form.getlist("files") if isinstance(one, UploadFile)]
        if len(form.getlist("pipeline")) > 1:
            raise HTTPException(422, "needed: one `pipeline` at most")
        pipeline = form.get("pipeline") or None
        service = service_of(request)
        if pipeline is not None and pipeline not in service.pipelines.names:
            names = ", ".join(service.pipelines.names)
            raise HTTPException(422, f"no such pipeline; there are: {names}")
        if not files:
            raise HTTPException(422, "needed: at least one file in `files`")
        wanted = str(pipeline) if pipeline is not None else None
        return await run_in_threadpool(receive_files, service, files, user.name, wanted)


@router.post("/sample", status_code=202, response_model=shapes.Receipts)
def try_sample(request: Request, user: Reader) -> Any:
    """Receive a sample radiograph, to try things out."""
    return sample(service_of(request), user.name)


# --- Lists --------------------------------------------------------------------------------------


@router.get("/images", response_model=shapes.Page)
def listed(
    request: Request,
    _: Reader,
    state: shapes.State | None = None,
    priority: shapes.Priority | None = None,
    q: Annotated[str, Query(max_length=200)] = "",
    origin: Annotated[str | None, Query(max_length=16)] = None,
    sort: Literal["received", "score", "priority"] = "received",
    descending: bool = True,
    page: Annotated[int, Query(ge=1, le=100_000)] = 1,
    per_page: Annotated[int, Query(ge=1, le=500)] = 50,
) -> Any:
    """The worklist."""
    query = select(Image)
    if state is not None:
        query = query.where(Image.state == state)
    if priority is not None:
        query = query.where(Image.priority == PRIORITIES[priority])
    if origin is not None:
        query = query.where(Image.origin == origin.replace("\0", ""))
    if text := q.replace("\0", "").strip().encode("utf-8", "replace").decode():
        columns = (Image.name, Image.patient, Image.patient_name, Image.accession)
        query = query.where(or_(*(c.icontains(text, autoescape=True) for c in columns)))
    order = _SORTS[sort].desc() if descending else _SORTS[sort].asc()
    query_page = query.order_by(order, Image.received.desc(), Image.id)
    with service_of(request).records.read() as session:
        total = session.scalar(select(func.count()).select_from(query.subquery())) or 0
        images = session.scalars(query_page.offset((page - 1) * per_page).limit(per_page)).all()
        counts = _counts(session, [image.id for image in images])
        planned = _planned(session, images)
    items = [shown(one) | counts[one.id] | {"planned": one.id in planned} for one in images]
    return {"items": items, "total": total, "page": page, "per_page": per_page}


def _counts(session: Session, ids: list[str]) -> dict[str, dict[str, Any]]:
    """Deliveries by state, and how often readers said something, for each image."""
    out: dict[str, dict[str, Any]] = {id: {"deliveries": {}, "feedback": 0} for id in ids}
    delivered = select(Delivery.image, Delivery.state, func.count())
    for id, state, count in session.execute(
        delivered.where(Delivery.image.in_(ids)).group_by(Delivery.image, Delivery.state)
    ):
        out[id]["deliveries"][state] = count
    counts = select(Feedback.image, func.count()).where(Feedback.image.in_(ids))
    for id, count in session.execute(counts.group_by(Feedback.image)):
        out[id]["feedback"] = count
    return out


def _planned(session: Session, images: Sequence[Image]) -> set[str]:
    """Those whose first answer is still to come."""
    checked = [image.id for image in images if image.state == "checked"]
    at_work = Work.kind == ANALYSE, Work.state.in_(("waiting", "running"))
    planned = session.scalars(select(Work.subject).where(Work.subject.in_(checked), *at_work))
    return {*planned, *(image.id for image in images if image.state == "received")}


@router.get("/images/{id}", response_model=shapes.Detail)
def detail(request: Request, id: Id, user: Reader) -> Any:
    """All that is known of one image."""
    service = service_of(request)
    with service.records.write() as session:
        image = _found(session, id)
        service.audit.add(session, "viewed", user=user.name, image=id, study=image.study)
    with service.records.read() as session:
        results = session.scalars(
            select(Result).where(Result.image == id, ~Result.shadow).order_by(Result.made)
        ).all()
        history = session.scalars(select(Event).where(Event.image == id).order_by(Event.number))
        remarks = session.scalars(
            select(Feedback).where(Feedback.image == id).order_by(Feedback.id)
        )
        sent = session.scalars(select(Delivery).where(Delivery.image == id))
        fields = ("id", "destination", "object", "state", "reason")
        return shown(image) | {
            "planned": bool(_planned(session, [image])),
            "size": (image.rows, image.columns) if image.rows else None,
            "spacing": image.spacing,
            "inverted": image.inverted,
            "warnings": [MIXED_UP] if mixed_up(session, image) else [],
            "results": {one.pipeline: one.document for one in results},
            "history": [{"at": one.at, "what": one.what} for one in history],
            "feedback": [
                shapes.Feedback.model_validate(one, from_attributes=True) for one in remarks
            ],
            "deliveries": [{name: getattr(one, name) for name in fields} for one in sent],
        }


def _found(session: Session, id: str) -> Image:
    image = session.get(Image, id)
    if image is None:
        raise gone("image")
    return image


# --- Looking ------------------------------------------------------------------------------------


def opened(request: Request, id: str) -> StoredImage:
    """The object of an image, parsed in the guarded child.

    Raises:
        HTTPException: 404, no such image.
        InputRefused: it cannot be read.
        Busy: who asks has enough that waits already.
    """
    service = service_of(request)
    if service.records.image(id) is None:
        raise gone("image")
    return service.opened(id, service.store.read(id), request.state.user.name)


def previews_of(request: Request) -> Previews:
    previews: Previews = request.app.state.previews
    return previews


def jpeg(grey: NDArray[np.uint8]) -> bytes:
    """A picture of 8 bit for a screen."""
    return cv2.imencode(".jpg", grey, [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes()


def _written_picture(service: Service, id: str, side: int) -> NDArray[np.uint8] | None:
    """(h, w) of the shown result; None where there is none, or it is smaller than asked for."""
    with service.records.read() as session:
        image = _found(session, id)
        result = actions.newest_result(session, id, image.pipeline)
    if result is None or "picture" not in result.files or not image.rows or not image.columns:
        return None
    content = service.store.read_result(result.id, result.files["picture"])
    grey = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_GRAYSCALE)
    large = grey is not None and max(grey.shape) >= min(side, max(image.rows, image.columns))
    return np.asarray(grey, np.uint8) if large else None


@router.get(
    "/images/{id}/picture",
    response_class=Response,
    responses={200: {"content": {"image/jpeg": {}}}},
)
def preview(
    request: Request, id: Id, _: Reader, width: Annotated[int, Query(ge=16, le=4096)] = 1024
) -> Response:
    """The radiograph as displayed, 8 bit; `width` bounds its longer side."""
    service = service_of(request)
    # Decoding for each thumbnail of a worklist would be slow: what was written is asked first.
    grey = _written_picture(service, id, width)
    if grey is not None:
        content = jpeg(shrunk(grey, width))
    else:
        make = partial(_decoded_picture, request, id, width)
        content = previews_of(request).picture(id, width, make)
    return Response(content, media_type="image/jpeg")


def _decoded_picture(request: Request, id: str, width: int) -> bytes:
    return jpeg(picture(opened(request, id).radiograph(), width))


@router.get(
    "/images/{id}/pixels",
    response_class=Response,
    responses={200: {"content": {"application/octet-stream": {}}}},
)
def pixels(request: Request, id: Id, _: Reader) -> Response:
    """uint16, little endian, row by row, air dark; X-Rows and X-Columns say the size."""
    radiograph = previews_of(request).read(id, lambda: opened(request, id).radiograph())
    content = np.rint(radiograph.pixels * 65535).astype("<u2").tobytes()
    size = {"X-Rows": str(radiograph.height), "X-Columns": str(radiograph.width)}
    return Response(content, media_type="application/octet-stream", headers=size)


def result_of(service: Service, id: str, pipeline: str | None) -> Result:
    """The newest result of a pipeline, of the one that is shown if None.

    Raises:
        HTTPException: 404, no such image or result.
    """
    with service.records.read() as session:
        image = _found(session, id)
        result = actions.newest_result(session, id, pipeline or image.pipeline)
    if result is None:
        raise gone("result")
    return result


@router.get(
    "/images/{id}/masks/{name}",
    response_class=Response,
    responses={200: {"content": {"image/png": {}}}},
)
def mask(
    request: Request,
    id: Id,
    name: Annotated[str, Path(pattern=r"^[a-z0-9_-]{1,64}$")],
    _: Reader,
    pipeline: Pipeline = None,
) -> Response:
    """A mask, PNG of the size of the image."""
    service = service_of(request)
    result = result_of(service, id, pipeline)
    if f"mask-{name}" not in result.files:
        raise gone("mask")
    content = service.store.read_result(result.id, result.files[f"mask-{name}"])
    return Response(content, media_type="image/png")


@router.get(
    "/images/{id}/files/{kind}",
    response_class=Response,
    responses={
        200: {"content": {"application/dicom": {}, "application/json": {}, "image/png": {}}}
    },
)
def download(
    request: Request,
    id: Id,
    kind: Literal["json", "sr", "seg", "gsps", "sc", "png"],
    user: Reader,
    pipeline: Pipeline = None,
) -> Response:
    """A result as a file."""
    service = service_of(request)
    result = result_of(service, id, pipeline)
    content = _file(request, result, kind)
    image = service.records.image(id)
    study = image.study if image else None
    service.audit.tell("exported", user=user.name, image=id, study=study, text=kind)
    ending = kind if kind in _KINDS else f"{kind}.dcm"
    named = {"Content-Disposition": f'attachment; filename="{id[:12]}-{result.pipeline}.{ending}"'}
    media = _KINDS.get(kind, "application/dicom")
    return Response(content, media_type=media, headers=named)


def _file(request: Request, result: Result, kind: str) -> bytes:
    if kind == "json":
        return json.dumps(result.document, indent=1).encode()
    if kind in result.files:
        return service_of(request).store.read_result(result.id, result.files[kind])
    if kind != "png":
        raise HTTPException(404, f"there is no {kind} of this result; its history says why")
    return _overlay(request, result)


def _overlay(request: Request, result: Result) -> bytes:
    """Boxes and outlines burned into a picture, PNG; outlines as far as masks were written."""
    known = ImageResult.from_json(result.document["images"][0])
    info = PipelineInfo.from_json(result.document["pipeline"])
    assert known.findings is not None  # only what was analysed has a result
    shape, masks = (known.height, known.width), dict[str, NDArray[np.bool_]]()
    for kind, name in result.files.items():
        if kind.startswith("mask-"):
            path = service_of(request).store.result_path(result.id, name)
            masks[kind.removeprefix("mask-")] = read_mask(path.parent, name, shape)
    radiograph = opened(request, result.image).radiograph(window=info.window)
    known = replace(known, findings=replace(known.findings, masks=masks))
    image = Analysed(stored=None, radiograph=radiograph, result=known, pipeline=info)
    return OverlayWriter()(image)["overlay"]


@router.get(
    "/images/{id}/heatmap",
    response_model=shapes.Heat,
    responses={204: {"description": "Not made yet; POST asks for it"}},
)
def heatmap(request: Request, id: Id, _: Reader, pipeline: Pipeline = None) -> Any:
    """What moves the score of a result: no diagnosis. 204 until it was asked for and made, 409
    where it cannot be made."""
    service = service_of(request)
    result = result_of(service, id, pipeline)
    if explaining.HEAT in result.files:
        return json.loads(service.store.read_result(result.id, result.files[explaining.HEAT]))
    if why := explaining.why_not(service, result):
        raise HTTPException(409, f"no heat map: {why}")
    return Response(status_code=204)


# --- What is asked for --------------------------------------------------------------------------


@router.post("/images/{id}/analyse", status_code=202, response_model=shapes.ReceivedImage)
def analyse(request: Request, id: Id, wanted: shapes.Analyse, user: Reader) -> Any:
    """Analyse by a pipeline of the configuration, for looking at."""
    service = service_of(request)
    is_new = actions.analyse(service, id, wanted.pipeline)
    return _told(service, id, user, duplicate=not is_new)


@router.post("/images/{id}/heatmap", status_code=202, response_model=shapes.ReceivedImage)
def explain(request: Request, id: Id, user: Reader, pipeline: Pipeline = None) -> Any:
    """Make a heat map, behind the analyses that wait; an event of the image says when."""
    service = service_of(request)
    is_new = actions.explain(service, id, pipeline)
    return _told(service, id, user, duplicate=not is_new)


@router.post("/images/{id}/retry", status_code=202, response_model=shapes.ReceivedImage)
def retry(request: Request, id: Id, user: Reader) -> Any:
    """Check and analyse again what was refused or has failed."""
    service = service_of(request)
    actions.retry(service, id)
    previews_of(request).forget(id)
    return _told(service, id, user)


@router.patch("/images/{id}", response_model=shapes.ReceivedImage)
def change(request: Request, id: Id, wanted: shapes.Change, user: Reader) -> Any:
    """Change the priority."""
    service = service_of(request)
    actions.set_priority(service, id, wanted.priority)
    return _told(service, id, user)


@router.post("/deliveries/{id}/retry", status_code=202, response_model=None)
def retry_delivery(request: Request, id: Id, _: Reader) -> dict[str, str]:
    """Send again."""
    actions.retry_delivery(service_of(request), id)
    return {"id": id, "state": "waiting"}


def _told(service: Service, id: str, user: User, *, duplicate: bool = False) -> dict[str, Any]:
    image = service.records.image(id)
    if image is None:
        raise gone("image")
    service.audit.tell("changed", user=user.name, image=id)
    return {"id": id, "state": image.state, "name": image.name, "duplicate": duplicate}
