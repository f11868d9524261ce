"""Errors as problem details (RFC 9457): what came, what was needed; never what was sent."""

from __future__ import annotations

import logging
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import HTTPException, RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException as AnyHTTPException
from starlette.requests import ClientDisconnect

from hilum.core.errors import HilumError, InputRefused, MissingExtraError
from hilum.core.turns import Busy
from hilum.serve.actions import NotPossible, NotThere
from hilum.serve.logs import place
from hilum.serve.pipelines import NotLoaded
from hilum.serve.records import RecordsUnavailable
from hilum.serve.store import FileMissing, StoreUnavailable
from hilum.serve.web.oidc import NoRole, NotBelieved, ProviderFailed

log = logging.getLogger(__name__)
KIND = "application/problem+json"
_HEADERS = {
    401: {"WWW-Authenticate": 'Bearer error="invalid_token"'},
    429: {"Retry-After": "5"},
    503: {"Retry-After": "10"},
}
_STATUS: dict[type[Exception], int] = {
    NotThere: 404,
    NotPossible: 409,
    NotLoaded: 409,
    MissingExtraError: 409,
    InputRefused: 422,
    Busy: 429,
    RecordsUnavailable: 503,
    FileMissing: 404,  # no later time brings it back
    StoreUnavailable: 503,
    NotBelieved: 401,
    NoRole: 403,
    ProviderFailed: 503,
}


def problem(status: int, detail: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """One answer that is no success."""
    content = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status}
    return JSONResponse(content | {"detail": detail}, status, headers=headers, media_type=KIND)


def install(app: FastAPI) -> None:
    """Every error of an application leaves as a problem."""
    app.add_exception_handler(AnyHTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HilumError, _ours)
    app.add_exception_handler(ClientDisconnect, _left)
    app.add_exception_handler(Exception, _unexpected)


def refused(error: InputRefused) -> str:
    """Why an input is not taken, without its name."""
    return f"{error.code}: {error.reason} {error.remedy}".strip()


async def _http(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, AnyHTTPException)
    headers = dict(error.headers) if error.headers else None
    return problem(error.status_code, str(error.detail), headers)


async def _invalid(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    # Places and reasons only: the values may be names of patients.
    problems = (f"{'.'.join(map(str, one['loc'][:2]))}: {one['msg']}" for one in error.errors()[:5])
    return problem(422, "; ".join(problems))


async def _ours(_: Request, error: Exception) -> JSONResponse:
    status = next((code for kind, code in _STATUS.items() if isinstance(error, kind)), 500)
    if isinstance(error, InputRefused):
        return problem(status, refused(error))
    if isinstance(error, MissingExtraError):
        return problem(status, f"where the service runs: {error}")
    if status >= 500:
        log.error("answered %d: %s", status, error if status == 503 else type(error).__name__)
    return problem(status, str(error), _HEADERS.get(status))


async def _left(_: Request, __: Exception) -> JSONResponse:
    return problem(400, "the body ended before it was whole")  # which nobody hears


async def _unexpected(_: Request, error: Exception) -> JSONResponse:
    log.error("unexpected %s", place(error))
    return problem(500, "an error of the service; its log names the place")


def gone(what: str) -> HTTPException:
    """404 of something."""
    return HTTPException(404, f"there is no such {what}")
