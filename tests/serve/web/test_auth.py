"""Who may do what: users, roles, sessions, other sites, hosts, limits."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import uvicorn
from argon2 import PasswordHasher
from fastapi.exceptions import HTTPException
from fastapi.testclient import TestClient

from helpers.service import Parts, radiograph_file
from helpers.waiting import until
from hilum.core.turns import Busy
from hilum.serve.logs import configure
from hilum.serve.web import auth
from hilum.serve.web.app import create_app
from hilum.serve.web.auth import HASHED, LINE, Auth

BASE, API = "http://127.0.0.1:8080", "/api/v1"
CANARY = "Zyzzyva"
HASHER = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
HASH = HASHER.hash("right")
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
    assert client.get(f"{API}/feedback/export").status_code == 403


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


def test_a_password_that_is_changed_in_the_configuration_ends_its_sessions(
    client: TestClient, parts: Parts
) -> None:
    log_in(client)
    cookies = dict(client.cookies)
    users = USERS | {"anna": {"role": "reader", "password": HASHER.hash("right")}}  # other salt
    again = Parts(parts.folder, web={"users": users})
    with TestClient(create_app(again.service), base_url=BASE, cookies=cookies) as later:
        assert later.get(f"{API}/session").status_code == 401
        assert log_in(later) == 200
    again.close()


def test_a_hundred_who_log_in_at_once_keep_out_nobody_who_is_in(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each password takes 64 MiB and a thread: two at once, a dozen wait, the others are told."""
    log_in(client)
    go, hashing, most = threading.Event(), list[int](), list[int]()

    def slow(_: str, password: str) -> bool:
        hashing.append(1)
        most.append(len(hashing))
        assert go.wait(20)
        hashing.pop()
        return False

    monkeypatch.setattr(auth, "_verified", slow)
    gate: Auth = client.app.state.auth  # type: ignore[attr-defined]
    monkeypatch.setattr(gate, "_count", lambda *_: None)
    statuses: list[int] = []

    def knock(number: int) -> None:
        try:
            gate.password_user(("anna", "ada", "nobody")[number % 3], "wrong")
        except HTTPException as error:
            statuses.append(error.status_code)
        except Busy:
            statuses.append(429)

    with ThreadPoolExecutor(100) as threads:
        for number in range(100):
            threads.submit(knock, number)
        until(lambda: len(statuses) == 100 - HASHED - LINE and len(hashing) == HASHED, go)
        assert client.get(f"{API}/session").status_code == 200
        go.set()
    assert (max(most), statuses.count(429), statuses.count(401)) == (HASHED, 86, 14)


def test_wrong_passwords_of_the_future_do_not_lock_anybody_out(
    client: TestClient, parts: Parts
) -> None:
    for _ in range(11):
        log_in(client, password="wrong")  # noqa: S106
    assert log_in(client) == 429
    parts.clock.now -= 3600  # the clock was wrong
    assert log_in(client) == 200


def test_a_failed_log_in_is_in_the_log_and_in_the_trail_with_its_address(
    client: TestClient, parts: Parts, caplog: pytest.LogCaptureFixture
) -> None:
    log_in(client, password="wrong")  # noqa: S106
    assert "a log-in from testclient failed" in caplog.text
    assert "anna" not in caplog.text
    assert 'NetworkAccessPointID="testclient"' in [*parts.service.audit.messages()][-1]


def test_the_words_of_an_exception_are_in_no_log(capsys: pytest.CaptureFixture[str]) -> None:
    """Uvicorn prints what an application raises, and threads print what ends them."""

    def breaks() -> None:
        raise ValueError(CANARY)

    root, hook, level = logging.getLogger(), threading.excepthook, logging.getLogger("hilum").level
    before = root.handlers[:]
    try:
        uvicorn.Config("no:app")  # its own handlers print words
        configure("debug")
        try:
            breaks()
        except ValueError:
            logging.getLogger("uvicorn.error").exception("Exception in ASGI application")
        thread = threading.Thread(target=breaks, name="sender-0")
        thread.start()
        thread.join()
    finally:
        root.handlers[:], threading.excepthook = before, hook
        logging.getLogger("hilum").setLevel(level)
    said = capsys.readouterr().err
    assert CANARY not in said
    assert said.count("ValueError at test_auth.py:") == 2
    assert "thread sender-0 ended" in said
