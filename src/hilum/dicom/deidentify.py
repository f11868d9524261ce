"""A DICOM image without its identity: PS3.15 Annex E, basic profile and the usual options.

Builds a new file from what `confidential` lists and nothing else, with pseudonyms that hold
across files. Pixels stay as they are, but for text inside compressed streams. Cannot see text
that is burned into the image: it warns by the header, and refuses what says that it has some.
Structured reports and other objects without an image are refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache
from typing import Any, Literal, NamedTuple, cast

from pydicom._uid_dict import UID_dictionary
from pydicom.datadict import (
    dictionary_has_tag,
    dictionary_VR,
    keyword_for_tag,
)
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import UID
from pydicom.valuerep import format_number_as_ds

from hilum.core.errors import InputRefused, UnreadableRefused, UnsupportedRefused
from hilum.dicom import confidential as lists
from hilum.dicom.codestream import without_comments
from hilum.dicom.header import Header, quiet
from hilum.dicom.limits import Limits
from hilum.dicom.part10 import NATIVE, Parsed, looks_like_dicom, parse
from hilum.dicom.pseudonyms import Pseudonyms
from hilum.dicom.stream import describe, fragments
from hilum.dicom.syntaxes import RLE_LOSSLESS
from hilum.dicom.transcode import written

_UID = re.compile(r"[0-9]+(\.[0-9]+)+")
_AGE = re.compile(r"(\d{1,3})([DWMY]?)")
_DATE = re.compile(r"(\d{4})\.?(\d{2})\.?(\d{2})")
_DATE_TIME = re.compile(r"(\d{8})(\d{0,6}(?:\.\d{1,6})?)([-+]\d{4})?")
_TIME = re.compile(r"[0-9:]{2,8}(\.\d{1,6})?")
_SIDES = re.compile(r"[ALRHFP]{1,3}")
_WORD = re.compile(r"[^\W_]+")
_NUMERIC = frozenset(("US", "SS", "UL", "SL", "FL", "FD", "DS", "IS"))

# (keywords, what may stay of such an element) in the order they are tried
Rules = list[tuple[Container[str], Callable[[Header, str], Any]]]


@dataclass(frozen=True, slots=True)
class Options:
    """What stays beyond the basic profile."""

    dates: Literal["removed", "shifted", "kept"] = "removed"
    patient: bool = False  # sex, age (over 89 becomes 90), size, weight, smoking, pregnancy
    device: bool = False  # maker, model, serial number, station: as they were typed
    uids: bool = False
    descriptors: bool = False  # descriptions, reduced to common words of radiography
    burned_in: bool = False  # take images that say they have burned-in annotation

    @property
    def methods(self) -> list[str]:
        """Keys of `confidential.METHODS`."""
        chosen = [self.dates] if self.dates != "removed" else []
        flags = ("descriptors", "patient", "device", "uids")
        return ["basic", *chosen, *(name for name in flags if getattr(self, name))]


@dataclass(frozen=True, slots=True, repr=False)
class Deidentified:
    """A file and its new identifiers. Its text form shows nothing of it."""

    data: bytes
    patient: str
    study: str
    series: str
    instance: str
    warnings: tuple[str, ...]  # free of identifiers


def deidentify(
    data: bytes,
    pseudonyms: Pseudonyms,
    options: Options | None = None,
    limits: Limits | None = None,
) -> Deidentified:
    """De-identify one DICOM image.

    The same input, secret and options give the same bytes. Messages name no file and quote no
    value, so they may be logged.

    Raises:
        InputRefused: no DICOM image, damaged, over a limit, or with burned-in annotation.
    """
    try:
        with quiet():
            if not looks_like_dicom(data):
                raise UnsupportedRefused("", "it is no DICOM file.", "De-identify DICOM only.")
            return _file(parse(data, limits or Limits()), pseudonyms, options or Options())
    except InputRefused as error:
        raise type(error)("", error.reason, error.remedy) from None
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001  the same border as in read(); the cause may quote a value
        raise UnreadableRefused("", "it is damaged.", "Copy or export it again.") from None


def _file(parsed: Parsed, pseudonyms: Pseudonyms, options: Options) -> Deidentified:
    header = parsed.header
    sop_class = header.text("SOPClassUID") or ""
    if parsed.pixels is None or sop_class not in UID_dictionary:
        raise UnsupportedRefused(
            "", "it is no image of a standard class.", "Only images can be de-identified."
        )
    if header.code("BurnedInAnnotation") == "YES" and not options.burned_in:
        raise UnsupportedRefused(
            "", "it says that it has burned-in annotation.", "Look at it, then allow burned-in."
        )
    cleaner = _Cleaner.of(header, pseudonyms, options)
    out = cleaner.dataset(header)
    pixels, warnings = _pixels(parsed)
    identity = cleaner.identity(header, bytes(parsed.pixels.value))
    _add_required(out, cleaner, identity)
    out.add_new("PixelData", pixels[0], pixels[1])
    out["PixelData"].is_undefined_length = parsed.pixels.encapsulated
    content = written(out, parsed.syntax)
    return Deidentified(
        data=content,
        patient=cleaner.patient,
        **identity._asdict(),
        warnings=(*_burned_in(header, sop_class), *warnings),
    )


class _Identity(NamedTuple):
    """UIDs."""

    study: str
    series: str
    instance: str


@dataclass(frozen=True, slots=True)
class _Cleaner:
    """Copies what may stay, item by item."""

    pseudonyms: Pseudonyms
    options: Options
    patient: str
    days: int
    signed: bool

    @classmethod
    def of(cls, header: Header, pseudonyms: Pseudonyms, options: Options) -> _Cleaner:
        # Without a PatientID each study is a patient of its own.
        person = header.text("PatientID")
        key = f"id {person}" if person else f"study {header.text('StudyInstanceUID') or ''}"
        days = pseudonyms.days(key) if options.dates == "shifted" else 0
        signed = header.numbers("PixelRepresentation") == (1.0,)
        return cls(
            pseudonyms=pseudonyms,
            options=options,
            patient=pseudonyms.patient(key),
            days=days,
            signed=signed,
        )

    def dataset(self, header: Header) -> Dataset:
        """A new data set with what of this one may stay."""
        out, rules = Dataset(), self._rules()
        names = {
            tag: keyword_for_tag(tag)
            for tag in header.dataset.keys()  # noqa: SIM118  iterating itself converts the values
            if dictionary_has_tag(tag)
        }
        for tag, keyword in names.items():
            vr, value = self._element(header, keyword, tag.group, rules)
            if value is not None:
                out.add_new(tag, vr, value)
        # Last: reading a sequence converts PixelRepresentation, whose bytes are then gone.
        for tag, keyword in names.items():
            if keyword in lists.SEQUENCES:
                coded = keyword in lists.CODED
                items = [self._item(item, coded) for item in header.items(keyword)]
                if kept := [item for item in items if len(item)]:
                    out.add_new(tag, "SQ", Sequence(kept))
        return out

    def _item(self, header: Header, coded: bool) -> Dataset:
        out = self.dataset(header)
        if not coded:
            return out
        code = header.text("CodeValue")
        scheme = header.text("CodingSchemeDesignator")
        meaning = _meanings().get((scheme or "", code or ""))
        if meaning is None:
            return Dataset()
        out.add_new("CodeValue", "SH", code)
        out.add_new("CodingSchemeDesignator", "SH", scheme)
        out.add_new("CodeMeaning", "LO", meaning[:64])
        return out

    def _element(self, header: Header, keyword: str, group: int, rules: Rules) -> tuple[str, Any]:
        """(VR, value) of one element; None as value where it may not stay."""
        for names, clean in rules:
            if keyword in names:
                return dictionary_VR(keyword).split(" or ")[0], clean(header, keyword)
        if keyword in lists.TABLES:
            return "OW", header.value_bytes(keyword) or None
        vr = header.vr(keyword)
        vr = ("SS" if self.signed else "US") if " or " in vr else vr
        if vr not in _NUMERIC or dictionary_VR(keyword).split(" or ")[0] not in _NUMERIC:
            return vr, None
        if group in lists.NUMBER_GROUPS or keyword in lists.NUMBERS:
            return _number(header, keyword, vr)
        return vr, None

    def _rules(self) -> Rules:
        rules: Rules = [
            (lists.CODES, lambda h, k: _codes(h, k, lists.CODES[k])),
            (lists.CLASS_UIDS, _class_uid),
            (lists.UIDS, lambda h, k: self.uid(h.text(k))),
            (("PatientOrientation",), _orientation),
        ]
        if self.options.dates != "removed":
            rules.append((lists.DATES, self._date))
        if self.options.patient:
            rules.append((lists.PATIENT_CODES, lambda h, k: _codes(h, k, lists.PATIENT_CODES[k])))
            rules.append((lists.PATIENT_NUMBERS, lambda h, k: _number(h, k, dictionary_VR(k))[1]))
            rules.append((("PatientAge",), _age))
        if self.options.device:
            rules.append((lists.DEVICE, lambda h, k: h.text(k)))
        if self.options.descriptors:
            rules.append((lists.DESCRIPTORS, _words))
        return rules

    def uid(self, original: str | None) -> str | None:
        if not original:
            return None
        if self.options.uids and len(original) <= 64 and _UID.fullmatch(original):
            return original
        return self.pseudonyms.uid(original)

    def _date(self, header: Header, keyword: str) -> str | None:
        text = header.text(keyword) or ""
        vr = lists.DATES[keyword]
        if vr == "TM":
            return text if _TIME.fullmatch(text) else None
        if vr == "DA":
            match = _DATE.fullmatch(text)
            return self._moved("".join(match.groups())) if match else None
        parts = _DATE_TIME.fullmatch(text)
        moved = self._moved(parts[1]) if parts else None
        return moved + parts[2] if parts and moved else None

    def _moved(self, day: str) -> str | None:
        try:
            moved = date.fromisoformat(day) - timedelta(days=self.days)
        except (ValueError, OverflowError):
            return None
        return f"{moved:%Y%m%d}" if moved.year >= 1000 else None

    def identity(self, header: Header, content: bytes) -> _Identity:
        """The new UIDs; what the file lacks follows from its content."""
        instance = header.text("SOPInstanceUID") or f"content {_fingerprint(content)}"
        study = header.text("StudyInstanceUID") or f"study of {instance}"
        series = header.text("SeriesInstanceUID") or f"series of {study}"
        uids = [self.uid(text) for text in (study, series, instance)]
        return _Identity(*(uid or "" for uid in uids))


def _fingerprint(content: bytes) -> str:
    import hashlib

    return hashlib.sha256(content).hexdigest()


def _add_required(out: Dataset, cleaner: _Cleaner, identity: _Identity) -> None:
    options = cleaner.options
    for keyword, vr in lists.EMPTIED.items():
        if keyword not in out:
            out.add_new(keyword, vr, "")
    for keyword, default in lists.CODE_DEFAULTS.items():
        if keyword not in out:
            out.add_new(keyword, "CS", default)
    out.PatientName = out.PatientID = cleaner.patient
    out.StudyInstanceUID, out.SeriesInstanceUID, out.SOPInstanceUID = identity
    out.PatientIdentityRemoved = "YES"
    out.LongitudinalTemporalInformationModified = {
        "removed": "REMOVED",
        "shifted": "MODIFIED",
        "kept": "UNMODIFIED",
    }[options.dates]
    out.DeidentificationMethod = "hilum: PS3.15 basic profile, listed elements only"
    out.DeidentificationMethodCodeSequence = Sequence([_method(m) for m in options.methods])
    if not str(out).isascii():
        out.SpecificCharacterSet = "ISO_IR 192"


def _method(name: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodeMeaning = lists.METHODS[name]
    item.CodingSchemeDesignator = "DCM"
    return item


def _codes(header: Header, keyword: str, terms: frozenset[str]) -> list[str] | None:
    kept = [code if code in terms else "" for code in header.codes(keyword)]
    return kept if any(kept) else None


def _orientation(header: Header, keyword: str) -> list[str] | None:
    codes = header.codes(keyword)
    return list(codes) if len(codes) == 2 and all(map(_SIDES.fullmatch, codes)) else None


def _class_uid(header: Header, keyword: str) -> str | None:
    uid = header.text(keyword)
    return uid if uid in UID_dictionary else None


def _number(header: Header, keyword: str, vr: str) -> tuple[str, Any]:
    values = header.numbers(keyword)
    if not values:
        return vr, None
    if vr == "DS":
        return vr, [format_number_as_ds(value) for value in values]
    if vr in ("FL", "FD"):
        return vr, list(values)
    if not all(value == math.floor(value) for value in values):
        return vr, None
    whole = [int(value) for value in values]
    if vr == "SS":  # a table of two kinds of numbers, read as the unsigned one
        whole = [value - 65536 if value > 32767 else value for value in whole]
    return vr, whole


def _age(header: Header, keyword: str) -> str | None:
    match = _AGE.fullmatch((header.text(keyword) or "").upper())
    if not match:
        return None
    number, unit = int(match[1]), match[2] or "Y"
    if unit == "Y" and number > lists.OLDEST:
        number = lists.OLDEST + 1
    return f"{number:03d}{unit}"


def _words(header: Header, keyword: str) -> str | None:
    words = _WORD.findall(header.text(keyword) or "")
    kept = [w for w in words if w.lower() in lists.WORDS or (len(w) == 1 and w.isdecimal())]
    return " ".join(kept)[:64] if any(not word.isdecimal() for word in kept) else None


@cache
def _meanings() -> dict[tuple[str, str], str]:
    """(scheme, code) -> meaning of every code in pydicom's dictionaries of the standard."""
    from pydicom.sr._concepts_dict import concepts
    from pydicom.sr._snomed_dict import mapping

    known: dict[tuple[str, str], str] = {}
    for scheme, by_keyword in concepts.items():
        for codes in by_keyword.values():
            for code, entry in cast("Mapping[str, tuple[str, ...]]", codes).items():
                known.setdefault((scheme, code), entry[0])
    for old, new in mapping["SRT"].items():
        if ("SCT", new) in known:
            known["SRT", old] = known["SNM3", old] = known["SCT", new]
    return known


def _pixels(parsed: Parsed) -> tuple[tuple[str, bytes], list[str]]:
    """(VR, value) of the pixels without text around them, and what could not be made sure."""
    element, header = parsed.pixels, parsed.header
    assert element is not None
    if element.encapsulated == (parsed.syntax in NATIVE):
        raise UnreadableRefused(
            "", "its pixels are not stored as its transfer syntax says.", "Export it again."
        )
    frames = header.integer("NumberOfFrames", 1)
    if not element.encapsulated:
        samples = header.integer("SamplesPerPixel", 1)
        bits = header.integer("BitsAllocated", 16)
        if header.code("PhotometricInterpretation") == "YBR_FULL_422":
            samples = 2
        size = header.integer("Rows") * header.integer("Columns") * samples * frames * bits // 8
        value = bytes(element.value[:size])
        vr = element.vr if element.vr in ("OB", "OW") else "OW"
        return (vr, value + b"\0" * (len(value) % 2)), []
    pieces = [bytes(piece) for piece in fragments(element.value)]
    if frames == 1:
        pieces = [b"".join(pieces)]
    warnings = []
    if len(pieces) != frames:
        warnings.append("compressed frames lie in several pieces: comments in them are not removed")
    elif not all(map(_is_runs, pieces)):
        cleaned = [without_comments(piece) for piece in pieces]
        pieces = [piece for piece, _ in cleaned]
        if not all(understood for _, understood in cleaned):
            warnings.append("a compressed stream is unusual: comments in it may remain")
    return ("OB", encapsulate(pieces, has_bot=False)), warnings


def _is_runs(piece: bytes) -> bool:
    """Whether a frame is RLE, which holds no text; whatever its transfer syntax says."""
    stream = describe(piece)
    return stream is not None and stream.codec == RLE_LOSSLESS


def _burned_in(header: Header, sop_class: str) -> list[str]:
    burned = header.code("BurnedInAnnotation")
    if burned == "YES":
        return ["says that it has burned-in annotation: look at it before it leaves"]
    warnings = []
    if burned != "NO":
        modality = header.code("Modality") or ""
        if lists.TEXT_CLASSES in UID(sop_class).name or modality in lists.TEXT_MODALITIES:
            warnings.append("may have burned-in text (secondary capture): look at it")
        elif (header.code("ConversionType") or "") in ("DI", "DF", "WSD", "SD", "DRW"):
            warnings.append("may have burned-in text (digitised): look at it")
    if any(0x6000 <= tag.group <= 0x60FF for tag in header.dataset.keys()):  # noqa: SIM118
        warnings.append("had overlays: removed, but an old kind lies in unused bits of the pixels")
    return warnings
