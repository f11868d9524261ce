"""What a QIDO-RS query asks for, and which data sets fit it (PS3.18 8.3.4, PS3.4 C.2.2.2). Knows
no service."""

from __future__ import annotations

import fnmatch
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from fastapi.exceptions import HTTPException
from pydicom.datadict import dictionary_VR, keyword_for_tag, tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

MOST = 1000  # answers of a query without a limit
IN_STUDY = "ModalitiesInStudy"  # of no instance, of all of its study
_WHEN = {"DA": r"\d{8}", "TM": r"\d{2}(\d{2}(\d{2}(\.\d{1,6})?)?)?", "DT": r"\d{4}[\d.+-]*"}
_NUMBERS = {"limit": MOST, "offset": 0}


class Range(NamedTuple):
    """Dates or times, both ends belong to it; "" is open."""

    first: str
    last: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A search."""

    limit: int
    offset: int
    wanted: Mapping[str, str]  # values by keyword; "" and "*" fit everything and are left out
    modalities: frozenset[str]  # of which the study has one; none: of any
    attributes: tuple[str, ...]  # asked for beside the usual ones
    every: bool  # attribute is asked for
    fuzzy: bool  # names by the beginnings of their words

    def fits(self, ds: Dataset) -> bool:
        """Whether an instance has what is wanted."""
        return all(self._fits(ds, name, value) for name, value in self.wanted.items())

    def _fits(self, ds: Dataset, name: str, value: str) -> bool:
        vr, held = dictionary_VR(name), _texts(ds, name)
        if vr == "UI":
            return any(one in re.split(r"[,\\]", value) for one in held)
        if when := range_of(name, value):
            return any(_between(one, when) for one in held)
        if vr == "PN":
            held = [group for one in held for group in (one, *one.split("="))]
            if self.fuzzy:
                return any(_begins(group, value) for group in held)
            held, value = [one.rstrip("^") for one in held], value.rstrip("^")
        return any(_like(one, value) for one in held)


def query_of(parameters: Iterable[tuple[str, str]]) -> Query:
    """
    Raises:
        HTTPException: 400, in words.
    """
    wanted, extra, numbers, fuzzy = dict[str, str](), list[str](), dict(_NUMBERS), False
    for name, value in parameters:
        if name in numbers:
            if not re.fullmatch(r"[0-9]{1,6}", value):
                raise HTTPException(400, f"{name}: needed: a whole number")
            numbers[name] = int(value)
        elif name == "includefield":
            extra += value.split(",")
        elif name == "accept":
            continue  # media.py
        elif name == "fuzzymatching":
            fuzzy = value.lower() == "true"
        elif value not in ("", "*"):
            wanted[_searched(name)] = value
    for name, value in wanted.items():
        _check_time(name, value)
    modalities = wanted.pop(IN_STUDY, "")
    return Query(
        limit=min(numbers["limit"], MOST),
        offset=numbers["offset"],
        wanted=wanted,
        modalities=frozenset(filter(None, re.split(r"[,\\]", modalities))),
        attributes=tuple(_keyword(one) for one in extra if one not in ("", "all")),
        every="all" in extra,
        fuzzy=fuzzy,
    )


def range_of(name: str, value: str) -> Range | None:
    """The range that a value of a date or time stands for; None for other attributes."""
    if dictionary_VR(name) not in _WHEN:
        return None
    first, dash, last = value.partition("-")
    return Range(first, last if dash else first)


def literal_of(pattern: str) -> str:
    """The longest part of a name's pattern that stands for itself; "" where upper and lower case
    are not those of ASCII, which databases do not agree about."""
    longest = max(re.split(r"[*?^=]", pattern), key=len)
    return longest if longest.isascii() else ""


def _keyword(name: str) -> str:
    """Of a keyword or a tag such as 0020000D."""
    keyword = keyword_for_tag(int(name, 16)) if re.fullmatch("[0-9A-Fa-f]{8}", name) else name
    if not keyword or tag_for_keyword(keyword) is None:
        raise HTTPException(400, "a query names an attribute that the standard does not know")
    return keyword


def _searched(name: str) -> str:
    if "." in name or dictionary_VR(_keyword(name)) == "SQ":
        raise HTTPException(400, "sequences and what is inside are not searched here")
    return _keyword(name)


def _check_time(name: str, value: str) -> None:
    wanted, form = range_of(name, value), _WHEN.get(dictionary_VR(name), "")
    if wanted and not all(re.fullmatch(form, one) for one in wanted if one):
        raise HTTPException(400, f"{name}: needed: a date or time as DICOM writes it, or a range")


def _texts(ds: Dataset, name: str) -> list[str]:
    """Its values; [""] of what is not there."""
    value = ds.get(name)
    if isinstance(value, MultiValue):
        return [str(one) for one in value]
    return ["" if value is None else str(value)]


def _between(held: str, wanted: Range) -> bool:
    """Times may be shorter than they could: 10 is from 100000 on, and lasts until 105959."""
    first, last = wanted
    held, wide = held.strip(), max(len(held), len(first))
    early = bool(first) and held.ljust(wide, "0") < first.ljust(wide, "0")
    return bool(held) and not early and (not last or held[: len(last)] <= last)


def _like(held: str, pattern: str) -> bool:
    return fnmatch.fnmatchcase(held.lower(), pattern.lower().replace("[", "[[]"))


def _begins(held: str, wanted: str) -> bool:
    """Every word that is wanted begins one of those held, marks over letters aside."""
    words = _words(held)
    return all(any(one.startswith(word) for one in words) for word in _words(wanted))


def _words(text: str) -> list[str]:
    plain = unicodedata.normalize("NFKD", text.casefold())
    return re.findall(r"\w+", "".join(c for c in plain if not unicodedata.combining(c)))
