"""What lies in the records alarms as the simulated studies do, and says so where people look."""

from __future__ import annotations

import logging
from datetime import datetime
from typing import Any

import cv2
import numpy as np
import pytest
from fastapi.testclient import TestClient

from helpers.service import Parts
from hilum.serve.monitor import watch
from hilum.serve.monitor.drift import BLOCK, REFERENCE
from hilum.serve.tables import Image, Result
from hilum.serve.web.app import create_app

MONDAY = datetime(2026, 1, 5, 9).timestamp()  # local time: so are a hospital's hours


@pytest.fixture(autouse=True)
def pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """A result's picture: bright in its middle, or dark where its id says so."""
    grey = np.zeros((64, 64), np.uint8)
    grey[10:54, 10:54] = 180
    content = {
        kind: cv2.imencode(".png", g)[1].tobytes() for kind, g in enumerate((grey, 255 - grey))
    }

    def read(_: Any, result: str, name: str) -> bytes:
        assert name == "picture.png"
        return content[int(result[0])]

    monkeypatch.setattr("hilum.serve.store.Store.read_result", read)


def fill(parts: Parts, first: int, count: int, *, inverted: bool = False, **more: Any) -> None:
    """Analysed images, one in three minutes of working hours."""
    rng = np.random.default_rng(first)
    fingerprint = more.pop("fingerprint", "f")
    with parts.records.write() as session:
        for number in range(first, first + count):
            received = MONDAY + 86400 * (7 * (number // 100)) + 180 * (number % 100)
            values = {"view": "PA", "modality": "DX", "manufacturer": "A"} | more
            values |= {"score": float(rng.beta(1, 5)), "state": "analysed", "pipeline": "default"}
            session.add(Image(id=f"{number:032}", content="", bytes=0, received=received,
                              origin="c-store", inverted=False, **values))  # fmt: skip
        session.flush()
        for number in range(first, first + count):
            id = f"{int(inverted)}{number:031}"
            session.add(Result(id=id, image=f"{number:032}", pipeline="default", made=0.0, bytes=0,
                               fingerprint=fingerprint, shadow=False, document={},
                               files={"picture": "picture.png"}))  # fmt: skip


def test_stable_images_do_not_alarm_and_a_change_does(
    parts: Parts, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "hilum")
    fill(parts, 0, REFERENCE + BLOCK)
    assert watch.check(parts.service)["alarm"] is False
    client = TestClient(create_app(parts.service), base_url="http://127.0.0.1:8080")
    assert "hilum_drift_alarm 0.0" in client.get("/metrics").text
    fill(parts, REFERENCE + BLOCK, BLOCK, inverted=True)
    for _ in range(2):
        state = watch.check(parts.service)
    assert state["alarm"]
    assert [one["number"] for one in state["blocks"]] == [1, 2]
    assert any(words.startswith("contrast") for words in state["blocks"][1]["alarms"])
    assert "hilum_drift_alarm 1.0" in client.get("/metrics").text
    assert sum("drift" in one.message for one in caplog.records) == 1  # said once


def test_blocks_keep_their_numbers(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "BLOCKS", 2)
    fill(parts, 0, REFERENCE + 4 * BLOCK + 50)
    state = watch.drift(parts.service)
    assert [one["number"] for one in state["blocks"]] == [3, 4]
    assert state["studies"] == REFERENCE + 4 * BLOCK + 50


def test_a_new_bundle_begins_a_new_reference(parts: Parts) -> None:
    fill(parts, 0, REFERENCE + BLOCK)
    assert watch.drift(parts.service)["ready"]
    fill(parts, REFERENCE + BLOCK, BLOCK, fingerprint="g")
    state = watch.drift(parts.service)
    assert (state["ready"], state["reference"]) == (False, BLOCK)


def test_what_somebody_tries_out_is_none_of_the_routine(parts: Parts) -> None:
    fill(parts, 0, 10)
    fill(parts, 10, 10, wanted="default", fingerprint="other")
    assert watch.drift(parts.service)["reference"] == 10
