"""The OpenAPI document says of every path what it does and answers."""

from __future__ import annotations

from fastapi.testclient import TestClient


def test_every_path_says_what_it_answers(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    for path, methods in document["paths"].items():
        for method, said in methods.items():
            assert said["responses"], f"{method} {path}"
            assert said.get("description") or said["summary"]
    assert {"503", "401", "422"} <= set(document["paths"]["/api/v1/images"]["post"]["responses"])
