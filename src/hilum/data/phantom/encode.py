"""Grey pixels -> a DICOM radiograph in any transfer syntax that hilum reads.

For phantoms and tests: the patient is made up, identifiers follow from the seed. Knows nothing
of how the pixels came about, and decodes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from pydicom import uid as uids
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.filewriter import dcmwrite

from hilum.core.errors import ConfigError

Float32 = NDArray[np.float32]
Stored = NDArray[np.uint8] | NDArray[np.uint16]
Coder = Callable[[Stored, int], bytes]

UID_ROOT = "2.25."  # UUID-derived UIDs need no registration (PS3.5 B.2)
PHOTOMETRIC = ("MONOCHROME1", "MONOCHROME2")


@dataclass(frozen=True, slots=True)
class Syntax:
    """A transfer syntax: its UID, how pixels are coded, which bits it can hold."""

    uid: uids.UID
    code: Coder | None = None  # None: native
    bits: tuple[int, int] = (8, 16)
    lossless: bool = True


def _jpeg(level: int | None, predictor: int | None) -> Coder:
    def code(stored: Stored, bits: int) -> bytes:
        import imagecodecs

        if predictor is None:
            return bytes(imagecodecs.jpeg8_encode(stored, level, bitspersample=bits))
        return bytes(
            imagecodecs.jpeg8_encode(stored, lossless=True, predictor=predictor, bitspersample=bits)
        )

    return code


def _jpeg_ls(near: int) -> Coder:
    def code(stored: Stored, bits: int) -> bytes:
        import imagecodecs

        # The stream is 8 or 16 bits deep: a code pushed over the top of `bits` would wrap.
        below = np.minimum(stored, 2**bits - 1 - near).astype(stored.dtype)
        return bytes(imagecodecs.jpegls_encode(below, near))

    return code


def _jpeg_2000(level: int | None) -> Coder:
    def code(stored: Stored, bits: int) -> bytes:
        import imagecodecs

        return bytes(
            imagecodecs.jpeg2k_encode(
                stored, level, codecformat="J2K", reversible=level is None, bitspersample=bits
            )
        )

    return code


def _htj2k(level: float | None) -> Coder:
    def code(stored: Stored, bits: int) -> bytes:
        import imagecodecs

        if level is not None:  # rounding errors wrap around at both ends of the range
            margin = 2**bits // 256
            stored = np.clip(stored, margin, 2**bits - margin).astype(np.uint16)
        return bytes(imagecodecs.htj2k_encode(stored, level, reversible=level is None))

    return code


def _rle(stored: Stored, bits: int) -> bytes:
    from pydicom.pixels.encoders.base import get_encoder

    return get_encoder(uids.RLELossless).encode(
        stored.astype(stored.dtype.newbyteorder("<")).tobytes(),
        rows=stored.shape[0],
        columns=stored.shape[1],
        samples_per_pixel=1,
        bits_allocated=8 * stored.itemsize,
        bits_stored=bits,
        pixel_representation=0,
        number_of_frames=1,
        photometric_interpretation="MONOCHROME2",
    )


SYNTAXES: dict[str, Syntax] = {
    "implicit-little": Syntax(uids.ImplicitVRLittleEndian),
    "explicit-little": Syntax(uids.ExplicitVRLittleEndian),
    "explicit-big": Syntax(uids.ExplicitVRBigEndian),
    "deflated": Syntax(uids.DeflatedExplicitVRLittleEndian),
    "rle": Syntax(uids.RLELossless, _rle),
    "jpeg-baseline": Syntax(uids.JPEGBaseline8Bit, _jpeg(95, None), (8, 8), False),
    "jpeg-extended": Syntax(uids.JPEGExtended12Bit, _jpeg(98, None), (12, 12), False),
    "jpeg-lossless": Syntax(uids.JPEGLossless, _jpeg(None, 6)),
    "jpeg-lossless-sv1": Syntax(uids.JPEGLosslessSV1, _jpeg(None, 1)),
    "jpeg-ls": Syntax(uids.JPEGLSLossless, _jpeg_ls(0)),
    "jpeg-ls-near": Syntax(uids.JPEGLSNearLossless, _jpeg_ls(2), lossless=False),
    "jpeg-2000": Syntax(uids.JPEG2000Lossless, _jpeg_2000(None)),
    "jpeg-2000-lossy": Syntax(uids.JPEG2000, _jpeg_2000(70), lossless=False),
    "htj2k": Syntax(uids.HTJ2KLossless, _htj2k(None)),
    # The encoder takes no precision, so fewer bits would overflow after its rounding.
    "htj2k-lossy": Syntax(uids.HTJ2K, _htj2k(0.0005), (16, 16), lossless=False),
}


def dicom_bytes(
    pixels: Float32,
    *,
    seed: int = 0,
    syntax: str = "explicit-little",
    bits: int = 12,
    photometric: str = "MONOCHROME2",
    sop_class: str = "CR",
    spacing_mm: tuple[float, float] | None = None,
    patient_id: str | None = None,
    study: int | None = None,
    view: str = "PA",
) -> bytes:
    """A whole DICOM file (PS3.10) of a radiograph.

    Args:
        pixels: (height, width) in [0, 1], air dark. MONOCHROME1 stores them inverted, so that
            reading gives the same image.
        seed: all identifiers follow from it; the patient is `PHANTOM^<seed>`.
        syntax: a key of `SYNTAXES`.
        bits: BitsStored, 8 to 16 as the syntax allows.
        sop_class: "CR" (Computed Radiography) or "DX" (Digital X-Ray for Presentation).
        spacing_mm: row, column; written as PixelSpacing and ImagerPixelSpacing.
        patient_id: instead of the one made from the seed; "" is allowed, as archives have it.
        study: seed of the study's identifier, to put several images into one study.

    Raises:
        ConfigError: an option that is unknown or that the syntax cannot hold.
    """
    chosen = _checked(syntax, bits, photometric, sop_class)
    codes = quantise(pixels, bits)
    if photometric == "MONOCHROME1":
        codes = (2**bits - 1 - codes).astype(codes.dtype)
    dataset = _header(seed, sop_class, seed if study is None else study)
    dataset.PatientID = f"PHANTOM-{seed:06d}" if patient_id is None else patient_id
    dataset.ViewPosition = view
    dataset.PhotometricInterpretation = photometric
    dataset.PresentationLUTShape = "INVERSE" if photometric == "MONOCHROME1" else "IDENTITY"
    if spacing_mm is not None:
        spacing = [f"{value:.6g}" for value in spacing_mm]
        dataset.PixelSpacing = dataset.ImagerPixelSpacing = spacing
    _set_pixels(dataset, codes, bits, chosen)
    return _file(dataset, chosen)


def quantise(pixels: Float32, bits: int) -> Stored:
    """[0, 1] to whole grey values of so many bits."""
    dtype = np.uint8 if bits <= 8 else np.uint16
    codes: Stored = np.round(np.asarray(pixels, np.float64) * (2**bits - 1)).astype(dtype)
    return codes


def _checked(syntax: str, bits: int, photometric: str, sop_class: str) -> Syntax:
    if syntax not in SYNTAXES:
        raise ConfigError(f"unknown transfer syntax {syntax!r}; known: {', '.join(SYNTAXES)}")
    low, high = SYNTAXES[syntax].bits
    if not low <= bits <= high:
        needed = str(low) if low == high else f"{low} to {high}"
        raise ConfigError(f"{bits} bits in {syntax}: needed: {needed}")
    if photometric not in PHOTOMETRIC:
        raise ConfigError(f"photometric {photometric!r}; known: {', '.join(PHOTOMETRIC)}")
    if sop_class not in ("CR", "DX"):
        raise ConfigError(f"SOP class {sop_class!r}; known: CR, DX")
    return SYNTAXES[syntax]


def _uid(seed: int, kind: int) -> str:
    """The same UID for the same seed: 128 bits drawn from it, as a UUID-derived UID."""
    words = np.random.default_rng([seed, kind, 0x68696C]).integers(0, 2**32, 4).tolist()
    return UID_ROOT + str(sum(word << (32 * i) for i, word in enumerate(words)))


def _header(seed: int, sop_class: str, study: int) -> Dataset:
    rng = np.random.default_rng([seed, 99])
    d = Dataset()
    d.SOPClassUID = (
        uids.ComputedRadiographyImageStorage
        if sop_class == "CR"
        else uids.DigitalXRayImageStorageForPresentation
    )
    d.SOPInstanceUID, d.SeriesInstanceUID = _uid(seed, 1), _uid(seed, 2)
    d.StudyInstanceUID = _uid(study, 3)
    d.PatientName = f"PHANTOM^{seed}"
    d.PatientBirthDate = ""
    d.PatientSex = "FM"[int(rng.integers(2))]
    d.PatientAge = f"{int(rng.integers(20, 90)):03d}Y"
    d.StudyDate = d.SeriesDate = d.ContentDate = d.AcquisitionDate = "20200101"
    d.StudyTime = d.SeriesTime = d.ContentTime = d.AcquisitionTime = "120000"
    d.AccessionNumber = d.ReferringPhysicianName = ""
    d.StudyID, d.SeriesNumber, d.InstanceNumber = str(study % 10**8), "1", "1"
    d.Modality = sop_class
    d.Manufacturer = "hilum phantom"
    d.BodyPartExamined = "CHEST"
    d.PatientOrientation = ["L", "F"]
    d.Laterality = d.ImageLaterality = ""
    d.ImageType = ["DERIVED", "PRIMARY"]
    d.PixelIntensityRelationship = "LOG"
    d.BurnedInAnnotation = "NO"
    if sop_class == "DX":
        d.PresentationIntentType = "FOR PRESENTATION"
        d.ImageLaterality = "U"
        d.PixelIntensityRelationshipSign = -1
        d.RescaleIntercept, d.RescaleSlope, d.RescaleType = "0", "1", "US"
    return d


def _set_pixels(d: Dataset, codes: Stored, bits: int, syntax: Syntax) -> None:
    d.SamplesPerPixel = 1
    d.Rows, d.Columns = codes.shape
    d.BitsAllocated = 8 * codes.itemsize
    d.BitsStored, d.HighBit, d.PixelRepresentation = bits, bits - 1, 0
    d.LossyImageCompression = "00" if syntax.lossless else "01"
    if syntax.code is None:
        order = "<" if syntax.uid.is_little_endian else ">"
        raw = codes.astype(f"{order}u{codes.itemsize}").tobytes()
        d.PixelData = raw + b"\0" * (len(raw) % 2)
        d["PixelData"].VR = "OW" if codes.itemsize == 2 or syntax.uid.is_implicit_VR else "OB"
        return
    frame = syntax.code(codes, bits)
    if not syntax.lossless:
        d.LossyImageCompressionRatio = f"{max(1.0, codes.nbytes / len(frame)):.2f}"
    d.PixelData = encapsulate([frame])
    d["PixelData"].VR = "OB"


def _file(d: Dataset, syntax: Syntax) -> bytes:
    d.file_meta = FileMetaDataset()
    d.file_meta.MediaStorageSOPClassUID = d.SOPClassUID
    d.file_meta.MediaStorageSOPInstanceUID = d.SOPInstanceUID
    d.file_meta.TransferSyntaxUID = syntax.uid
    d.file_meta.ImplementationClassUID = uids.PYDICOM_IMPLEMENTATION_UID
    out = BytesIO()
    dcmwrite(out, d, enforce_file_format=True)
    return out.getvalue()
