"""Server-sent events: each change of an image, as it comes."""

from __future__ import annotations

import asyncio
import json
import queue
from collections.abc import AsyncIterator

from fastapi import APIRouter, Header, Request
from fastapi.exceptions import HTTPException
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from hilum.core.errors import HilumError
from hilum.serve.events import Change, Events
from hilum.serve.web.auth import Auth, Reader
from hilum.serve.web.images import service_of

router = APIRouter(tags=["events"])
STREAMS = 200
EVERY_S, QUIET_S = 0.2, 15.0  # looked for something; a comment is sent, and asked who listens


@router.get(
    "/events",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {}}}},
)
async def events(
    request: Request,
    _: Reader,
    last_event_id: str | None = Header(default=None, pattern=r"^[0-9]{1,15}$"),
) -> StreamingResponse:
    """`event: image`, data {id, state, score}; goes on after Last-Event-ID. It ends with the
    session of who listens."""
    state = request.app.state
    if state.streams >= STREAMS:
        raise HTTPException(503, "too many listen already", {"Retry-After": "30"})
    after = int(last_event_id) if last_event_id else None
    stream = _stream(service_of(request).events, after, request)
    return StreamingResponse(stream, media_type="text/event-stream")


async def _stream(events: Events, after: int | None, request: Request) -> AsyncIterator[str]:
    state, since = request.app.state, 0.0
    state.streams += 1
    try:
        with events.subscribed() as changes:
            yield ": open\n\n"
            for change in events.since(after) if after is not None else ():
                yield _text(change)
            while not state.closing and not await request.is_disconnected():
                try:
                    yield _text(changes.get_nowait())
                except queue.Empty:
                    await asyncio.sleep(EVERY_S)
                    since += EVERY_S
                if since >= QUIET_S:
                    since = 0.0
                    if not await run_in_threadpool(_may_listen, request):
                        return
                    yield ": still here\n\n"
    finally:
        state.streams -= 1


def _may_listen(request: Request) -> bool:
    auth: Auth = request.app.state.auth
    try:
        return auth.user(request) is not None
    except (HTTPException, HilumError):
        return False


def _text(change: Change) -> str:
    data = json.dumps({"id": change.id, "state": change.state, "score": change.score})
    return f"id: {change.number}\nevent: image\ndata: {data}\n\n"
