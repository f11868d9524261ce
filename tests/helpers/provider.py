"""A small OpenID provider on loopback: anybody who asks is logged in as `claims` say."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey

from helpers.loopback import Handler, serving

SECRET = "the client's secret"  # noqa: S105


class IdProvider:
    """What it says, and how it behaves."""

    def __init__(self, now: float) -> None:
        self.now, self.issuer = now, ""
        self.key = self.published = RSAKey.generate_key(2048, {"kid": "first"})
        self.claims: dict[str, Any] = {"preferred_username": "anna", "roles": ["reader"]}
        self.codes: dict[str, dict[str, str]] = {}  # what was asked for, by code
        self.calls: list[str] = []

    def token(self, key: RSAKey | None = None, alg: str = "RS256", **claims: Any) -> str:
        """A signed one; claims that are None are left out."""
        said = {"iss": self.issuer, "sub": "4711", "iat": int(self.now), "exp": int(self.now) + 300}
        said |= self.claims | claims
        signing = key or self.key
        kept = {name: value for name, value in said.items() if value is not None}
        return jwt.encode({"alg": alg, "kid": signing.kid}, kept, signing)

    def answer(self, method: str, path: str, asked: dict[str, str], head: str) -> tuple[int, Any]:
        """Status, and a JSON object or an address to go to."""
        self.calls.append(path)
        names = ("authorization_endpoint", "token_endpoint", "jwks_uri")
        if path == "/.well-known/openid-configuration":
            paths = (f"{self.issuer}/{name}" for name in ("authorize", "token", "keys"))
            return 200, {"issuer": self.issuer, **dict(zip(names, paths, strict=True))}
        if path == "/keys":
            return 200, {"keys": [self.published.as_dict(private=False)]}
        if path == "/authorize":
            code = secrets.token_hex(8)
            self.codes[code] = asked
            return (
                302,
                f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}",
            )
        return self._token(asked, head) if method == "POST" else (404, {})

    def _token(self, form: dict[str, str], head: str) -> tuple[int, Any]:
        """A code is for one use, one client, one redirect URI, and who holds the verifier."""
        asked = self.codes.pop(form["code"], None)
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        pair = base64.b64decode(head.removeprefix("Basic ")).decode()
        if pair != urlencode({"hilum": SECRET}).replace("=", ":").replace("+", "%20"):
            return 401, {"error": "invalid_client"}
        if (
            asked is None
            or asked["code_challenge_method"] != "S256"
            or asked["code_challenge"] != challenge
            or asked["redirect_uri"] != form["redirect_uri"]
        ):
            return 400, {"error": "invalid_grant"}
        claims = {"aud": asked["client_id"], "nonce": asked["nonce"]} | self.claims
        return 200, {"id_token": self.token(**claims), "token_type": "Bearer"}


@contextmanager
def provider(now: float) -> Iterator[IdProvider]:
    """A running one."""
    made = IdProvider(now)

    class One(Handler):
        def do(self) -> None:
            url = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
            asked = {k: v[0] for k, v in parse_qs(body or url.query).items()}
            head = self.headers.get("Authorization", "")
            status, value = made.answer(self.command, url.path, asked, head)
            self.send_response(status)
            content = b"" if status == 302 else json.dumps(value).encode()
            if status == 302:
                self.send_header("Location", value)
            self.finish_with(content)

        do_GET = do_POST = do

    with serving(One) as made.issuer:
        yield made
