"""What this service can do, whether it lives."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from sqlalchemy import select

from hilum import __version__
from hilum.core.manifest import BOX, OperatingPoint
from hilum.inference.loaded import LoadedPipeline
from hilum.serve.pipelines import NotLoaded
from hilum.serve.service import Service
from hilum.serve.tables import Work
from hilum.serve.web import shapes
from hilum.serve.web.auth import Reader
from hilum.serve.web.images import service_of

router = APIRouter(tags=["service"])
health = APIRouter(tags=["operation"], prefix="/health")
NOTICE = "Research use, not a medical device: a qualified reader decides."


@router.get("/status", response_model=shapes.Status)
def status(request: Request, user: Reader) -> Any:
    """Version, pipelines with their operating points, disk."""
    service = service_of(request)
    disk = {"used": service.store.used(), "limit": service.config.limit_bytes}
    return {
        "version": __version__,
        "notice": NOTICE,
        "pipelines": [_pipeline(service, name) for name in service.pipelines.names],
        "disk": disk,
        "user": {"name": user.name, "role": user.role},
    }


def _pipeline(service: Service, name: str) -> dict[str, Any]:
    row: dict[str, Any] = {"name": name, "default": name == service.pipelines.default}
    try:
        loaded = service.pipelines.loaded(name)
    except NotLoaded as error:
        empty: dict[str, Any] = {"fingerprint": None, "outputs": [], "operating_points": []}
        return row | empty | {"about": "", "problem": str(error)}
    flows = loaded.flows
    kinds = {"boxes": flows.boxes, "masks": flows.masks, "scores": flows.scores}
    row |= {"fingerprint": loaded.fingerprint, "outputs": [n for n, v in kinds.items() if v]}
    row["about"] = " ".join(loaded.description.about.split())
    return row | {"operating_points": [*_points(loaded)], "problem": None}


def _points(loaded: LoadedPipeline) -> list[dict[str, Any]]:
    """The pipeline's, then those of a single bundle for its boxes."""
    points = dict(loaded.operating_points)
    if len(loaded.bundles) == 1:
        for bundle in loaded.bundles.values():
            own = bundle.manifest.operating_points.items()
            points = {n: p for n, p in own if p.score == BOX} | points
    return [_point(name, point) for name, point in points.items()]


def _point(name: str, point: OperatingPoint) -> dict[str, Any]:
    marks = point.achieved.get("fp_per_image")
    return {
        "name": name,
        "threshold": point.threshold,
        "aim": point.reason,
        "meaning": point.words,
        "score": point.score,
        "chosen_on": point.chosen_on,
        "sensitivity": point.achieved.get("sensitivity"),
        "false_marks_per_100": None if marks is None else 100 * marks,
    }


# --- Health -------------------------------------------------------------------------------------


@health.get("/live")
async def live() -> dict[str, str]:
    """The process answers, also while every thread is busy."""
    return {"status": "alive"}


@health.get("/ready")
def ready(request: Request) -> dict[str, str]:
    """Database and store take something: else 503."""
    service = service_of(request)
    with service.records.read() as session:
        session.execute(select(Work.id).limit(1))
    service.store.check_room(1)
    return {"status": "ready"}
