"""The OpenAPI document is true: what schemathesis makes of it finds nothing."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient

from helpers.service import Parts, radiograph_file


def test_every_path_says_what_it_answers(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    for path, methods in document["paths"].items():
        for method, said in methods.items():
            assert said["responses"], f"{method} {path}"
            assert said.get("description") or said["summary"]
    assert {"503", "401", "422"} <= set(document["paths"]["/api/v1/images"]["post"]["responses"])


@pytest.mark.filterwarnings("ignore")  # of the tool's own
def test_schemathesis_finds_nothing(client: TestClient, parts: Parts) -> None:
    schemathesis = pytest.importorskip("schemathesis")
    from hypothesis import HealthCheck, Phase, given, settings

    id = parts.receive(radiograph_file()).id
    parts.work()
    schema = schemathesis.openapi.from_asgi(
        "/openapi.json", client.app, headers={"Host": "127.0.0.1"}
    )
    found: list[str] = []
    for result in schema.get_all_operations():
        operation = result.ok()
        if "events" in operation.path or (
            "dicom-web" in operation.path and operation.method == "post"
        ):
            continue

        @settings(
            max_examples=2,
            deadline=None,
            database=None,
            derandomize=True,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy())
        def once(case):  # type: ignore[no-untyped-def]
            if "id" in (case.path_parameters or {}):
                case.path_parameters["id"] = id
            case.headers = {"Host": "127.0.0.1"}
            answer = case.call(base_url="http://127.0.0.1:8080")
            if answer.status_code >= 500:
                found.append(f"{case.method} {case.path} {answer.status_code}")

        once()
    assert not found
