"""What readers say of results, and its export as training reads it (F10)."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from fastapi.exceptions import HTTPException
from fastapi.responses import FileResponse
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.background import BackgroundTask

from hilum.data.verdicts import WORDS, ImageFeedback, Marked, Verdict, boxes_after, to_json
from hilum.serve.records import hashed, plain
from hilum.serve.service import Service
from hilum.serve.tables import Feedback, Image, Result
from hilum.serve.web import shapes
from hilum.serve.web.auth import Admin, Reader
from hilum.serve.web.images import Id, service_of
from hilum.serve.web.problems import gone

router = APIRouter(tags=["feedback"])
ZIP = "application/zip"


@router.post("/images/{id}/feedback", status_code=201, response_model=shapes.Feedback)
def say(request: Request, id: Id, remark: shapes.Remark, user: Reader) -> Any:
    """Accept, reject, redraw or comment a finding or the whole image; add what was missed."""
    service = service_of(request)
    with service.records.write() as session:
        image = session.get(Image, id)
        if image is None:
            raise gone("image")
        _check(session, image, remark)
        row = Feedback(image=id, at=service.clock(), by=user.name, **remark.model_dump(mode="json"))
        row.label, row.comment = plain(remark.label), plain(remark.comment, 4000)
        row.finding = plain(remark.finding)
        session.add(row)
        service.records.say(session, id, image.state, f"feedback by {user.name}: {remark.verdict}")
        service.audit.add(session, "changed", user=user.name, image=id, text="feedback")
    return shapes.Feedback.model_validate(row, from_attributes=True)


def _check(session: Session, image: Image, remark: shapes.Remark) -> None:
    """A finding must be there; boxes must lie on the image."""
    if remark.verdict == "comment" and remark.finding is None:
        return
    result = _result(session, image, remark.pipeline)
    if result is None:
        raise HTTPException(409, "there is no result of this pipeline to speak of")
    if remark.finding is not None and remark.finding not in _findings(result):
        raise HTTPException(422, "the result has no finding of this id")
    size = result.document["images"][0]
    for x1, y1, _, _ in remark.boxes or ():
        if x1 >= size["width"] or y1 >= size["height"]:
            raise HTTPException(422, "a box lies beside the image")


@router.get("/images/{id}/feedback", response_model=list[shapes.Feedback])
def remarks(request: Request, id: Id, _: Reader) -> Any:
    """All that was said of an image, oldest first."""
    with service_of(request).records.read() as session:
        if session.get(Image, id) is None:
            raise gone("image")
        rows = session.scalars(select(Feedback).where(Feedback.image == id).order_by(Feedback.id))
        return [shapes.Feedback.model_validate(row, from_attributes=True) for row in rows]


@router.get(
    "/feedback/export",
    response_class=FileResponse,
    responses={200: {"content": {ZIP: {}}}},
)
def export(request: Request, user: Admin) -> FileResponse:
    """What was said, and the images of which all is said, as they were received: what `hilum
    feedback` makes a catalog of."""
    service = service_of(request)
    service.audit.tell("exported", user=user.name, text="feedback")
    folder = tempfile.TemporaryDirectory(prefix="feedback-")
    path = Path(folder.name) / "feedback.zip"
    images = list(feedback_of(service))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(WORDS, to_json(images))
        for image in images:
            if boxes_after(image) is not None:
                archive.writestr(image.path, service.store.read(image.id))
    cleanup = BackgroundTask(folder.cleanup)
    return FileResponse(path, media_type=ZIP, filename=path.name, background=cleanup)


def feedback_of(service: Service) -> Iterator[ImageFeedback]:
    """Every image with feedback and a result that it is of."""
    with service.records.read() as session:
        images = select(Image).where(Image.id.in_(select(Feedback.image))).order_by(Image.id)
        for image in session.scalars(images):
            rows = select(Feedback).where(Feedback.image == image.id).order_by(Feedback.id)
            verdicts = session.scalars(rows).all()
            named = next((one.pipeline for one in reversed(verdicts) if one.pipeline), None)
            result = _result(session, image, named)
            if result is None:
                continue
            of_it = [one for one in verdicts if (one.pipeline or named) == named]
            size = result.document["images"][0]
            yield ImageFeedback(
                id=image.id,
                path=f"images/{image.id}",
                patient=hashed("patient", image.patient or image.id),
                study=hashed("study", image.study or image.id),
                width=size["width"],
                height=size["height"],
                view=image.view or "",
                modality=image.modality or "",
                findings=_findings(result),
                verdicts=[
                    Verdict(
                        verdict=one.verdict,
                        finding=one.finding,
                        boxes=[tuple(box) for box in one.boxes or ()],
                        label=one.label,
                    )
                    for one in of_it
                ],
            )


def _result(session: Session, image: Image, pipeline: str | None) -> Result | None:
    query = select(Result).where(Result.image == image.id, ~Result.shadow)
    query = query.where(Result.pipeline == (pipeline or image.pipeline))
    return session.scalar(query.order_by(Result.made.desc()).limit(1))


def _findings(result: Result) -> dict[str, Marked]:
    """Findings of a result by id."""
    findings = result.document["images"][0]["findings"]
    return {one["id"]: Marked(label=one["label"], box=tuple(one["box_px"])) for one in findings}
