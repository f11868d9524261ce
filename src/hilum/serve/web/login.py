"""Log in and out: by password, or by the OpenID provider, which sends the browser back to us."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from hilum.serve.audit import MINOR
from hilum.serve.web import shapes
from hilum.serve.web.auth import Auth, Reader, peer_of
from hilum.serve.web.oidc import Attempt, NoRole, NotBelieved, Provider
from hilum.serve.web.problems import gone

router = APIRouter(prefix="/session", tags=["session"])
BEGIN = "/api/v1/session/oidc"
ATTEMPT, ATTEMPT_S = "hilum_oidc", 600
# Not a redirect: a browser that comes from another site would not send our strict cookies.
_BACK = '<!doctype html><title>hilum</title><meta http-equiv="refresh" content="0; url=/">'


@router.post("", response_model=shapes.Who)
def log_in(request: Request, response: Response, login: shapes.Login) -> Any:
    """Log in; sets two cookies."""
    auth: Auth = request.app.state.auth
    auth.same_site(request)
    user = auth.password_user(login.name, login.password, peer_of(request))
    auth.log_in(response, user, peer_of(request))
    return {"name": user.name, "role": user.role}


@router.get("", response_model=shapes.Who)
def session(user: Reader) -> Any:
    """Who is logged in."""
    return {"name": user.name, "role": user.role}


@router.get("/ways", response_model=shapes.Ways)
def ways(request: Request) -> Any:
    """How one may log in; asked by who is not."""
    auth: Auth = request.app.state.auth
    oidc = auth.web.oidc
    provider = urlsplit(oidc.issuer).hostname if oidc is not None else None
    return {"password": bool(auth.users.all()), "provider": provider}


@router.delete("", status_code=204, response_model=None)
def log_out(request: Request, response: Response, _: Reader) -> None:
    """Log out."""
    auth: Auth = request.app.state.auth
    auth.log_out(request, response)


@router.get("/oidc", include_in_schema=False)
def begin(request: Request) -> Response:
    """Send the browser to the provider."""
    auth, attempt = request.app.state.auth, Attempt.new()
    where = _provider(auth).authorization_url(attempt, _redirect(request))
    response = RedirectResponse(where, 302)
    # Lax: the provider sends the browser back from its own site.
    response.set_cookie(
        ATTEMPT,
        attempt.to_text(),
        max_age=ATTEMPT_S,
        path=BEGIN,
        httponly=True,
        samesite="lax",
        secure=auth.web.tls is not None,
    )
    return response


@router.get("/oidc/callback", include_in_schema=False)
def callback(
    request: Request,
    state: Annotated[str, Query(max_length=200)],
    code: Annotated[str, Query(max_length=4000)] = "",
) -> Response:
    """The provider has sent the browser back."""
    auth: Auth = request.app.state.auth
    provider = _provider(auth)
    attempt = Attempt.from_text(request.cookies.get(ATTEMPT, ""))
    try:
        user = provider.user_of_code(attempt, state, code, _redirect(request))
    except (NotBelieved, NoRole):
        peer = peer_of(request)
        auth.service.audit.tell("login", user="unknown", peer=peer, outcome=MINOR)
        raise
    response = HTMLResponse(_BACK)
    auth.log_in(response, user, peer_of(request))
    response.delete_cookie(ATTEMPT, path=BEGIN)
    return response


def _provider(auth: Auth) -> Provider:
    if auth.provider is None:
        raise gone("log-in: [web.oidc] is not configured")
    return auth.provider


def _redirect(request: Request) -> str:
    oidc = request.app.state.auth.web.oidc
    base = oidc.url or f"{request.url.scheme}://{request.url.netloc}"
    return f"{base.rstrip('/')}{BEGIN}/callback"
