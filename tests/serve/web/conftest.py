"""A client of the application in memory: nothing listens, nothing leaves the process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from helpers.service import Parts
from hilum.serve.web.app import create_app

BASE = "http://127.0.0.1:8080"


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Parts]:
    made = Parts(tmp_path, write="picture,mask,sr")
    yield made
    made.close()


@pytest.fixture
def client(parts: Parts) -> Iterator[TestClient]:
    with TestClient(create_app(parts.service), base_url=BASE) as made:
        yield made
