"""Who asks: local users with argon2id, an OpenID provider's, sessions in the records, two roles.

Without users and provider (loopback only, `check.py`) everybody is `local`, an admin. A session is
a random cookie whose SHA-256 is kept; it changes nothing without the header X-Hilum-CSRF equal to
its second cookie. Programs may use HTTP Basic or a bearer token. Every way refuses requests that a
browser calls cross-site (Fetch Metadata), so a page elsewhere can use neither cookie nor loopback.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import logging
import secrets
import threading
from functools import cache
from typing import Annotated, Any
from urllib.parse import urlsplit

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from fastapi import Depends, Request, Response
from fastapi.exceptions import HTTPException
from sqlalchemy import delete

from hilum.core.turns import Turns
from hilum.serve import tables
from hilum.serve.audit import MINOR
from hilum.serve.config import is_loopback
from hilum.serve.service import Service
from hilum.serve.users import Users
from hilum.serve.web.oidc import PREFIX, Provider
from hilum.serve.web.user import LOCAL, User

log = logging.getLogger(__name__)
SESSION, CSRF, HEADER = "hilum_session", "hilum_csrf", "X-Hilum-CSRF"
TRIES, TRIES_S = 10, 300.0  # wrong passwords of one name, and for how long they count
HASHED, LINE = 2, 12  # passwords at once, each takes 64 MiB; that may wait
_SAFE = ("GET", "HEAD", "OPTIONS")


class Auth:
    """Knows users and sessions of one service."""

    def __init__(self, service: Service) -> None:
        self.service, self.web = service, service.config.web
        self.users = Users(service.config)
        self.provider = Provider(self.web.oidc, service.clock) if self.web.oidc else None
        self._lock = threading.Lock()
        self._wrong: dict[str, list[float]] = {}
        self._known: dict[str, bytes] = {}  # name -> keyed hash of a password that was right
        self._key = secrets.token_bytes(32)
        self._hashing = Turns(HASHED, share=1, waiting=LINE, line=LINE)

    # --- Log-in ---------------------------------------------------------------------------------

    def password_user(self, name: str, password: str, peer: str | None = None) -> User:
        """
        Args:
            peer: from where, for the audit trail.

        Raises:
            HTTPException: 401 wrong, 429 wrong too often.
            Busy: too many log in at once.
        """
        now, user = self.service.clock(), self.users.all().get(name)
        # With the hash in it, so that another password of the name is not the known one.
        text = f"{name}\0{user and user.password}\0{password}".encode("utf-8", "replace")
        seen = hmac.digest(self._key, text, "sha256")
        if user is not None and hmac.compare_digest(self._known.get(name, b""), seen):
            return User(name=name, role=user.role)
        key = name if user is not None else ""  # unknown names share one count: no memory to fill
        with self._hashing.one(key):
            self._count(key, now)
            right = _verified(user.password if user else _nobody(), password)
        if not right or user is None:
            log.warning("a log-in from %s failed: wrong name or password", peer)
            self.service.audit.tell("login", user=key or "unknown", peer=peer, outcome=MINOR)
            raise HTTPException(401, "name or password is wrong")
        with self._lock:
            self._wrong.pop(key, None)
        self._known[name] = seen
        return User(name=name, role=user.role)

    def _count(self, key: str, now: float) -> None:
        """Before a password is verified: many at once get no more tries."""
        with self._lock:
            # Those that a clock which was set back has put into the future count no more.
            recent = [at for at in self._wrong.get(key, ()) if now - TRIES_S < at <= now]
            if len(recent) >= TRIES:
                log.warning("a name has had %d wrong passwords: it waits", TRIES)
                wait = {"Retry-After": str(int(TRIES_S))}
                raise HTTPException(429, "too many wrong passwords; wait a few minutes", wait)
            self._wrong[key] = [*recent, now]

    def log_in(self, response: Response, user: User, peer: str | None = None) -> None:
        """Begin a session of somebody who has shown who they are, and set its cookies."""
        cookie, csrf = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        now, seconds = self.service.clock(), self.web.session_hours * 3600
        with self.service.records.write() as session:
            session.execute(delete(tables.Session).where(tables.Session.expires < now))
            held = {"id": _hash(cookie), "name": user.name, "role": user.role, "csrf": csrf}
            known = self._password_hash(user.name)
            session.add(tables.Session(**held, password=known, expires=now + seconds))
            self.service.audit.add(session, "login", user=user.name, peer=peer)
        common: dict[str, Any] = {"max_age": int(seconds), "samesite": "strict"}
        common["secure"] = self.web.tls is not None
        response.set_cookie(SESSION, cookie, httponly=True, **common)
        response.set_cookie(CSRF, csrf, **common)

    def log_out(self, request: Request, response: Response) -> None:
        """End the session of a request, on both sides."""
        cookie = request.cookies.get(SESSION, "")
        with self.service.records.write() as session:
            held = session.get(tables.Session, _hash(cookie))
            if held is not None:
                self.service.audit.add(session, "logout", user=held.name)
                session.delete(held)
        response.delete_cookie(SESSION)
        response.delete_cookie(CSRF)

    # --- Each request ---------------------------------------------------------------------------

    def user(self, request: Request) -> User | None:
        """Who asks, None for nobody.

        Raises:
            HTTPException: 403 for a cross-site request, 401 for a wrong password.
            NotBelieved, NoRole, ProviderFailed: about a bearer token.
        """
        changes = request.method not in _SAFE
        if changes:
            self.same_site(request)
        if self.provider is None and is_loopback(self.web.host) and not self.users.all():
            return LOCAL
        kind, _, value = request.headers.get("authorization", "").partition(" ")
        if kind.lower() == "basic" and (pair := _basic(value)):
            return self.password_user(*pair, peer_of(request))
        if kind.lower() == "bearer" and self.provider is not None:
            return self.provider.user_of_bearer(value.strip())
        return self._session_user(request, changes)

    def _session_user(self, request: Request, changes: bool) -> User | None:
        cookie = request.cookies.get(SESSION)
        if not cookie:
            return None
        with self.service.records.read() as session:
            held = session.get(tables.Session, _hash(cookie))
        if held is None or held.expires < self.service.clock():
            return None
        if (role := self._role(held)) is None:  # taken out of the configuration meanwhile
            return None
        sent = request.headers.get(HEADER, "").encode("utf-8", "replace")
        if changes and not hmac.compare_digest(sent, held.csrf.encode()):
            raise HTTPException(403, f"needed: the header {HEADER}, equal to the cookie {CSRF}")
        return User(name=held.name, role=role)

    def _role(self, held: tables.Session) -> str | None:
        """Of a local user as it is configured now; the provider's was said at the log-in."""
        if held.name.startswith(PREFIX):
            return held.role if self.provider is not None else None
        configured = self.users.all().get(held.name)
        if configured is None or held.password != self._password_hash(held.name):
            return None
        return configured.role

    def _password_hash(self, name: str) -> str | None:
        """Of a local user's password as it is now: another one ends the sessions of the former."""
        user = self.users.all().get(name)
        return _hash(user.password) if user is not None else None

    def same_site(self, request: Request) -> None:
        """
        Raises:
            HTTPException: 403 where a browser says that another site asks.
        """
        origin = request.headers.get("origin")
        if origin in self.web.origins:
            return
        foreign = origin is not None and urlsplit(origin).netloc != request.headers.get("host")
        if foreign or request.headers.get("sec-fetch-site") in ("cross-site", "same-site"):
            raise HTTPException(403, "another site may not ask for this")


def peer_of(request: Request) -> str | None:
    """Address of who asks."""
    return request.client.host if request.client else None


def current(request: Request) -> User:
    """
    Raises:
        HTTPException: 401 for nobody.
    """
    auth: Auth = request.app.state.auth
    user = auth.user(request)
    if user is None:
        basic = request.url.path.startswith("/dicom-web")  # else browsers would ask by themselves
        raise HTTPException(401, "log in first", {"WWW-Authenticate": "Basic"} if basic else None)
    request.state.user = user
    return user


def admin(user: Annotated[User, Depends(current)]) -> User:
    """
    Raises:
        HTTPException: 403 for a reader.
    """
    if user.role != "admin":
        raise HTTPException(403, "needed: the role admin")
    return user


Reader = Annotated[User, Depends(current)]
Admin = Annotated[User, Depends(admin)]


def _verified(hashed: str, password: str) -> bool:
    try:
        return PasswordHasher().verify(hashed, password)
    except (VerificationError, InvalidHashError):
        return False


@cache
def _nobody() -> str:
    """An unknown name takes as long as a known one."""
    return PasswordHasher().hash(secrets.token_hex())


def _basic(value: str) -> tuple[str, str] | None:
    try:
        name, colon, password = base64.b64decode(value, validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        raise HTTPException(401, "the Authorization header is none of HTTP Basic") from None
    return (name, password) if colon else None


def _hash(cookie: str) -> str:
    return hashlib.sha256(cookie.encode("utf-8", "replace")).hexdigest()
