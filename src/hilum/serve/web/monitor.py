"""What the monitor says, and what an admin tells it."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from fastapi.exceptions import HTTPException

from hilum.serve.monitor import agreement, shadow, watch
from hilum.serve.tables import Note
from hilum.serve.web.auth import Admin, Reader
from hilum.serve.web.images import service_of
from hilum.serve.web.shapes import NAME

router = APIRouter(prefix="/monitor", tags=["monitor"])


@router.get("")
def monitor(request: Request, _: Reader) -> dict[str, Any]:
    """Refusal rate, drift, agreement with readers, pipelines in shadow."""
    service = service_of(request)
    counts = service.records.counts()
    settled = sum(counts.get(state, 0) for state in watch.SETTLED)
    return {
        "refusal_rate": counts.get("refused", 0) / settled if settled else None,
        "failure_rate": counts.get("failed", 0) / settled if settled else None,
        "drift": watch.drift(service),
        "agreement": agreement.agreement(service),
        "shadow": shadow.shadows(service),
    }


@router.post("/reference")
def new_reference(request: Request, user: Admin) -> dict[str, float]:
    """From here on the studies are the reference, such as after a change that was meant."""
    service = service_of(request)
    at = service.clock()
    with service.records.write() as session:
        session.merge(Note(name=watch.FROM, value={"at": at}))
        service.audit.add(session, "changed", user=user.name, text="drift reference")
    return {"at": at}


Pipeline = Annotated[str, Path(pattern=NAME)]


@router.post("/shadow/{pipeline}/accept")
def accept(request: Request, pipeline: Pipeline, user: Admin) -> dict[str, Any]:
    """Accept the score-shift report of a pipeline in shadow: it is shown from now on."""
    try:
        return shadow.accept(service_of(request), pipeline, user.name)
    except shadow.TooFew as error:
        raise HTTPException(409, str(error)) from error
    except shadow.NoShadow as error:
        raise HTTPException(404, str(error)) from error


@router.delete("/shadow/{pipeline}/accept", status_code=204, response_model=None)
def withdraw(request: Request, pipeline: Pipeline, user: Admin) -> None:
    """Make an accepted pipeline a shadow again."""
    try:
        shadow.withdraw(service_of(request), pipeline, user.name)
    except shadow.NoShadow as error:
        raise HTTPException(404, str(error)) from error
