"""Around every request: host, size and time of what comes, headers of what goes.

Plain ASGI, so that nothing of a body is read before it is counted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from fastapi.exceptions import HTTPException
from starlette.datastructures import Headers, MutableHeaders

from hilum.serve.config import Web, is_loopback
from hilum.serve.web.problems import problem

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

SILENT_S = 30.0  # a sender may stop for so long within a body
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


class Surround:
    """The outermost layer of the application."""

    def __init__(self, app: Any, web: Web) -> None:
        self.app, self.web = app, web

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        answer = self._answering(scope, send)
        headers = Headers(scope=scope)
        if not self._is_ours(headers.get("host", "")):
            # A foreign name that points here (DNS rebinding) would make other sites same-origin.
            await problem(421, "this host name is not served here")(scope, receive, answer)
            return
        length = headers.get("content-length", "0")
        if length.isdigit() and int(length) > self.web.upload_bytes:
            await problem(413, self._too_large)(scope, receive, answer)
            return
        await self.app(scope, self._counted(receive), answer)

    @property
    def _too_large(self) -> str:
        size = f"{self.web.upload_bytes >> 20} MiB"
        return f"a request may have {size}: send fewer files at once, or raise web.upload_bytes"

    def _is_ours(self, host: str) -> bool:
        """Without TLS only loopback listens, so only loopback's names may be used."""
        if self.web.tls is not None:
            return True
        name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
        return is_loopback(name) or name == self.web.host

    def _counted(self, receive: Receive) -> Receive:
        taken, ended = 0, False

        async def counted() -> Message:
            nonlocal taken, ended
            if ended:  # what comes now is the end of the connection
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), SILENT_S)
            except TimeoutError as error:
                raise HTTPException(408, "the body did not go on") from error
            taken += len(message.get("body", b""))
            ended = not message.get("more_body", False)
            if taken > self.web.upload_bytes:
                raise HTTPException(413, self._too_large)
            return message

        return counted

    def _answering(self, scope: Message, send: Send) -> Send:
        async def answering(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                fixed = scope["path"].startswith("/assets/") and message["status"] == 200
                kept = "public, max-age=31536000, immutable" if fixed else "no-store"
                headers["Cache-Control"] = kept
                if self.web.tls is not None:
                    headers["Strict-Transport-Security"] = "max-age=31536000"
            await send(message)

        return answering
