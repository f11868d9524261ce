"""What an administrator is shown: enough to run the service, no secret and no patient."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from argon2 import PasswordHasher
from fastapi.testclient import TestClient
from sqlalchemy import update

from helpers.service import Parts, radiograph_file, toy_pipeline
from hilum.serve import users
from hilum.serve.monitor import shadow
from hilum.serve.tables import AuditEntry, Delivery

API = "/api/v1/admin"
HASH = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash("right")
ADA, ANNA = ("ada", "right"), ("anna", "right")
CANARY = "Zyzzyva"


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Parts]:
    known = {
        "anna": {"role": "reader", "password": HASH},
        "ada": {"role": "admin", "password": HASH},
    }
    rules = [
        {"view": "LATERAL", "analyse": False},
        {"sender": "CR*", "shadow": ["new"], "destinations": ["pacs"], "priority": "high"},
    ]
    made = Parts(
        tmp_path,
        pipelines=dict.fromkeys(("default", "new"), str(toy_pipeline())),
        web={"users": known},
        destinations={"pacs": {"web": {"url": f"http://me:{CANARY}@127.0.0.1:9/dicom-web"}}},
        rules=rules,
        write="sr",
    )
    yield made
    made.close()


def test_users_are_listed_with_their_roles_and_without_their_hashes(
    client: TestClient, parts: Parts
) -> None:
    users.Users(parts.service.config).add("ben", users.user("reader", "correct horse"))
    answer = client.get(API, auth=ADA)
    assert [(one["name"], one["role"], one["configured"]) for one in answer.json()["users"]] == [
        ("ada", "admin", True),
        ("anna", "reader", True),
        ("ben", "reader", False),
    ]
    assert "argon2" not in answer.text


def test_a_reader_sees_none_of_it(client: TestClient) -> None:
    assert client.get(API, auth=ANNA).status_code == 403
    assert client.post(f"{API}/audit/verify", auth=ANNA).status_code == 403


def test_the_rules_are_those_in_force(
    client: TestClient, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, sent, rest = client.get(API, auth=ADA).json()["rules"]
    assert (kept["when"], kept["pipelines"]) == ({"view": "LATERAL"}, [])
    assert sent == {
        "when": {"sender": "CR*"},
        "pipelines": ["default"],
        "shadow": ["new"],
        "destinations": ["pacs"],
        "priority": "high",
        "reached": True,
    }
    assert (rest["when"], rest["pipelines"], rest["destinations"]) == ({}, ["default"], [])
    monkeypatch.setattr(shadow, "LEAST", 0)
    shadow.accept(parts.service, "new", "ada")
    after = client.get(API, auth=ADA).json()["rules"][1]
    assert (after["pipelines"], after["shadow"]) == (["new"], [])


def test_destinations_say_what_waits_and_what_died(client: TestClient, parts: Parts) -> None:
    image = parts.receive(radiograph_file(), origin="c-store", sender="CR1").id
    parts.work()
    answer = client.get(API, auth=ADA)
    (pacs,) = answer.json()["destinations"]
    assert pacs["address"] == "http://127.0.0.1:9/dicom-web"
    assert CANARY not in answer.text
    assert pacs["deliveries"] == {"waiting": 1, "delivered": 0, "dead": 0}
    assert pacs["reason"]
    assert answer.json()["dead_letters"] == []
    with parts.records.write() as session:
        session.execute(update(Delivery).values(state="dead"))
    known = client.get(API, auth=ADA).json()
    assert known["destinations"][0]["deliveries"]["dead"] == 1
    (letter,) = known["dead_letters"]
    assert (letter["image"], letter["object"], letter["destination"]) == (image, "sr", "pacs")
    retry = client.post(f"/api/v1/deliveries/{letter['id']}/retry", auth=ADA)
    assert retry.status_code == 202
    assert "1.2.3.4" not in json.dumps(known)  # UIDs are identifiers


def test_the_audit_trail_is_verified_and_a_changed_entry_is_told(
    client: TestClient, parts: Parts
) -> None:
    parts.receive(radiograph_file())
    whole = client.post(f"{API}/audit/verify", auth=ADA).json()
    assert whole["whole"]
    assert whole["entries"] == int(whole["head"].partition(":")[0]) > 0
    with parts.records.write() as session:
        session.execute(update(AuditEntry).where(AuditEntry.number == 1).values(message="<x/>"))
    broken = client.post(f"{API}/audit/verify", auth=ADA).json()
    assert (broken["whole"], broken["head"]) == (False, None)
    assert "audit entry 1" in broken["problem"]


def test_all_dead_letters_of_a_destination_are_sent_again_at_once(
    client: TestClient, parts: Parts
) -> None:
    for number in range(3):
        parts.receive(radiograph_file(f"1.2.{number}"), origin="c-store", sender="CR1")
    parts.work()
    with parts.records.write() as session:
        session.execute(update(Delivery).values(state="dead"))
    assert client.post(f"{API}/destinations/pacs/retry", auth=ANNA).status_code == 403
    assert client.post(f"{API}/destinations/none/retry", auth=ADA).status_code == 404
    answer = client.post(f"{API}/destinations/pacs/retry", auth=ADA)
    assert (answer.status_code, answer.json()) == (202, {"deliveries": 3})
    (pacs,) = client.get(API, auth=ADA).json()["destinations"]
    assert pacs["deliveries"] == {"waiting": 3, "delivered": 0, "dead": 0}
    assert parts.queue.claim("sender", ["deliver"]) is not None  # now, not when it was due
