"""The one table of compressed transfer syntaxes: a codec, who may call it theirs, what decodes it.

Knows no frame: which codec one is of stands in its first bytes (stream.py).
"""

from __future__ import annotations

from dataclasses import dataclass

from pydicom import uid as uids

BASELINE, EXTENDED, LOSSLESS = "JPEG Baseline", "JPEG Extended", "JPEG Lossless"
PROGRESSIVE, LS, J2K, HT = "JPEG Progressive", "JPEG-LS", "JPEG 2000", "High-Throughput JPEG 2000"
RLE_LOSSLESS = "RLE Lossless"


@dataclass(frozen=True, slots=True)
class Codec:
    """How frames of one kind are compressed."""

    syntaxes: tuple[str, ...]  # transfer syntaxes that may call such a frame theirs
    decoded_as: str  # the syntax that pydicom's decoder is told
    decoder: tuple[str, str] | None = None  # imagecodecs' name of the codec, its function


# libjpeg-turbo for lossless JPEG too: liblj92 and jpg_0xc3 crash on damaged frames.
_JPEG = ("JPEG8", "jpeg8_decode")

CODECS: dict[str, Codec] = {
    BASELINE: Codec(
        syntaxes=(uids.JPEGBaseline8Bit, uids.JPEGExtended12Bit),
        decoded_as=uids.JPEGBaseline8Bit,
        decoder=_JPEG,
    ),
    EXTENDED: Codec(
        syntaxes=(uids.JPEGExtended12Bit,), decoded_as=uids.JPEGExtended12Bit, decoder=_JPEG
    ),
    PROGRESSIVE: Codec(syntaxes=(), decoded_as=uids.JPEGBaseline8Bit),  # retired, still met
    LOSSLESS: Codec(
        syntaxes=(uids.JPEGLossless, uids.JPEGLosslessSV1),
        decoded_as=uids.JPEGLossless,
        decoder=_JPEG,
    ),
    LS: Codec(
        syntaxes=(uids.JPEGLSLossless, uids.JPEGLSNearLossless),
        decoded_as=uids.JPEGLSLossless,
        decoder=("JPEGLS", "jpegls_decode"),
    ),
    J2K: Codec(
        syntaxes=(uids.JPEG2000Lossless, uids.JPEG2000),
        decoded_as=uids.JPEG2000,
        decoder=("JPEG2K", "jpeg2k_decode"),
    ),
    HT: Codec(
        syntaxes=(uids.HTJ2KLossless, uids.HTJ2KLosslessRPCL, uids.HTJ2K),
        decoded_as=uids.HTJ2K,
        decoder=("HTJ2K", "htj2k_decode"),
    ),
    RLE_LOSSLESS: Codec(syntaxes=(uids.RLELossless,), decoded_as=uids.RLELossless),
}


def supported() -> tuple[str, ...]:
    """Every compressed transfer syntax that is read, once, in the order of the table."""
    return tuple(dict.fromkeys(uid for codec in CODECS.values() for uid in codec.syntaxes))
