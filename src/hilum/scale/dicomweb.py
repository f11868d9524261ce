"""A QIDO-RS query -> the URLs of its instances; the bytes of each by WADO-RS, where the model is.

Who we are says the environment (`ENVIRONMENT`), on each node: it is in no URL, shard or log.
"""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import parse_qsl, urlsplit

from hilum.core.errors import (
    ConfigError,
    HilumError,
    InputRefused,
    LimitRefused,
    NotFoundRefused,
    UnreadableRefused,
)
from hilum.dicom.source import DEFAULT_LIMITS, load

if TYPE_CHECKING:
    from hilum.dicom.web import WebArchive

PREFIX = "qido+"
ENVIRONMENT = "HILUM_DICOMWEB_"  # + USER, PASSWORD_FILE, TOKEN_FILE, CA
PAGE = 200  # results of one answer; some servers refuse more
WAITS_S = (1.0, 4.0, 15.0, 30.0)  # between attempts
STUDY, SERIES, INSTANCE = "0020000D", "0020000E", "00080018"
LEVELS = ("studies", "series", "instances")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Held:
    """Bytes that were fetched, or why there are none, as something to read."""

    name: str
    content: bytes | InputRefused

    def load(self) -> bytes:
        """The bytes.

        Raises:
            InputRefused: the server does not give them, or they are over a limit.
        """
        if isinstance(self.content, InputRefused):
            raise self.content
        return load((self.name, self.content), DEFAULT_LIMITS)[1]


@dataclass(frozen=True, slots=True)
class Instance:
    """One instance of a DICOMweb server; its name is its URL."""

    name: str

    def load(self) -> bytes:
        """The bytes; raises as `fetched` and `Held.load`."""
        return self.fetched().load()

    def fetched(self) -> Held:
        """Ask for it, several times where that may help.

        Raises:
            HilumError: the server is away or does not know us. That is no fault of the image, so
                the run has to stop and be gone on with.
        """
        from hilum.dicom.web import PeerAway, PeerDenied, PeerFailed

        base, path = _split(self.name)
        try:
            objects = patiently(lambda: server(base).retrieve(path))
        except (PeerAway, PeerDenied) as error:
            raise HilumError(f"{base}: {error}; run again to go on") from error
        except PeerFailed as error:
            return Held(self.name, _refusal(self.name, str(error)))
        if len(objects) != 1:
            words = f"the server answers {len(objects)} objects where one was asked for."
            return Held(self.name, UnreadableRefused(self.name, words))
        if len(objects[0]) > DEFAULT_LIMITS.file_bytes:
            most = f"it is larger than {DEFAULT_LIMITS.file_bytes >> 20} MiB."
            return Held(self.name, LimitRefused(self.name, most))
        return Held(self.name, objects[0])


def _refusal(name: str, words: str) -> InputRefused:
    if words.endswith((" 404", " 410")):
        return NotFoundRefused(name, f"{words}.")
    return UnreadableRefused(name, f"{words}.", "Run again with --fresh.")


def patiently(ask: Callable[[], T]) -> T:
    """What is asked for, in several attempts with growing waits; not where a server says no.

    Raises:
        PeerFailed: of the last attempt.
    """
    from hilum.dicom.web import PeerDenied, PeerFailed, PeerRefused

    for wait in WAITS_S:
        try:
            return ask()
        except (PeerRefused, PeerDenied):
            raise
        except PeerFailed:
            time.sleep(wait * random.uniform(0.5, 1.5))
    return ask()


@lru_cache(maxsize=4)
def server(base: str) -> WebArchive:
    """A process's connections to a server, kept open.

    Raises:
        ConfigError: the environment does not fit.
    """
    from hilum.dicom.web import WebArchive, WebPeer

    named = ("user", "password_file", "token_file", "ca")
    given = {name: os.environ.get(ENVIRONMENT + name.upper()) or None for name in named}
    peer = WebPeer.model_validate({"url": base, **given})
    return ExitStack().enter_context(WebArchive(peer))


def instances_of(url: str) -> Iterator[Instance]:
    """All instances of the results of a query, each once; `url` without `PREFIX`.

    A query for studies or series gives their instances. `limit=` in it is the most results that
    are asked for.

    Raises:
        ConfigError: no query, or the server does not answer it.
    """
    from hilum.dicom.web import PeerFailed

    base, path = _split(url.partition("?")[0].rstrip("/"))
    if path.rsplit("/", 1)[-1] not in LEVELS:
        raise ConfigError(f"{base}{path}: one resource; needed: a query for {', '.join(LEVELS)}")
    query = dict(parse_qsl(urlsplit(url).query, keep_blank_values=True))
    seen = dict[str, None]()
    try:
        for row in _results(base, path, query):
            seen |= dict.fromkeys(_below(base, path, row))
    except PeerFailed as error:
        raise ConfigError(f"{base}: {error}") from error
    if not seen:
        raise ConfigError(f"{url}: the server finds nothing; needed: a query with results")
    print(f"{len(seen)} instances at {base}", file=sys.stderr)
    return map(Instance, seen)


def _split(url: str) -> tuple[str, str]:
    """(the server's address, the path of a resource below it)."""
    parts = url.split("/")
    first = next((i for i, part in enumerate(parts) if part in LEVELS), len(parts))
    if first == len(parts):
        raise ConfigError(
            f"{url}: no query; needed: {PREFIX}https://SERVER/.../instances?Modality=CR, or "
            "/series or /studies"
        )
    return "/".join(parts[:first]), "/" + "/".join(parts[first:])


def _results(base: str, path: str, query: dict[str, str]) -> Iterator[dict[str, Any]]:
    """The results of a query, page by page until one brings nothing new.

    Raises:
        ConfigError: the server gives the first page again and again.
    """
    most, start = _number(query, "limit", sys.maxsize), _number(query, "offset", 0)
    seen = set[str]()
    while len(seen) < most:
        count = min(PAGE, most - len(seen))
        page = {**query, "limit": str(count), "offset": str(start + len(seen))}
        rows = patiently(lambda page=page: server(base).query(path, page))  # type: ignore[misc]
        new = {_identity(row): row for row in rows if _identity(row) not in seen}
        if not new and len(rows) == count:
            raise ConfigError(f"{base}: gives the same {count} results again; it ignores `offset`")
        if not new:
            return
        yield from new.values()
        seen |= new.keys()


def _number(query: dict[str, str], name: str, otherwise: int) -> int:
    text = query.get(name, str(otherwise))
    if not text.isdecimal():
        raise ConfigError(f"{name}={text} in the query; needed: a whole number")
    return int(text)


def _identity(row: dict[str, Any]) -> str:
    from hilum.dicom.web import text_of

    return " ".join(text_of(row, tag) or "" for tag in (STUDY, SERIES, INSTANCE))


def _below(base: str, path: str, row: dict[str, Any]) -> Iterator[str]:
    """The URLs of a result's instances: its own, or those that a query below it gives.

    Raises:
        ConfigError: it lacks an identifier that a result must have (PS3.18 10.6.3.3).
    """
    from hilum.dicom.web import text_of

    level = path.rsplit("/", 1)[-1]
    above = path.strip("/").split("/")
    known = dict(zip(above[::2], above[1::2], strict=False))  # {"studies": UID, ...}
    where = ""
    tags = (STUDY, SERIES, INSTANCE)[: LEVELS.index(level) + 1]
    for name, tag in zip(LEVELS, tags, strict=False):
        uid = text_of(row, tag) or known.get(name)
        if not uid:
            raise ConfigError(f"{base}: a result without the attribute {tag}; another query?")
        where += f"/{name}/{uid}"
    if level == "instances":
        yield base + where
        return
    for deeper in _results(base, f"{where}/instances", {}):
        yield from _below(base, f"{where}/instances", deeper)
