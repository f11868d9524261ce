"""Small DICOM files made in memory, in every transfer syntax. No real data."""

from __future__ import annotations

import warnings
from io import BytesIO
from typing import Any

import imagecodecs
import numpy as np
from pydicom import uid as uids
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.filewriter import dcmwrite
from pydicom.pixels import get_encoder
from pydicom.sequence import Sequence
from pydicom.uid import UID

UNCOMPRESSED = (
    uids.ImplicitVRLittleEndian,
    uids.ExplicitVRLittleEndian,
    uids.DeflatedExplicitVRLittleEndian,
    uids.ExplicitVRBigEndian,
)
LOSSLESS = (
    uids.RLELossless,
    uids.JPEGLossless,
    uids.JPEGLosslessSV1,
    uids.JPEGLSLossless,
    uids.JPEG2000Lossless,
    uids.JPEG2000,
    uids.HTJ2KLossless,
    uids.HTJ2KLosslessRPCL,
    uids.HTJ2K,
)


def stored(shape: tuple[int, int] = (24, 20), bits: int = 8, signed: bool = False) -> Any:
    """A picture that uses the whole stored range, smooth enough to compress."""
    rows, columns = shape
    ramp = np.linspace(0, 1, rows * columns).reshape(shape)
    values = np.rint(ramp * (2**bits - 1)).astype(np.int64)
    if signed:
        return (values - 2 ** (bits - 1)).astype(np.int8 if bits <= 8 else np.int16)
    return values.astype(np.uint8 if bits <= 8 else np.uint16)


def dataset(pixels: Any, bits: int = 8, **elements: Any) -> Dataset:
    """A CR image of stored values, without pixel data."""
    ds = Dataset()
    ds.SOPClassUID = uids.ComputedRadiographyImageStorage
    ds.SOPInstanceUID = "1.2.3.4"
    ds.StudyInstanceUID = "1.2.3"
    ds.SeriesInstanceUID = "1.2.3.1"
    ds.PatientID = "p1"
    ds.Modality = "CR"
    ds.SamplesPerPixel = 1 if pixels.ndim == 2 else 3
    ds.PhotometricInterpretation = "MONOCHROME2" if pixels.ndim == 2 else "RGB"
    if pixels.ndim == 3:
        ds.PlanarConfiguration = 0
    ds.Rows, ds.Columns = pixels.shape[:2]
    ds.BitsAllocated = 8 * pixels.itemsize
    ds.BitsStored, ds.HighBit = bits, bits - 1
    ds.PixelRepresentation = int(pixels.dtype.kind == "i")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some tests write what should not be
        for keyword, value in elements.items():
            setattr(ds, keyword, value)
    return ds


def lut(first: int, bits: int, data: Any, vr: str = "US", wide: bool = True) -> Sequence:
    """One LUT item; `wide` stores two bytes an entry."""
    item = Dataset()
    count = len(data)
    item.add_new("LUTDescriptor", vr, [count % 65536, first, bits])
    raw = np.asarray(data, "<u2" if wide else "u1").tobytes()
    item.add_new("LUTData", "OW", raw + b"\0" * (len(raw) % 2))
    return Sequence([item])


def encode(pixels: Any, bits: int, syntax: str) -> bytes:
    """One compressed frame."""
    signed = pixels.dtype.kind == "i"
    unsigned = pixels.view(f"u{pixels.itemsize}") & (2**bits - 1) if signed else pixels
    if syntax == uids.RLELossless:
        return bytes(
            get_encoder(uids.RLELossless).encode(
                pixels.tobytes(),
                rows=pixels.shape[0],
                columns=pixels.shape[1],
                samples_per_pixel=1,
                bits_allocated=8 * pixels.itemsize,
                bits_stored=bits,
                pixel_representation=int(signed),
                photometric_interpretation="MONOCHROME2",
                number_of_frames=1,
                encoding_plugin="pydicom",
            )
        )
    if syntax == uids.JPEGLossless:
        return bytes(
            imagecodecs.jpeg8_encode(unsigned, lossless=True, predictor=4, bitspersample=bits)
        )
    if syntax == uids.JPEGLosslessSV1:
        return bytes(imagecodecs.ljpeg_encode(unsigned, bitspersample=bits))
    if syntax in (uids.JPEGLSLossless, uids.JPEGLSNearLossless):
        return bytes(imagecodecs.jpegls_encode(unsigned))
    if syntax in (uids.JPEG2000Lossless, uids.JPEG2000):
        return bytes(
            imagecodecs.jpeg2k_encode(
                pixels, reversible=True, codecformat="j2k", bitspersample=bits, resolutions=2
            )
        )
    if syntax in (uids.HTJ2KLossless, uids.HTJ2KLosslessRPCL, uids.HTJ2K):
        return bytes(imagecodecs.htj2k_encode(pixels, reversible=True, resolutions=2))
    if syntax == uids.JPEGBaseline8Bit:
        return bytes(imagecodecs.jpeg8_encode(unsigned, 95))
    if syntax == uids.JPEGExtended12Bit:
        return bytes(imagecodecs.jpeg8_encode(unsigned, 95, bitspersample=bits))
    raise ValueError(syntax)


def to_bytes(
    ds: Dataset,
    pixels: Any = None,
    syntax: str = uids.ExplicitVRLittleEndian,
    frame: bytes | None = None,
    preamble: bool = True,
) -> bytes:
    """The file of a data set with these stored values (or this compressed frame)."""
    uid = UID(syntax)
    if frame is not None or (uid.is_compressed and not uid.is_deflated):
        body = frame if frame is not None else encode(pixels, ds.BitsStored, syntax)
        ds.PixelData = encapsulate([body])
        ds["PixelData"].VR = "OB"
        ds["PixelData"].is_undefined_length = True
    elif pixels is not None:
        order = "<" if uid.is_little_endian else ">"
        raw = np.ascontiguousarray(pixels).astype(pixels.dtype.newbyteorder(order)).tobytes()
        ds.PixelData = raw + b"\0" * (len(raw) % 2)
        ds["PixelData"].VR = "OB" if pixels.itemsize == 1 and not uid.is_implicit_VR else "OW"
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = uid
    meta.MediaStorageSOPClassUID = ds.get("SOPClassUID", "1.2")
    meta.MediaStorageSOPInstanceUID = ds.get("SOPInstanceUID", "1.2")
    out = BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ds.file_meta = meta
        if preamble:
            dcmwrite(out, ds, enforce_file_format=True)
        else:
            del ds.file_meta
            dcmwrite(out, ds, implicit_vr=uid.is_implicit_VR, little_endian=uid.is_little_endian)
    return out.getvalue()


def image(
    pixels: Any, bits: int = 8, syntax: str = uids.ExplicitVRLittleEndian, **kw: Any
) -> bytes:
    """A whole file in one call; keyword arguments are elements."""
    return to_bytes(dataset(pixels, bits, **kw), pixels, syntax)
