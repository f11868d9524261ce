"""Typed access to the elements of a parsed data set, from their raw bytes.

pydicom converts lazily and warns about every bad value; user files are full of them. Here a
value is what its bytes say, or None. Knows value representations; knows nothing of pixels.
"""

from __future__ import annotations

import logging
import math
import re
import struct
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, cached_property
from typing import Any

from pydicom import config
from pydicom.charset import convert_encodings, decode_bytes
from pydicom.datadict import dictionary_has_tag, dictionary_VR, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag, Tag

from hilum.core.errors import UnreadableRefused

_BINARY = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "FL": "f", "FD": "d", "UV": "Q", "SV": "q"}
# fmt: off
_TEXT = frozenset((
    "AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UI",
    "UR", "UT",
))
# fmt: on
_GROUPS = (Tag(0x5200, 0x9230), Tag(0x5200, 0x9229))  # of each frame, of all
_CODE = re.compile(r"[A-Z0-9_ ]{1,16}")


class _Quiet:
    """Counts the readers inside, so that threads share one switch of pydicom's settings.

    pydicom's log is off inside: it quotes values, which may be names.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.inside = 0
        self.mode: int = config.WARN
        self.filters: Any = None
        self.log = logging.getLogger("pydicom")

    @contextmanager
    def __call__(self) -> Iterator[None]:
        with self.lock:
            self.inside += 1
            if self.inside == 1:
                self.mode = config.settings.reading_validation_mode
                config.settings.reading_validation_mode = config.IGNORE
                self.filters = warnings.catch_warnings()
                self.filters.__enter__()
                self.log.disabled = True
                warnings.filterwarnings("ignore", module=r"(pydicom|PIL|hilum\.dicom)(\.|$)")
        try:
            yield
        finally:
            with self.lock:
                self.inside -= 1
                if self.inside == 0:
                    self.log.disabled = False
                    self.filters.__exit__(None, None, None)
                    config.settings.reading_validation_mode = self.mode


quiet = _Quiet()


@cache
def _tag(keyword: str) -> BaseTag | None:
    number = tag_for_keyword(keyword)
    return None if number is None else Tag(number)


class Header:
    """The elements before the pixels, by keyword."""

    def __init__(self, dataset: Dataset, little: bool, charset: str | list[str] = "") -> None:
        self.dataset, self.little = dataset, little
        self.charset = self._charset() or charset or "iso8859"

    def _charset(self) -> list[str]:
        names = [part.strip() for part in self._decode("SpecificCharacterSet").split("\\")]
        if not any(names):
            return []
        try:
            return list(convert_encodings(names))
        except (LookupError, ValueError):
            return []  # an unknown character set: Latin-1 never fails

    def element(self, keyword: str) -> Any:
        """The raw (or, for parsed sequences, converted) element, or None. What the data set itself
        lacks may stand in the functional groups of its one frame (PS3.3 C.7.6.16)."""
        place, tag = self._place(keyword), _tag(keyword)
        return None if place is None or tag is None else place.get_item(tag)

    def _place(self, keyword: str) -> Dataset | None:
        """Where the element stands."""
        tag = _tag(keyword)
        if tag is None or tag in self.dataset:
            return self.dataset
        return next((own for own in self._of_frame if tag in own), None)

    @cached_property
    def _of_frame(self) -> tuple[Dataset, ...]:
        """The functional groups of the first frame, then those that all frames share."""
        groups = (_first_item(self.dataset, tag) for tag in _GROUPS)
        present = ((own, tag) for own in groups if own is not None for tag in [*own.keys()])
        macros = (_first_item(own, tag) for own, tag in present)
        return tuple(macro for macro in macros if macro is not None)

    def has(self, keyword: str) -> bool:
        return self.element(keyword) is not None

    def value_bytes(self, keyword: str) -> bytes:
        """The value as stored; empty when absent."""
        element = self.element(keyword)
        value = element.value if isinstance(element, RawDataElement) else None
        return value if isinstance(value, bytes) else b""

    def vr(self, keyword: str) -> str:
        """The representation in the file, or the dictionary's where the file names none."""
        element = self.element(keyword)
        if element is not None and element.VR and element.VR != "UN":
            return str(element.VR)
        return dictionary_VR(keyword)

    def _decode(self, keyword: str) -> str:
        return self.value_bytes(keyword).decode("iso8859", "replace").strip(" \0")

    def text(self, keyword: str) -> str | None:
        """Text in the file's character set, without padding; None when empty or absent."""
        raw = self.value_bytes(keyword).strip(b" \0")
        if not raw:
            return None
        if raw.isascii() and b"\x1b" not in raw:
            return raw.decode("ascii")
        encodings = [self.charset] if isinstance(self.charset, str) else self.charset
        try:
            with quiet():
                decoded = decode_bytes(raw, encodings, {0x0D, 0x0A, 0x09, 0x0C})
        except (LookupError, ValueError):
            decoded = raw.decode("iso8859")
        return decoded.strip(" \0") or None

    def codes(self, keyword: str) -> tuple[str, ...]:
        """Code strings, upper case; a value that is no code string becomes ''."""
        parts = self._decode(keyword).upper().split("\\")
        cleaned = tuple(p.strip() if _CODE.fullmatch(p.strip()) else "" for p in parts)
        return cleaned if any(cleaned) else ()

    def code(self, keyword: str) -> str | None:
        """The first code string, or None."""
        codes = self.codes(keyword)
        return (codes[0] or None) if codes else None

    def numbers(self, keyword: str) -> tuple[float, ...] | None:
        """Finite numbers; () when empty or absent, None when the bytes are no numbers."""
        raw = self.value_bytes(keyword)
        if not raw.strip(b" \0") and self.vr(keyword) in _TEXT:
            return ()
        if not raw:
            return ()
        vr = self.vr(keyword)
        try:
            values = self._text_numbers(raw) if vr in _TEXT else self._binary(raw, vr)
        except (ValueError, struct.error):
            return None
        return values if all(math.isfinite(v) for v in values) else None

    def places(self, keyword: str) -> tuple[float | None, ...]:
        """Every value in its place; None where it is blank or no finite number. () when empty."""
        raw, vr = self.value_bytes(keyword), self.vr(keyword)
        if not raw.strip(b" \0\\"):
            return ()
        if vr not in _TEXT:
            return self.numbers(keyword) or ()
        return tuple(_number(part) for part in raw.decode("iso8859").split("\\"))

    @staticmethod
    def _text_numbers(raw: bytes) -> tuple[float, ...]:
        parts = raw.decode("ascii").replace("\0", " ").split("\\")
        if any("_" in part for part in parts):  # Python reads 1_000; DICOM does not
            raise ValueError("underscore")
        return tuple(float(part) for part in parts if part.strip())

    def _binary(self, raw: bytes, vr: str) -> tuple[float, ...]:
        code = _BINARY.get(vr, "H" if len(raw) != 4 or vr.startswith("US or") else "I")
        count = len(raw) // struct.calcsize(code)
        order = "<" if self.little else ">"
        return tuple(float(v) for v in struct.unpack(f"{order}{count}{code}", raw))

    def integer(self, keyword: str, default: int | None = None) -> int:
        """One whole number that the image cannot do without.

        Raises:
            UnreadableRefused: absent without a default, or not a whole number.
        """
        values = self.numbers(keyword)
        if values == () and default is not None:
            return default
        if not values or values[0] != int(values[0]):
            came = "missing" if values == () else "not a whole number"
            raise UnreadableRefused("", f"{keyword} is {came}.", "Export the image again.")
        return int(values[0])

    def items(self, keyword: str) -> list[Header]:
        """The items of a sequence; [] when absent or not a sequence."""
        place, tag = self._place(keyword), _tag(keyword)
        value = place[tag].value if place is not None and tag is not None and tag in place else None
        if not isinstance(value, Sequence):
            return []
        return [Header(item, self.little, self.charset) for item in value]


def _first_item(dataset: Dataset, tag: BaseTag) -> Dataset | None:
    """Of a sequence; None where there is none. Converts nothing else."""
    element: Any = dataset.get_item(tag)
    vr = element.VR if element is not None else ""
    if vr is None and dictionary_has_tag(tag):
        vr = dictionary_VR(tag)
    value = dataset[tag].value if vr == "SQ" else None
    return value[0] if isinstance(value, Sequence) and len(value) else None


def _number(text: str) -> float | None:
    try:
        value = float(text.strip(" \0")) if "_" not in text else math.nan
    except ValueError:
        return None
    return value if math.isfinite(value) else None
