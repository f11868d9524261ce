"""What DICOMweb answers in, and which of it a request takes (RFC 9110 12.5.1, PS3.18 8.7). Knows no
service."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Path, Query, Request
from fastapi.exceptions import HTTPException

from hilum.dicom.part10 import EXPLICIT_LITTLE

PREFIX = "/dicom-web"
JSON, DICOM, OCTETS = "application/dicom+json", "application/dicom", "application/octet-stream"
JPEG, PNG, RELATED = "image/jpeg", "image/png", "multipart/related"
UID = r"^[0-9.]{1,64}$"
Uid = Annotated[str, Path(pattern=UID)]
INSTANCE = "/studies/{study}/series/{series}/instances/{sop}"
_ENTRY = re.compile(r'(?:[^,"]|"[^"]*")+')
_PARAMETER = re.compile(r';\s*([\w-]+)\s*=\s*("[^"]*"|[^;\s]*)')
_AS_IS = f"; objects and frames as they are stored, or in transfer-syntax={EXPLICIT_LITTLE}"
_WEIGHT = re.compile(r"0(\.\d{0,3})?|1(\.0{0,3})?")


def responses(*kinds: str) -> dict[int | str, dict[str, Any]]:
    """The success of an operation, for the OpenAPI document."""
    return {200: {"content": {kind: {} for kind in kinds}}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Media:
    """One way to answer."""

    kind: str
    parts: bool = False  # in multipart/related, a part each
    # Transfer syntaxes of what it holds; looked for only where somebody names one.
    syntaxes: Callable[[], Collection[str]] = tuple
    anew: bool = False  # not as it is stored, which is what `transfer-syntax=*` takes

    def __str__(self) -> str:
        return f'{RELATED}; type="{self.kind}"' if self.parts else self.kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """One entry of an Accept header."""

    kind: str
    type: str  # of the parts; "": any
    syntax: str  # "": any; "*": as it is stored
    weight: float

    def narrowness(self, media: Media) -> int | None:
        """How narrowly it names a way to answer; None: not at all."""
        kind = RELATED if media.parts else media.kind
        if self.kind not in ("*/*", f"{kind.partition('/')[0]}/*", kind):
            return None
        if media.parts and self.type not in ("", "*/*", media.kind):
            return None
        if self.syntax == "*" and media.anew:
            return None
        if self.syntax not in ("", "*") and {*media.syntaxes()} - {self.syntax}:
            return None
        return 2 * (self.kind != "*/*") + 2 * (self.kind == kind) + bool(self.type)


@dataclass(frozen=True, slots=True)
class Accept:
    """What a request takes: the query parameter `accept`, else the header."""

    ranges: tuple[Range, ...]

    def choose(self, ways: Sequence[Media]) -> Media:
        """The way that is liked best; of several alike the first.

        Raises:
            HTTPException: 406, none of them is taken.
        """
        if not ways:
            raise HTTPException(406, "there is no image in it that could be shown")
        weights = [self._weight(way) for way in ways]
        if not max(weights):
            there = ", ".join(map(str, ways))
            raise HTTPException(406, f"needed: Accept with one of {there}{_AS_IS}")
        return ways[weights.index(max(weights))]

    def _weight(self, way: Media) -> float:
        """That of the narrowest entry which names it; 0 where none does."""
        fits = [(n, one.weight) for one in self.ranges if (n := one.narrowness(way)) is not None]
        return max(fits, default=(0, 0.0))[1]


def accept_of(
    request: Request,
    accept: Annotated[str | None, Query(max_length=2000, description="Instead of Accept.")] = None,
) -> Accept:
    """What a request says; without a word everything."""
    header = ",".join(request.headers.getlist("accept"))
    return Accept(tuple(ranges_of(accept or header or "*/*")))


Accepted = Annotated[Accept, Depends(accept_of)]


def ranges_of(text: str) -> Iterator[Range]:
    for entry in _ENTRY.findall(text):
        kind, _, rest = entry.partition(";")
        values = {name.lower(): value.strip('"') for name, value in _PARAMETER.findall(f";{rest}")}
        weight = values.get("q", "1")
        yield Range(
            kind=kind.strip().lower(),
            type=values.get("type", "").lower(),
            syntax=values.get("transfer-syntax", ""),
            weight=float(weight) if _WEIGHT.fullmatch(weight) else 1.0,
        )
