"""multipart/related (RFC 2387), as DICOMweb sends and takes it (PS3.18 section 8.6)."""

from __future__ import annotations

import email.message
import secrets
from collections.abc import Iterable, Iterator, Mapping

from fastapi.responses import StreamingResponse

PARTS = 5000


def parts(content: bytes, content_type: str) -> Iterator[tuple[str, bytes]]:
    """Kind and bytes of each part.

    Raises:
        ValueError: it is no multipart/related, is cut off, or has too many parts.
    """
    message = email.message.Message()
    message["Content-Type"] = content_type
    boundary = message.get_boundary()
    if message.get_content_type() != "multipart/related" or not boundary:
        raise ValueError("needed: multipart/related with a boundary")
    # The line break before a boundary belongs to it, so that binary parts keep their last bytes.
    between = b"\r\n--" + boundary.encode("latin-1", "replace")
    at = (b"\r\n" + content[:70_000]).find(between)
    if at < 0:
        raise ValueError("the body has no part")
    at += len(between) - 2
    for _ in range(PARTS):
        if content[at : at + 2] == b"--":
            return
        end = content.find(between, at)
        blank = content.find(b"\r\n\r\n", at, at + 10_000)
        if end < 0 or not 0 <= blank < end:
            raise ValueError("the body is cut off")
        yield _kind(content[at:blank]), content[blank + 4 : end]
        at = end + len(between)
    raise ValueError(f"more than {PARTS} parts")


def _kind(head: bytes) -> str:
    message = email.message_from_bytes(head.lstrip(b"\r\n") + b"\r\n\r\n")
    return message.get_content_type()


def related(
    bodies: Iterable[tuple[str, bytes]], kind: str, headers: Mapping[str, str] | None = None
) -> StreamingResponse:
    """An answer of several parts: each with its content type."""
    boundary = secrets.token_hex(16)

    def lines() -> Iterator[bytes]:
        for own, body in bodies:
            yield f"\r\n--{boundary}\r\nContent-Type: {own}\r\n\r\n".encode()
            yield body
        yield f"\r\n--{boundary}--\r\n".encode()

    media = f'multipart/related; type="{kind}"; boundary={boundary}'
    return StreamingResponse(lines(), media_type=media, headers=headers)
