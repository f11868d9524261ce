"""A catalog's `path` and mask references: "file", or "archive.zip!member". Text in, text out."""

from __future__ import annotations

import re

_MEMBER = re.compile(r"(.+?\.zip)!(.+)", re.IGNORECASE | re.DOTALL)


def archive_and_member(reference: str) -> tuple[str, str]:
    """The archive and the member in it; ("", file) for a file. A "!" in a file's name is its own.

    >>> archive_and_member("a/b.zip!c/d.png"), archive_and_member("wow!.png")
    (('a/b.zip', 'c/d.png'), ('', 'wow!.png'))
    """
    match = _MEMBER.fullmatch(reference)
    return (match[1], match[2]) if match else ("", reference)


def inner(reference: str) -> str:
    """The path of the file itself: inside its archive, if it is in one."""
    return archive_and_member(reference)[1]
