"""An object written anew: one frame of several by itself, or all of it in explicit little endian.

What follows the pixels (padding, signatures, which would no longer hold) is left out, and so are
elements whose value is none of their representation.
"""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.filewriter import dcmwrite
from pydicom.uid import UID

from hilum.core.errors import UnreadableRefused, UnsupportedRefused
from hilum.dicom.frames import Frame
from hilum.dicom.part10 import EXPLICIT_BIG, EXPLICIT_LITTLE
from hilum.dicom.several import count_of, frames_of, is_compressed
from hilum.dicom.source import border
from hilum.dicom.stored import StoredImage

IMPLEMENTATION_UID = "2.25.219410246913437870142203286241862164219"
_OFFSETS = ("ExtendedOffsetTable", "ExtendedOffsetTableLengths")
_OF_FRAMES = "PerFrameFunctionalGroupsSequence"


def single(stored: StoredImage, number: int) -> bytes:
    """The file of one frame of an object of several.

    Raises:
        InputRefused: there is no such frame, the object is damaged or in big endian.
    """
    with border(stored.source):
        content = frames_of(stored, {number}).get(number)
        if content is None:
            raise UnreadableRefused("", f"it has no frame {number}.")
        ds = _header(stored)
        ds.NumberOfFrames = 1
        if len(groups := ds.get(_OF_FRAMES) or ()) == count_of(stored.header):
            ds[_OF_FRAMES].value = [groups[number - 1]]
        if not is_compressed(stored):
            return _native(ds, content)
        ds.add_new("PixelData", "OB", encapsulate([content]))
        ds["PixelData"].is_undefined_length = True
        return written(ds, str(ds.file_meta.TransferSyntaxUID))


def explicit_little(stored: StoredImage, frames: Sequence[Frame]) -> bytes:
    """The file of an object in explicit little endian.

    Args:
        frames: all of it, decoded; none of an object that is not compressed.

    Raises:
        InputRefused: it cannot be written so.
    """
    with border(stored.source):
        ds = _header(stored)
        if not frames:
            pixels = stored.parsed.pixels if stored.parsed else None
            return written(ds, EXPLICIT_LITTLE) if pixels is None else _native(ds, pixels.value)
        layout = frames[0].layout
        if any(one.layout != layout for one in frames):
            raise UnsupportedRefused("", "its frames are not of one depth.")
        ds.BitsStored, ds.HighBit = layout.bits_stored, layout.high_bit
        ds.PixelRepresentation = int(layout.signed)
        return _native(ds, b"".join(map(values, frames)))


def values(frame: Frame) -> bytes:
    """The stored values of a frame, little endian."""
    containers = frame.containers
    return containers.astype(containers.dtype.newbyteorder("<"), copy=False).tobytes()


def written(ds: Dataset, syntax: str) -> bytes:
    """The DICOM file (PS3.10) of a data set."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = UID(syntax)
    meta.MediaStorageSOPClassUID = ds.SOPClassUID
    meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    meta.ImplementationClassUID = UID(IMPLEMENTATION_UID)
    meta.ImplementationVersionName = "HILUM"
    ds.file_meta = meta
    out = BytesIO()
    dcmwrite(out, ds, enforce_file_format=True)
    return out.getvalue()


def _header(stored: StoredImage) -> Dataset:
    ds = stored.dataset()
    if ds.file_meta.TransferSyntaxUID == EXPLICIT_BIG:  # words of tables and overlays lie swapped
        raise UnsupportedRefused("", "it is in big endian.", "Ask for it as it is stored.")
    for keyword in _OFFSETS:
        ds.pop(keyword, None)
    return ds


def _native(ds: Dataset, content: bytes | memoryview) -> bytes:
    vr = "OW" if ds.BitsAllocated > 8 else "OB"
    ds.add_new("PixelData", vr, bytes(content) + b"\0" * (len(content) % 2))
    return written(ds, EXPLICIT_LITTLE)
