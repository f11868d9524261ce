"""Who may do what: users, roles, sessions, other sites, hosts, limits."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from argon2 import PasswordHasher
from fastapi.testclient import TestClient

from helpers.service import Parts, radiograph_file
from hilum.serve.web.app import create_app

BASE, API = "http://127.0.0.1:8080", "/api/v1"
CANARY = "Zyzzyva"
HASH = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash("right")
USERS = {"anna": {"role": "reader", "password": HASH}, "ada": {"role": "admin", "password": HASH}}


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Parts]:
    made = Parts(tmp_path, web={"users": USERS, "upload_bytes": 200_000})
    yield made
    made.close()


def log_in(client: TestClient, name: str = "anna", password: str = "right") -> int:  # noqa: S107
    login = {"name": name, "password": password}
    return client.post(f"{API}/session", json=login).status_code


def csrf(client: TestClient) -> dict[str, str]:
    return {"X-Hilum-CSRF": client.cookies["hilum_csrf"]}


def test_nothing_is_shown_before_log_in_but_how_to(client: TestClient) -> None:
    ways = f"{API}/session/ways"
    assert client.get(ways).json() == {"password": True, "provider": None}
    schema = client.get("/openapi.json").json()
    for path, methods in schema["paths"].items():
        if "get" in methods and not path.startswith("/health") and path != ways:
            filled = path.replace("{id}", "0" * 32).replace("{kind}", "sr").replace("{name}", "a")
            assert client.get(filled.replace("{", "").replace("}", "")).status_code in (401, 422), (
                path
            )
    assert client.get(f"{API}/images").status_code == 401


def test_a_session_changes_nothing_without_its_header(client: TestClient) -> None:
    assert log_in(client) == 200
    assert client.get(f"{API}/session").json() == {"name": "anna", "role": "reader"}
    assert client.post(f"{API}/sample").status_code == 403
    assert client.post(f"{API}/sample", headers=csrf(client)).status_code == 202


def test_a_log_out_ends_the_session_on_the_server(client: TestClient) -> None:
    log_in(client)
    kept = dict(client.cookies)
    assert client.delete(f"{API}/session", headers=csrf(client)).status_code == 204
    client.cookies.update(kept)
    assert client.get(f"{API}/images").status_code == 401


def test_a_session_ends_with_its_time(client: TestClient, parts: Parts) -> None:
    log_in(client)
    parts.clock.now += 13 * 3600
    assert client.get(f"{API}/images").status_code == 401


def test_a_reader_exports_no_catalog(client: TestClient) -> None:
    log_in(client)
    assert client.get(f"{API}/feedback/catalog").status_code == 403


def test_wrong_passwords_end_in_waiting(client: TestClient) -> None:
    codes = [log_in(client, "anna", "wrong") for _ in range(11)]
    assert codes == [401] * 10 + [429]
    assert log_in(client, "anna", "right") == 429


def test_programs_use_basic(client: TestClient) -> None:
    assert client.get(f"{API}/images", auth=("anna", "right")).status_code == 200
    assert client.get(f"{API}/images", auth=("anna", "wrong")).status_code == 401


def test_cookies_are_kept_from_scripts_and_other_sites(client: TestClient) -> None:
    answer = client.post(f"{API}/session", json={"name": "anna", "password": "right"})
    session = next(c for c in answer.headers.get_list("set-cookie") if "hilum_session" in c)
    assert "HttpOnly" in session
    assert "SameSite=strict" in session


@pytest.mark.parametrize(
    "headers", [{"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}]
)
def test_another_site_may_not_ask_even_on_loopback(tmp_path: Path, headers: dict[str, str]) -> None:
    parts = Parts(tmp_path)
    client = TestClient(create_app(parts.service), base_url=BASE)
    assert client.post(f"{API}/sample", headers=headers).status_code == 403
    parts.close()


def test_a_foreign_name_for_loopback_is_not_served(client: TestClient) -> None:
    assert client.get(f"{API}/status", headers={"Host": "evil.example"}).status_code == 421


def test_a_request_over_the_limit_is_not_read(client: TestClient) -> None:
    log_in(client)
    large = {"files": ("a.dcm", bytes(300_000))}
    assert client.post(f"{API}/images", files=large, headers=csrf(client)).status_code == 413

    def unsaid() -> Iterator[bytes]:
        for _ in range(4):
            yield bytes(100_000)

    kind = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=x'}
    answer = client.post("/dicom-web/studies", content=unsaid(), headers=kind | csrf(client))
    assert answer.status_code == 413


def test_every_answer_has_its_headers(client: TestClient) -> None:
    for path in ("/health/live", f"{API}/images", "/nothing"):
        headers = client.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"


def test_no_identifier_leaves_by_logs_metrics_or_errors(
    client: TestClient, parts: Parts, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "hilum")
    log_in(client, "ada")
    file = radiograph_file("1.2.3", PatientName=CANARY, PatientID=CANARY, AccessionNumber=CANARY)
    answer = client.post(f"{API}/images", files={"files": ("a.dcm", file)}, headers=csrf(client))
    id = answer.json()["images"][0]["id"]
    parts.work()
    said = [
        client.get("/metrics").text,
        client.get(f"{API}/monitor").text,
        client.get(f"{API}/images?state={CANARY}").text,
        client.get(f"/dicom-web/studies?{CANARY}=1").text,
        client.patch(f"{API}/images/{id}", json={"priority": CANARY}, headers=csrf(client)).text,
        caplog.text,
        *parts.service.audit.messages(),
        *(str(path) for path in parts.folder.rglob("*")),
    ]
    assert all(CANARY not in text for text in said)
    assert CANARY in client.get(f"{API}/images/{id}").text  # a reader sees the name
