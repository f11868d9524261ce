"""Who an OpenID provider says that somebody is: believed only when all of it is right."""

from __future__ import annotations

import hmac
import json
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from fastapi.testclient import TestClient
from joserfc.jwk import RSAKey

from helpers.provider import SECRET, IdProvider, provider
from helpers.service import Parts
from hilum.serve.check import problems
from hilum.serve.config import Config
from hilum.serve.web.app import create_app

BASE, API = "http://127.0.0.1:8080", "/api/v1"
CALLBACK = f"{API}/session/oidc/callback"
ANNA = {"name": "oidc:anna", "role": "reader"}


@pytest.fixture
def idp() -> Iterator[IdProvider]:
    with provider(now=1_000_000.0) as made:  # the clock of `Parts`
        yield made


@pytest.fixture
def parts(tmp_path: Path, idp: IdProvider) -> Iterator[Parts]:
    secret = tmp_path / "client.secret"
    secret.write_text(f"{SECRET}\n")
    oidc = {"issuer": idp.issuer, "client_id": "hilum", "client_secret_file": secret}
    made = Parts(tmp_path, web={"oidc": {**oidc, "audience": "hilum-api"}})
    yield made
    made.close()


@pytest.fixture
def client(parts: Parts) -> Iterator[TestClient]:
    with TestClient(create_app(parts.service), base_url=BASE, follow_redirects=False) as made:
        yield made


def sent_back(client: TestClient) -> dict[str, str]:
    """What a browser brings back from the provider, after it was sent there."""
    where = client.get(f"{API}/session/oidc").headers["location"]
    back = urlsplit(httpx.get(where, trust_env=False).headers["location"])
    assert back.path == CALLBACK
    return {key: values[0] for key, values in parse_qs(back.query).items()}


def b64(head: dict[str, str]) -> str:
    return urlsafe_b64encode(json.dumps(head).encode()).rstrip(b"=").decode()


def bearer(client: TestClient, token: str) -> int:
    header = {"Authorization": f"Bearer {token}"}
    return client.get(f"{API}/session", headers=header).status_code


# --- The page -----------------------------------------------------------------------------------


def test_the_log_in_form_is_told_of_the_provider(client: TestClient, idp: IdProvider) -> None:
    host = urlsplit(idp.issuer).hostname
    assert client.get(f"{API}/session/ways").json() == {"password": False, "provider": host}


def test_the_page_sends_strangers_to_the_provider_and_takes_them_back(client: TestClient) -> None:
    assert client.get("/").headers["location"] == f"{API}/session/oidc"
    answer = client.get(CALLBACK, params=sent_back(client))
    assert answer.status_code == 200
    assert 'url=/"' in answer.text
    assert client.get("/").status_code == 200
    assert client.get(f"{API}/session").json() == ANNA


def test_the_session_is_one_like_others(client: TestClient, parts: Parts) -> None:
    client.get(CALLBACK, params=sent_back(client))
    assert client.post(f"{API}/sample").status_code == 403  # without the header
    header = {"X-Hilum-CSRF": client.cookies["hilum_csrf"]}
    assert client.post(f"{API}/sample", headers=header).status_code == 202
    assert client.get(f"{API}/feedback/export").status_code == 403  # a reader
    parts.clock.now += 13 * 3600
    assert client.get(f"{API}/session").status_code == 401


def test_local_users_log_in_beside_the_provider(client: TestClient) -> None:
    assert client.get("/?password").status_code == 200


def test_the_code_is_bound_to_the_browser_that_asked(client: TestClient) -> None:
    theirs = sent_back(client)
    client.cookies.clear()  # somebody else's browser, or none that has begun
    assert client.get(CALLBACK, params=theirs).status_code == 401
    ours = sent_back(client)
    assert client.get(CALLBACK, params=ours | {"code": theirs["code"]}).status_code == 401  # PKCE
    assert client.get(CALLBACK, params=ours | {"state": theirs["state"]}).status_code == 401
    assert client.get(CALLBACK, params={"state": ours["state"], "error": "x"}).status_code == 401
    assert client.get(f"{API}/session").status_code == 401


def test_a_code_is_good_once(client: TestClient) -> None:
    asked = sent_back(client)
    kept = dict(client.cookies)
    assert client.get(CALLBACK, params=asked).status_code == 200
    client.cookies.clear()
    client.cookies.update(kept)
    assert client.get(CALLBACK, params=asked).status_code == 401


@pytest.mark.parametrize(
    "claims",
    [
        {"nonce": "another"},
        {"nonce": None},
        {"aud": "another"},
        {"azp": "another"},
        {"iss": "https://evil.example"},
        {"exp": 999_000},
        {"exp": None},
        {"nbf": 1_001_000},
    ],
)
def test_one_wrong_claim_is_enough(
    client: TestClient, idp: IdProvider, claims: dict[str, object]
) -> None:
    idp.claims |= claims
    assert client.get(CALLBACK, params=sent_back(client)).status_code == 401
    assert client.get(f"{API}/session").status_code == 401


def test_roles_come_from_the_claim(client: TestClient, idp: IdProvider) -> None:
    idp.claims["roles"] = ["staff", "admin"]
    client.get(CALLBACK, params=sent_back(client))
    assert client.get(f"{API}/session").json() == {"name": "oidc:anna", "role": "admin"}
    for none in (["staff"], "staff", None, {"admin": True}):
        idp.claims["roles"] = none
        assert client.get(CALLBACK, params=sent_back(client)).status_code == 403


def test_a_role_may_lie_deeper(tmp_path: Path, idp: IdProvider) -> None:
    oidc = {"issuer": idp.issuer, "client_id": "hilum", "audience": "hilum-api"}
    one = Parts(tmp_path, web={"oidc": {**oidc, "role_claim": "realm_access.roles"}})
    idp.claims = {"realm_access": {"roles": ["reader"]}}
    with TestClient(create_app(one.service), base_url=BASE) as client:
        assert bearer(client, idp.token(aud="hilum-api")) == 200
    one.close()


# --- Programs -----------------------------------------------------------------------------------


def test_a_bearer_token_speaks_for_its_subject(client: TestClient, idp: IdProvider) -> None:
    header = {"Authorization": f"Bearer {idp.token(aud=['other', 'hilum-api'])}"}
    assert client.get(f"{API}/session", headers=header).json() == ANNA
    assert client.post(f"{API}/sample", headers=header).status_code == 202
    elsewhere = header | {"Origin": "https://evil.example"}
    assert client.post(f"{API}/sample", headers=elsewhere).status_code == 403


def test_a_token_of_the_log_in_is_none_for_the_interface(
    client: TestClient, idp: IdProvider
) -> None:
    assert bearer(client, idp.token(aud="hilum")) == 401


def test_forged_tokens_are_not_believed(client: TestClient, idp: IdProvider) -> None:
    good = idp.token(aud="hilum-api")
    stranger = RSAKey.generate_key(2048, {"kid": "first"})
    head, body, signature = good.split(".")
    none, shared = b64({"alg": "none"}), f"{b64({'alg': 'HS256', 'kid': 'first'})}.{body}"
    mac = hmac.digest(idp.key.as_pem(private=False), shared.encode(), "sha256")
    assert bearer(client, good) == 200
    for forged in (
        idp.token(stranger, aud="hilum-api"),
        f"{shared}.{urlsafe_b64encode(mac).rstrip(b'=').decode()}",  # the public key as a secret
        f"{none}.{body}.",
        f"{none}.{body}.{signature}",
        f"{head}.{body}.",
        f"{head}.{body[:-2]}AA.{signature}",
        "",
        "a.b.c",
    ):
        assert bearer(client, forged) == 401


def test_tokens_end(client: TestClient, parts: Parts, idp: IdProvider) -> None:
    token = idp.token(aud="hilum-api")
    parts.clock.now += 200
    assert bearer(client, token) == 200
    parts.clock.now += 200
    assert bearer(client, token) == 401


def test_a_new_key_of_the_provider_is_fetched_and_strangers_do_not_make_us_ask(
    client: TestClient, parts: Parts, idp: IdProvider
) -> None:
    assert bearer(client, idp.token(aud="hilum-api")) == 200
    parts.clock.now += 61
    idp.key = idp.published = RSAKey.generate_key(2048, {"kid": "second"})
    assert bearer(client, idp.token(aud="hilum-api")) == 200
    asked = idp.calls.count("/keys")
    stranger = RSAKey.generate_key(2048, {"kid": "third"})
    assert [bearer(client, idp.token(stranger, aud="hilum-api")) for _ in range(5)] == [401] * 5
    assert idp.calls.count("/keys") == asked == 2


def test_a_provider_that_is_away_is_said(tmp_path: Path) -> None:
    gone = {"issuer": "http://127.0.0.1:9", "client_id": "hilum", "audience": "hilum-api"}
    parts = Parts(tmp_path, web={"oidc": gone})
    with TestClient(create_app(parts.service), base_url=BASE) as client:
        assert client.get(f"{API}/session/oidc").status_code == 503
        assert bearer(client, "a.b.c") == 503
    assert any("web.oidc" in one for one in problems(parts.service.config, ports=False))
    parts.close()


def test_a_provider_of_another_name_is_not_used(client: TestClient, idp: IdProvider) -> None:
    idp.issuer += "/other"
    assert client.get(f"{API}/session/oidc").status_code == 503


def test_without_a_provider_there_is_no_such_log_in(tmp_path: Path) -> None:
    parts = Parts(tmp_path)
    with TestClient(create_app(parts.service), base_url=BASE) as client:
        assert client.get(f"{API}/session/oidc").status_code == 404
    parts.close()


def test_a_local_name_is_never_a_name_of_the_provider() -> None:
    user = {"oidc:anna": {"password": "$argon2id$"}}
    with pytest.raises(ValueError, match="pattern"):
        Config.model_validate({"web": {"users": user}})
