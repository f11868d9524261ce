"""Server-sent progress: every change of an image, in order, also those that were missed."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from typing import Any

import pytest

from helpers.service import Parts, radiograph_file
from hilum.serve.web import stream


def listener(user: str | None) -> Any:
    """A request that stays, of somebody who is logged in or (None) no more."""
    auth = SimpleNamespace(user=lambda _: user)
    state = SimpleNamespace(streams=0, closing=False, auth=auth)

    async def connected() -> bool:
        return False

    return SimpleNamespace(app=SimpleNamespace(state=state), is_disconnected=connected)


def listened(parts: Parts, after: int | None, count: int) -> list[str]:
    """The first texts of a stream that begins, then hears of one more image."""
    request = listener(user="anna")

    async def listen() -> list[str]:
        told = stream._stream(parts.service.events, after, request)
        texts = [await anext(told)]
        parts.receive(radiograph_file("1.2.9"))
        while len(texts) < count:
            texts.append(await asyncio.wait_for(anext(told), 20))
        await told.aclose()  # type: ignore[attr-defined]
        return texts

    texts = asyncio.run(listen())
    assert request.app.state.streams == 0  # whoever goes away is not counted on
    return texts


def data(text: str) -> dict[str, Any]:
    return json.loads(text.split("data: ")[1])


def test_a_change_is_told_as_it_comes(parts: Parts) -> None:
    _, text = listened(parts, None, 2)
    assert "event: image" in text
    assert data(text)["state"] == "received"
    assert set(data(text)) == {"id", "state", "score"}  # nothing of the patient


def test_what_was_missed_is_told_first(parts: Parts) -> None:
    id = parts.receive(radiograph_file()).id
    _, missed, new = listened(parts, 0, 3)
    assert data(missed)["id"] == id != data(new)["id"]


def test_nobody_is_told_anything_once_the_session_has_ended(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "QUIET_S", stream.EVERY_S)

    async def listen(user: str | None) -> str:
        told = stream._stream(parts.service.events, None, listener(user))
        assert await anext(told) == ": open\n\n"
        return await asyncio.wait_for(anext(told, "the end"), 20)

    assert asyncio.run(listen("anna")) == ": still here\n\n"
    assert asyncio.run(listen(None)) == "the end"
