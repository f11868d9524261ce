"""The web application of one service: REST, DICOMweb, metrics, health, the page."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio.to_thread
from fastapi import FastAPI, Request, Response
from fastapi.responses import FileResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles

from hilum import __version__
from hilum.serve.service import Service
from hilum.serve.web import (
    admin,
    dicomweb,
    feedback,
    images,
    login,
    metrics,
    monitor,
    problems,
    rendering,
    status,
    stream,
    wado,
)
from hilum.serve.web.auth import Auth
from hilum.serve.web.previews import Previews
from hilum.serve.web.surround import Surround

STATIC = Path(__file__).parents[1] / "static"
BASE = "/api/v1"
THREADS = 64  # more than may wait for decoders and for passwords, so that the others go on
_PROBLEM = {"description": "Problem (RFC 9457)", "content": {problems.KIND: {"schema": {
    "type": "object",
    "properties": {"type": {"type": "string"}, "title": {"type": "string"},
                   "status": {"type": "integer"}, "detail": {"type": "string"}},
}}}}  # fmt: skip
ERRORS = dict.fromkeys((400, 401, 403, 404, 406, 408, 409, 413, 415, 422, 429, 503), _PROBLEM)


def create_app(service: Service) -> FastAPI:
    """The ASGI application; starts nothing."""
    app = FastAPI(
        title="hilum",
        version=__version__,
        description=status.NOTICE,
        docs_url=None,  # its page would load scripts from elsewhere
        redoc_url=None,
        lifespan=_lifespan,
        responses=ERRORS,  # type: ignore[arg-type]
    )
    app.state.service, app.state.auth = service, Auth(service)
    app.state.previews = Previews()
    app.state.streams, app.state.closing = 0, False
    problems.install(app)
    for part in (status, login, images, feedback, stream, monitor, admin):
        app.include_router(part.router, prefix=BASE)
    for router in (status.health, metrics.router):
        app.include_router(router)
    for part in (dicomweb, wado, rendering):
        app.include_router(part.router)
    _add_page(app)
    app.add_middleware(Surround, web=service.config.web)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    anyio.to_thread.current_default_thread_limiter().total_tokens = THREADS
    yield


def _add_page(app: FastAPI) -> None:
    if not (STATIC / "index.html").is_file():
        return
    app.mount("/assets", StaticFiles(directory=STATIC / "assets"), name="assets")

    @app.get("/", include_in_schema=False)
    def page(request: Request) -> Response:
        auth: Auth = app.state.auth
        # `/?password` is for local users beside a provider.
        if auth.provider and "password" not in request.query_params and not auth.user(request):
            return RedirectResponse(login.BEGIN, 302)
        return FileResponse(STATIC / "index.html")

    for name in ("icon.svg", "third-party.md"):
        if (STATIC / name).is_file():
            app.add_api_route(
                f"/{name}", lambda name=name: FileResponse(STATIC / name), include_in_schema=False
            )
