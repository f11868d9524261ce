"""Log-in by an OpenID provider: authorisation code flow with PKCE for the page, bearer tokens for
programs (OpenID Connect Core 1.0; RFC 7636, 7519, 9700).

Tokens are believed when a key of the provider's JWKS has signed them and issuer, audience, time
and (for the page) nonce are ours. Knows nothing of sessions and requests.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import quote, urlencode

import httpx
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from hilum.core.errors import HilumError
from hilum.serve.config import Oidc
from hilum.serve.records import Clock, plain
from hilum.serve.tls import client_context
from hilum.serve.web.user import User

PREFIX = "oidc:"  # of their names: local users have no colon in theirs
ALGORITHMS = ("RS256", "PS256", "ES256")  # asymmetric only: a public key is no shared secret
SKEW_S = 60  # by which clocks may differ
KEPT_S, AGAIN_S = 3600.0, 60.0  # keys are kept; and not asked for more often for unknown ones
TIMEOUT_S = 10.0
_WELL_KNOWN = "/.well-known/openid-configuration"


class ProviderFailed(HilumError):
    """The provider is not reached, or answers something else than OpenID Connect."""


class NotBelieved(HilumError):
    """A token or an answer of the log-in that is not for us, not now, or not theirs."""


class NoRole(HilumError):
    """Somebody whom the provider knows and the configuration gives no role."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One log-in on its way; the browser keeps it in a cookie."""

    state: str
    nonce: str
    verifier: str  # of PKCE

    @classmethod
    def new(cls) -> Attempt:
        return cls(**{name: secrets.token_urlsafe(32) for name in ("state", "nonce", "verifier")})

    @classmethod
    def from_text(cls, text: str) -> Attempt:
        """
        Raises:
            NotBelieved: the text is none of `to_text`.
        """
        try:
            return cls(**{k: str(v) for k, v in json.loads(base64.urlsafe_b64decode(text)).items()})
        except (ValueError, TypeError, AttributeError) as error:
            raise NotBelieved("no log-in has begun in this browser; begin it again") from error

    def to_text(self) -> str:
        return base64.urlsafe_b64encode(json.dumps(asdict(self)).encode()).decode()

    @property
    def challenge(self) -> str:
        """S256 of the verifier (RFC 7636 4.2)."""
        digest = hashlib.sha256(self.verifier.encode()).digest()
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """What the provider says of itself, and its keys."""

    document: dict[str, Any]
    keys: KeySet
    at: float


class Provider:
    """The OpenID provider of a configuration; nothing is asked before it is needed."""

    def __init__(self, config: Oidc, clock: Clock) -> None:
        self._config, self._clock = config, clock
        self._lock = threading.Lock()
        self._known: _Known | None = None

    def authorization_url(self, attempt: Attempt, redirect: str) -> str:
        """Where a browser is sent to log in.

        Raises:
            ProviderFailed: it is not reached.
        """
        query = {
            "response_type": "code",
            "client_id": self._config.client_id,
            "redirect_uri": redirect,
            "scope": " ".join(self._config.scopes),
            "state": attempt.state,
            "nonce": attempt.nonce,
            "code_challenge": attempt.challenge,
            "code_challenge_method": "S256",
        }
        where = str(self.known().document["authorization_endpoint"])
        return f"{where}{'&' if '?' in where else '?'}{urlencode(query)}"

    def user_of_code(self, attempt: Attempt, state: str, code: str, redirect: str) -> User:
        """Who has logged in, after the provider has sent the browser back.

        Raises:
            NotBelieved, NoRole, ProviderFailed: see there.
        """
        if not secrets.compare_digest(attempt.state.encode(), state.encode()):
            raise NotBelieved("the answer belongs to another log-in; begin it again")
        if not code:
            raise NotBelieved("the OpenID provider has let nobody in")
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect,
            "code_verifier": attempt.verifier,
            "client_id": self._config.client_id,
        }
        token = self._fetch("POST", str(self.known().document["token_endpoint"]), form)
        claims = self._claims(str(token.get("id_token", "")), self._config.client_id)
        if claims.get("nonce") != attempt.nonce:
            raise NotBelieved("the token belongs to another log-in; begin it again")
        if claims.get("azp", self._config.client_id) != self._config.client_id:
            raise NotBelieved("the token was made for another program")
        return self._user(claims)

    def user_of_bearer(self, token: str) -> User:
        """Whom a program's access token speaks for.

        Raises:
            NotBelieved, NoRole, ProviderFailed: see there.
        """
        if self._config.audience is None:
            raise NotBelieved("bearer tokens are not taken here; needed: `audience` of [web.oidc]")
        return self._user(self._claims(token, self._config.audience))

    def known(self, *, since: float | None = None) -> _Known:
        """The provider's own description and keys, from it or as they are remembered.

        Args:
            since: they must have been asked for after this time.

        Raises:
            ProviderFailed: it is not reached, or calls itself something else.
        """
        with self._lock:
            oldest = self._clock() - KEPT_S if since is None else since
            if self._known is None or self._known.at < oldest:
                self._known = self._ask()
            return self._known

    def _ask(self) -> _Known:
        issuer = self._config.issuer
        document = self._fetch("GET", issuer.rstrip("/") + _WELL_KNOWN)
        if document.get("issuer") != issuer:
            raise ProviderFailed("the OpenID provider calls itself by another name than `issuer`")
        for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
            where = str(document.get(name, ""))
            if not where.startswith("https://" if issuer.startswith("https:") else "http"):
                raise ProviderFailed(f"the OpenID provider has no {name} that can be used")
        listed = self._fetch("GET", str(document["jwks_uri"])).get("keys", [])
        signing = [k for k in listed if k.get("kty") in ("RSA", "EC") and k.get("use") != "enc"]
        try:
            keys = KeySet.import_key_set({"keys": signing})
        except (JoseError, ValueError, KeyError) as error:
            raise ProviderFailed("the OpenID provider's keys cannot be read") from error
        return _Known(document=document, keys=keys, at=self._clock())

    def _fetch(self, method: str, url: str, form: dict[str, str] | None = None) -> dict[str, Any]:
        config, secret = self._config, None
        verify = client_context(ca=config.ca) if url.startswith("https:") else False
        if form is not None and config.client_secret_file is not None:
            # client_secret_basic: both are form-encoded first (RFC 6749 2.3.1).
            secret = (quote(config.client_id, safe=""), quote(_secret(config), safe=""))
        try:
            with httpx.Client(verify=verify, timeout=TIMEOUT_S, trust_env=False) as client:
                answer = client.request(method, url, data=form, auth=secret)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            kind = type(error).__name__
            raise ProviderFailed(f"the OpenID provider is not reached ({kind})") from None
        if form is not None and answer.status_code in (400, 401):
            raise NotBelieved("the OpenID provider does not take the code; log in again")
        try:
            content = answer.raise_for_status().json()
        except (httpx.HTTPStatusError, ValueError):
            words = f"the OpenID provider answers {answer.status_code}, and no JSON of success"
            raise ProviderFailed(words) from None
        if not isinstance(content, dict):
            raise ProviderFailed("the OpenID provider answers no JSON object")
        return content

    def _claims(self, token: str, audience: str) -> dict[str, Any]:
        """What a token says, once everything of it is checked."""
        rules = jwt.JWTClaimsRegistry(
            now=int(self._clock()),
            leeway=SKEW_S,
            iss={"essential": True, "value": self._config.issuer},
            aud={"essential": True, "value": audience},
            exp={"essential": True},
            sub={"essential": True},
        )
        try:
            claims = dict(self._decoded(token).claims)
            rules.validate(claims)
        except (JoseError, ValueError, TypeError) as error:
            # Its own words may quote claims.
            raise NotBelieved(f"the token is not to be believed ({type(error).__name__})") from None
        return claims

    def _decoded(self, token: str) -> jwt.Token:
        """A signature by a key that we do not know may be by one that is new."""
        known = self.known()
        try:
            return jwt.decode(token, known.keys, algorithms=ALGORITHMS)
        except (JoseError, ValueError):
            fresh = self.known(since=self._clock() - AGAIN_S)
            if fresh is known:
                raise
            return jwt.decode(token, fresh.keys, algorithms=ALGORITHMS)

    def _user(self, claims: dict[str, Any]) -> User:
        config = self._config
        value: Any = claims
        for part in config.role_claim.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        roles = {str(one) for one in value} if isinstance(value, list) else {str(value)}
        name = plain(str(claims.get(config.name_claim) or claims["sub"]), 200)
        for role, wanted in (("admin", config.admin), ("reader", config.reader)):
            if roles & set(wanted):
                return User(name=f"{PREFIX}{name}", role=role)
        raise NoRole(f"this account has no role here; an administrator gives it ({config.issuer})")


def _secret(config: Oidc) -> str:
    assert config.client_secret_file is not None
    try:
        return config.client_secret_file.read_text().strip()
    except OSError as error:
        raise ProviderFailed(f"client_secret_file: {error.strerror}") from error
