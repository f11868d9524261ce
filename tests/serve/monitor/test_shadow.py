"""A new pipeline is shown to nobody until somebody has accepted how its scores shift here."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher
from fastapi.testclient import TestClient
from sqlalchemy import select

from helpers.archive import archive
from helpers.service import Parts, radiograph_file
from helpers.toy import write_toy_pipeline
from hilum.serve.config import Config
from hilum.serve.monitor import shadow
from hilum.serve.routing import Facts, plan
from hilum.serve.tables import Result
from hilum.serve.web.app import create_app

HASH = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash("right")
USERS = {"anna": {"role": "reader", "password": HASH}, "ada": {"role": "admin", "password": HASH}}
BASE, MONITOR = "http://127.0.0.1:8080", "/api/v1/monitor"
ADA, ANNA = ("ada", "right"), ("anna", "right")


def pipelines(folder: Path, opacity: float = 2.0) -> dict[str, str]:
    """Two of the same build; the logit of opacity beside (0, 1) is 2 in the one that is shown."""
    out = {}
    for name, logit in {"old": 2.0, "new": opacity}.items():
        (folder / name).mkdir(exist_ok=True)
        out[name] = str(write_toy_pipeline(folder / name, classes=(0.0, 1.0, logit)))
    return out


def score(logit: float) -> float:
    """Softmax."""
    return math.exp(logit) / (1 + math.e + math.exp(logit))


@pytest.fixture
def parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Parts]:
    monkeypatch.setattr(shadow, "LEAST", 3)
    with archive() as pacs:
        made = Parts(
            tmp_path,
            pipelines=pipelines(tmp_path, 0.0),
            default="old",
            rules=[{"shadow": ["new"], "destinations": ["pacs"]}],
            destinations={"pacs": {"web": {"url": pacs.url}}},
            write="sr",
            web={"users": USERS},
        )
        yield made
        made.close()


@pytest.fixture
def client(parts: Parts) -> Iterator[TestClient]:
    with TestClient(create_app(parts.service), base_url=BASE) as made:
        yield made


def study(parts: Parts, number: int) -> Any:
    id = parts.receive(radiograph_file(f"1.2.{number}")).id
    parts.work()
    return parts.image(id)


def test_a_report_says_how_scores_shift(parts: Parts, client: TestClient) -> None:
    before = client.get(MONITOR, auth=ANNA).json()["shadow"]["new"]
    assert (before["studies"], before["shift"]["median"]) == (0, None)
    for number in range(3):
        assert study(parts, number).pipeline == "old"
    report = client.get(MONITOR, auth=ANNA).json()["shadow"]["new"]
    assert report["studies"] == 3
    assert report["shift"]["median"] == pytest.approx(score(0) - score(2), abs=1e-3)
    assert report["accepted"] is None


def test_what_a_shadow_outlines_without_a_box_counts_as_found(tmp_path: Path) -> None:
    known = pipelines(tmp_path)
    (tmp_path / "bare").mkdir()
    known["new"] = str(write_toy_pipeline(tmp_path / "bare", boxes=(), logits=()))
    parts = Parts(tmp_path, pipelines=known, default="old", rules=[{"shadow": ["new"]}])
    study(parts, 0)
    report = shadow.shadows(parts.service)["new"]
    assert (report["studies"], report["finding_only_shown"]) == (1, 0)
    parts.close()


def test_it_takes_over_when_an_admin_accepts_and_not_before(
    parts: Parts, client: TestClient
) -> None:
    accept = f"{MONITOR}/shadow/new/accept"
    study(parts, 0)
    assert client.post(accept, auth=ADA).status_code == 409  # too few
    for number in (1, 2):
        study(parts, number)
    assert client.post(accept, auth=ANNA).status_code == 403  # a reader
    assert study(parts, 3).pipeline == "old"
    assert client.post(accept, auth=ADA).json()["by"] == "ada"
    image = study(parts, 4)
    assert image.pipeline == "new"
    assert image.score == pytest.approx(score(0), abs=1e-3)
    with parts.records.read() as session:
        rows = session.execute(
            select(Result.pipeline, Result.shadow).where(Result.image == image.id)
        )
        assert [tuple(row) for row in rows] == [("new", False)]
    assert any("shadow new accepted" in message for message in parts.service.audit.messages())
    assert client.delete(accept, auth=ADA).status_code == 204
    assert study(parts, 5).pipeline == "old"
    assert client.delete(accept, auth=ADA).status_code == 404


def test_what_was_accepted_is_a_bundle_and_not_its_name(
    parts: Parts, tmp_path: Path, client: TestClient
) -> None:
    for number in range(3):
        study(parts, number)
    client.post(f"{MONITOR}/shadow/new/accept", auth=ADA)
    config = parts.service.config.model_dump()
    config["pipelines"] = pipelines(tmp_path, -1.0)  # another bundle under the same name
    later = Parts(tmp_path, **{k: v for k, v in config.items() if k != "folder"})
    later.clock.now = parts.clock.now + 1
    assert study(later, 9).pipeline == "old"
    report = shadow.shadows(later.service)["new"]
    assert (report["studies"], report["accepted"]) == (1, None)
    later.close()


def test_a_pipeline_that_is_no_shadow_cannot_be_accepted(client: TestClient) -> None:
    for name in ("old", "nothing"):
        assert client.post(f"{MONITOR}/shadow/{name}/accept", auth=ADA).status_code == 404


def test_an_accepted_shadow_takes_the_first_place_only() -> None:
    names = dict.fromkeys(("default", "a", "b", "new"), "default")
    rules = [{"pipelines": ["a", "b"], "shadow": ["new"]}]
    config = Config.model_validate({"pipelines": names, "rules": rules})
    facts = Facts(sender=None, origin="upload", descriptions=(), view=None, modality="CR")
    assert plan(config, facts).shadow == ("new",)
    after = plan(config, facts, accepted={"new"})
    assert (after.pipelines, after.shadow) == (("new", "b"), ())
    assert plan(config, facts, "b", {"new"}).pipelines == ("b",)  # what a sender asks for
