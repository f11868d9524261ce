"""What a reader does with the page of `helpers.live`: drops a file, waits for what was found."""

from __future__ import annotations

import base64
from typing import Any

import httpx

from helpers.live import PASSWORD

DROP = """([name, data]) => {
  const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0)), transfer = new DataTransfer();
  transfer.items.add(new File([bytes], name));
  document.body.dispatchEvent(new DragEvent("drop", {dataTransfer: transfer, bubbles: true}));
}"""


def drop(page: Any, data: bytes, name: str = "image.dcm") -> None:
    page.wait_for_selector("#sample")
    page.evaluate(DROP, [name, base64.b64encode(data).decode()])


def dropped(page: Any, data: bytes) -> str:
    """The id of an image that was dropped and analysed, with its pixels on the screen."""
    drop(page, data)
    page.wait_for_selector(".stage[data-ready]")
    page.wait_for_selector(".finding")
    return str(page.url.rsplit("/", 1)[1])


def answer(service: str, id: str) -> Any:
    return httpx.get(f"{service}api/v1/images/{id}", auth=("anna", PASSWORD)).json()
