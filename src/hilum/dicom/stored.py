"""A path, bytes or stream -> StoredImage (header parsed, pixels undecoded) -> Radiograph.

Knows formats by their content, never by name; does not decide whether the image is a chest (see
gate.py) and expands no folders (see discover.py).
"""

from __future__ import annotations

import hashlib
import re
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID

from hilum.core.errors import ConfigError, UnreadableRefused, UnsupportedRefused
from hilum.core.radiograph import Decoding, Identifiers, Radiograph, Window
from hilum.core.radiograph import check_window as check_numbers
from hilum.dicom import image, masks, pixels, plane, raster
from hilum.dicom.frames import Frame, frame
from hilum.dicom.header import Header
from hilum.dicom.limits import Limits
from hilum.dicom.looks import look_warnings
from hilum.dicom.part10 import Parsed, looks_like_dicom, parse
from hilum.dicom.source import DEFAULT_LIMITS, Source, border, load

WINDOWLESS = "a fixed window says nothing of an image without a DICOM header; it is read as it is"
OWN_MARK = "hilum"  # what our results begin their ManufacturerModelName with
_AGE = re.compile(r"(\d{1,3})([DWMY]?)")
_YEARS = {"D": 1 / 365.25, "W": 7 / 365.25, "M": 1 / 12, "Y": 1.0, "": 1.0}
_DESCRIPTIONS = ("StudyDescription", "SeriesDescription", "ProtocolName")
OLDEST = 130.0  # years


@dataclass(frozen=True, eq=False)
class StoredImage:
    """One object as it was stored: its header, and its pixels not yet decoded.

    Images without a header (PNG, JPEG, WebP) have an empty one. Pickles as its bytes.
    """

    source: str  # where it came from: a path, "zip!member", "bytes"
    kind: str  # "dicom", "png", "jpeg", "webp"
    data: bytes = field(repr=False)
    header: Header = field(repr=False)  # raw elements; `dataset()` has converted ones
    parsed: Parsed | None = field(repr=False)  # None: no DICOM
    limits: Limits = field(default=DEFAULT_LIMITS, repr=False)

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopened, (self.source, self.data, self.limits)

    @cached_property
    def sha256(self) -> str:
        """Of the bytes, hexadecimal."""
        return hashlib.sha256(self.data).hexdigest()

    @cached_property
    def ids(self) -> Identifiers:
        return Identifiers(
            patient_id=self.header.text("PatientID"),
            study_instance_uid=self.header.text("StudyInstanceUID"),
            series_instance_uid=self.header.text("SeriesInstanceUID"),
            sop_instance_uid=self.header.text("SOPInstanceUID"),
        )

    @property
    def view(self) -> str | None:
        """ViewPosition as stored, else the coded view."""
        return plane.view(self.header)

    @property
    def modality(self) -> str | None:
        return self.header.code("Modality")

    @property
    def body_part(self) -> str | None:
        """BodyPartExamined as stored, else the coded region."""
        return plane.body_part(self.header)

    @property
    def patient_orientation(self) -> tuple[str, str] | None:
        """Where rows and columns run to, as stored."""
        return plane.orientation(self.header)

    @property
    def descriptions(self) -> tuple[str, ...]:
        """Of study, series and protocol, as typed."""
        return tuple(filter(None, map(self.header.text, _DESCRIPTIONS)))

    @property
    def sop_class(self) -> str | None:
        return self.header.text("SOPClassUID")

    @property
    def own_result(self) -> bool:
        """Made by hilum: never analysed again."""
        marks = map(self.header.text, ("ManufacturerModelName", "SeriesDescription"))
        return any((mark or "").lower().startswith(OWN_MARK) for mark in marks)

    @property
    def object_name(self) -> str | None:
        """Its SOP class in words; None where it has none that the standard knows."""
        name = UID(self.sop_class or "").name
        return name.removesuffix(" Storage") if name != self.sop_class and name else None

    @property
    def is_image(self) -> bool:
        """False for reports, segmentations, documents ...; True where nothing says so."""
        return self.object_name is None or "Image" in self.object_name

    def dataset(self) -> Dataset:
        """The header without the pixels, as a data set of one's own, its text decoded.

        Elements whose value is none of their representation are left out.

        Raises:
            UnsupportedRefused: an image without a DICOM header.
        """
        if self.parsed is None:
            raise UnsupportedRefused(
                self.source,
                f"it is a {self.kind.upper()} image and has no DICOM header.",
                "Send the DICOM object.",
            )
        with border(self.source):
            copied = _converted(deepcopy(self.header.dataset))
            copied.file_meta = FileMetaDataset()
            copied.file_meta.TransferSyntaxUID = UID(self.parsed.syntax)
        return copied

    def radiograph(
        self, *, window: Window | None = None, voi_index: int = 0, full_range: bool = False
    ) -> Radiograph:
        """Decode the pixels; arguments as of `hilum.read`.

        Raises:
            InputRefused: one of its kinds, naming the file, the reason and the remedy.
            ConfigError: a window that cannot be, or one beside `full_range`.
        """
        check_window(window, full_range)
        with border(self.source):
            if self.parsed is None:
                return _raster(self, window)
            return decode(self, window=window, voi_index=voi_index, full_range=full_range)

    def values(self) -> Frame:
        """The stored values of its one frame, decoded and as yet without a meaning.

        Raises:
            InputRefused: they cannot be decoded, or are in colour.
        """
        with border(self.source):
            _check_has_pixels(self)
            assert self.parsed is not None
            shape = image.layout(self.header, self.limits)
            if shape.samples != 1:
                raise UnsupportedRefused("", "its compressed pixels are in colour.")
            return frame(self.parsed, shape)


def open_stored(source: Source, *, limits: Limits = DEFAULT_LIMITS) -> StoredImage:
    """Parse a header, decode nothing.

    Args:
        source: path, bytes, binary stream, or (name, bytes).

    Raises:
        InputRefused: no such file, no format we know, damaged, or over a limit.
    """
    name, data = load(source, limits)
    with border(name):
        kind = raster.sniff(data)
        if kind is not None:
            return StoredImage(
                source=name,
                kind=kind,
                data=data,
                header=Header(Dataset(), True),
                parsed=None,
                limits=limits,
            )
        if looks_like_dicom(data):
            parsed = parse(data, limits)
            return StoredImage(
                source=name,
                kind="dicom",
                data=data,
                header=parsed.header,
                parsed=parsed,
                limits=limits,
            )
        came = raster.other_format(data)
        if came == "a zip":
            raise UnreadableRefused("", "it is a zip.", "Name a file in it, or use discover().")
        reason = "it is neither DICOM nor PNG, JPEG or WebP" + (f", but {came}." if came else ".")
        raise UnreadableRefused("", reason, "Export it as one of these.")


def _reopened(source: str, data: bytes, limits: Limits) -> StoredImage:
    return open_stored((source, data), limits=limits)


def _converted(dataset: Dataset) -> Dataset:
    """Every element converted and its text decoded, here and in sequences."""
    for tag in list(dataset.keys()):
        try:
            element = dataset[tag]
            if element.VR == "SQ":
                for item in element.value:
                    _converted(item)
        except (MemoryError, RecursionError):
            raise
        except Exception:  # noqa: BLE001  converters of hostile bytes raise anything
            del dataset[tag]
    dataset.decode()
    return dataset


def check_window(window: Window | None, full_range: bool) -> None:
    if window is None:
        return
    if full_range:
        raise ConfigError("a window and the full range are asked for; needed: one of them")
    check_numbers(window)


def _raster(stored: StoredImage, window: Window | None) -> Radiograph:
    grey, bits, warnings = raster.read_raster(stored.data, stored.kind, stored.limits)
    warnings += look_warnings(grey)
    decoder = "imagecodecs" if bits > 8 else "pillow"
    return Radiograph(
        pixels=grey,
        source=stored.source,
        decoding=Decoding(
            format=stored.kind,
            decoder=decoder,
            bits_stored=bits,
            warnings=warnings if window is None else (*warnings, WINDOWLESS),
        ),
        valid=masks.border_mask(grey),
    )


def decode(
    stored: StoredImage,
    *,
    window: Window | None = None,
    voi_index: int = 0,
    full_range: bool = False,
    plugin: str | None = None,
) -> Radiograph:
    """Decode a DICOM object, inside `border`. `plugin` forces one decoder of `codecs.plugins`."""
    parsed, header = stored.parsed, stored.header
    assert parsed is not None
    _check_has_pixels(stored)
    shape = image.layout(header, stored.limits)
    read = frame(parsed, shape, plugin)
    shape = read.layout
    show = partial(
        pixels.display,
        *(header, shape),
        window=window,
        voi_index=voi_index,
        full_range=full_range,
    )
    grey, unpadded, shown, bits, odd = pixels.displayed(read.containers, shape, show)
    edge = masks.border_mask(grey)
    shutter, unusable = masks.shutter(header, shape.rows, shape.columns)
    if shutter is not None:
        grey[~shutter] = 0
    shown_part = masks.combine(unpadded, shutter)
    spacing = plane.spacing(header)
    odd = (
        *odd,
        *unusable,
        *spacing.warnings,
        *_hidden(shown_part),
        *pixels.intent_warnings(header, shape),
        *plane.shape_warnings(header, spacing.mm),
        *plane.field_warnings(header, spacing.mm),
        *plane.orientation_warnings(stored.patient_orientation),
        *plane.description_warnings(header, stored.view),
        *plane.code_warnings(header),
    )
    return Radiograph(
        pixels=grey,
        source=stored.source,
        ids=stored.ids,
        decoding=replace(
            _decoding(parsed, read, shown, grey=grey, shown_part=shown_part, odd=odd),
            bits_stored=bits,
        ),
        spacing_mm=spacing.mm,
        spacing_source=spacing.keyword,
        view=stored.view,
        modality=stored.modality,
        sex=header.code("PatientSex"),
        age_years=_age(header),
        patient_orientation=stored.patient_orientation,
        flipped_horizontally=header.code("FieldOfViewHorizontalFlip") == "YES",
        body_part=stored.body_part,
        descriptions=stored.descriptions,
        sop_class=stored.sop_class,
        own_result=stored.own_result,
        valid=masks.combine(shown_part, edge),
    )


def _hidden(shown_part: pixels.Bool | None) -> tuple[str, ...]:
    """Padding and shutters lie around an image, and are less than half of it."""
    share = 0.0 if shown_part is None else 1 - float(shown_part.mean())
    text = f"its padding and shutters are {share:.0%} of the image: left out"
    return (text,) if share > 0.5 else ()


def _decoding(
    parsed: Parsed,
    read: Frame,
    shown: pixels.Display,
    *,
    grey: pixels.Float32,
    shown_part: pixels.Bool | None,
    odd: tuple[str, ...],
) -> Decoding:
    clipped = pixels.Clipped(0.0, 0.0, lost=False)
    warnings = parsed.warnings + read.warnings + shown.warnings + odd
    if not shown.is_full_range:
        clipped = pixels.clipped(grey, read.containers, shown_part)
        low, high = float(grey.min()), float(grey.max())
        if 0 < high - low < pixels.LEAST_CONTRAST:
            warnings += (
                f"{shown.voi} leaves all pixels between {low:.2f} and {high:.2f} of the range; it "
                "is used as the standard says",
            )
    if clipped.lost:
        warnings += (
            f"{shown.voi} leaves {clipped.black:.0%} of the pixels black and {clipped.white:.0%} "
            "white; it is used as the standard says, the full range may show more",
        )
    elif shown_part is None:  # windows, shutters and padding account for borders of their own
        warnings += look_warnings(grey)
    return Decoding(
        format="dicom",
        transfer_syntax=parsed.syntax,
        decoder=read.decoder,
        photometric=read.layout.photometric,
        bits_stored=read.layout.bits_stored,
        voi=shown.voi,
        clipped_black=clipped.black,
        clipped_white=clipped.white,
        warnings=warnings,
    )


def _check_has_pixels(stored: StoredImage) -> None:
    if not stored.is_image:
        raise UnsupportedRefused(
            "", f"it is no image but a {stored.object_name} object.", "Send the image object."
        )
    if stored.parsed is not None and stored.parsed.pixels is not None:
        return
    other = stored.parsed.other_pixels if stored.parsed is not None else ""
    if other or stored.header.has("PixelDataProviderURL"):
        raise UnsupportedRefused(
            "", f"its pixels are {other or 'elsewhere, at an address'}.", "Export whole numbers."
        )
    if stored.object_name is not None or stored.header.has("Rows"):
        reason = "it holds no pixels: it is cut off before them, or a header alone."
        raise UnreadableRefused("", reason, "Copy it again.")
    raise UnsupportedRefused("", "it holds no image.", "Send the image object.")


def _age(header: Header) -> float | None:
    """'064Y', '006M', and the bare '64' that public data sets write; '999Y' is nobody's."""
    match = _AGE.fullmatch((header.code("PatientAge") or "").strip())
    years = int(match[1]) * _YEARS[match[2]] if match else None
    return years if years is not None and years <= OLDEST else None
