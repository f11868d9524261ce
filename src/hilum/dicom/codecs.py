"""Compressed pixels. imagecodecs is plugged into pydicom's decoders and preferred (HTJ2K apart);
Pillow, openjpeg and pydicom's own RLE are the fall-back where it is not installed.

Knows codestreams and their declared sizes; knows nothing of grey scales. pylibjpeg-libjpeg (GPL)
is never used.
"""

from __future__ import annotations

import importlib.util
import struct
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from pydicom import uid as uids
from pydicom.pixels.decoders.base import Decoder, DecodeRunner, get_decoder

from hilum.core.errors import HilumError, UnreadableRefused, UnsupportedRefused
from hilum.dicom.image import Layout
from hilum.dicom.stream import Stream
from hilum.dicom.syntaxes import CODECS, HT, J2K, RLE_LOSSLESS, supported

PLUGIN, FALL_BACK = "imagecodecs", "openjpeg"
RLE, HTJ2K = CODECS[RLE_LOSSLESS].syntaxes, CODECS[HT].syntaxes
JPEG_2000 = CODECS[J2K].syntaxes
DECODER_DEPENDENCIES = dict.fromkeys(supported(), ("imagecodecs>=2024.9.22",))  # pydicom asks


@cache
def _function(syntax: str) -> Callable[..., NDArray[Any]] | None:
    if importlib.util.find_spec("imagecodecs") is None:
        return None
    import imagecodecs

    for codec in CODECS.values():
        if syntax in codec.syntaxes and codec.decoder is not None:
            name, function = codec.decoder
            if getattr(imagecodecs, name).available:
                decode: Callable[..., NDArray[Any]] = getattr(imagecodecs, function)
                return decode
    return None


def is_available(uid: str) -> bool:
    """pydicom asks this of a plugin."""
    return (uid in RLE and _rle() is not None) or _function(uid) is not None


def _rle() -> Callable[..., Any] | None:
    if importlib.util.find_spec("imagecodecs") is None:
        return None
    import imagecodecs

    return getattr(imagecodecs, "dicomrle_decode", None)


def _decode_frame(src: bytes, runner: DecodeRunner) -> bytes | bytearray:
    """Decode one frame for pydicom; grey only, colour is left to the next plugin."""
    if runner.samples_per_pixel != 1:
        raise NotImplementedError("grey frames only")
    array = _decode_grey(
        src, runner.transfer_syntax, (runner.rows, runner.columns), runner.bits_allocated
    )
    runner.set_option("bits_allocated", 8 * array.itemsize)
    return array.tobytes()


def _decode_grey(
    src: bytes, syntax: str, shape: tuple[int, int], bits: int
) -> NDArray[np.integer[Any]]:
    """One grey frame by imagecodecs.

    Args:
        shape: rows and columns.
        bits: of a container, for RLE.
    """
    if syntax in RLE:
        return _decode_rle(src, shape, bits)
    decode = _function(syntax)
    if decode is None:
        raise NotImplementedError(f"imagecodecs lacks a decoder for {syntax}")
    array = decode(src)
    if array.dtype.kind not in "iu" or array.itemsize > 2:
        raise ValueError(f"decoded to {array.dtype}")
    if array.shape != shape:
        raise ValueError(f"decoded to {array.shape}")
    return array


def _decode_rle(src: bytes, shape: tuple[int, int], bits: int) -> NDArray[np.integer[Any]]:
    decode = _rle()
    if decode is None:
        raise NotImplementedError("imagecodecs lacks DICOM RLE")
    size = shape[0] * shape[1] * bits // 8
    out = bytearray(size)
    # The size is given, so that a bomb cannot grow beyond it.
    dtype = np.dtype(f"u{bits // 8}").newbyteorder("<")
    result = decode(src, dtype, out=out)
    if len(result) != size:
        raise ValueError(f"decoded to {len(result)} bytes, not {size}")
    return np.frombuffer(result, dtype).reshape(shape)


def _decode_openjpeg(src: bytes, runner: DecodeRunner) -> bytearray:
    """JPEG 2000 and HTJ2K through pylibjpeg-openjpeg, without the pylibjpeg that pydicom wants."""
    from openjpeg.utils import decode_pixel_data

    if runner.samples_per_pixel != 1:
        raise NotImplementedError("grey frames only")
    frame = cast(bytearray, decode_pixel_data(src, version=2))
    precision = runner.get_option("j2k_precision", runner.bits_stored)
    runner.set_option("bits_allocated", 8 if precision <= 8 else 16)
    return frame


@cache
def decoder_of(syntax: str) -> Decoder:
    """pydicom's decoder of a syntax with our plugins added, imagecodecs first to be tried."""
    decoder = get_decoder(uids.UID(syntax))
    known = decoder.available_plugins
    if is_available(syntax) and PLUGIN not in known:
        decoder.add_plugin(PLUGIN, (__name__, "_decode_frame"))
    has_openjpeg = importlib.util.find_spec("openjpeg") is not None
    if syntax in (*JPEG_2000, *HTJ2K) and has_openjpeg and FALL_BACK not in known:
        decoder.add_plugin(FALL_BACK, (__name__, "_decode_openjpeg"))
    return decoder


def plugins(syntax: str) -> list[str]:
    """Decoding plugins in the order we prefer them.

    imagecodecs swallows some errors of damaged HTJ2K and returns what was in memory, so openjpeg
    comes first there.
    """
    first = (FALL_BACK, PLUGIN) if syntax in HTJ2K else (PLUGIN,)
    names = list(decoder_of(syntax).available_plugins)
    return [n for n in first if n in names] + [n for n in names if n not in first]


def check_frame(frame: bytes, stream: Stream, shape: Layout) -> None:
    """Compare what the frame declares with the header, before anything is decoded.

    Raises:
        UnreadableRefused: truncated, of another size, or too deep.
    """
    if stream.codec == RLE_LOSSLESS:
        return  # its decoder is given the size
    size = [stream.rows, stream.columns, stream.samples]
    need = [shape.rows, shape.columns, shape.samples]
    if size != need:
        raise UnreadableRefused(
            "",
            f"rows, columns and samples are {need} in the header, {size} in the compressed pixels.",
            "Export it again.",
        )
    if stream.bits > shape.bits_allocated:
        raise UnreadableRefused(
            "",
            f"BitsAllocated is {shape.bits_allocated}, its compressed pixels have {stream.bits}.",
            "Export it again.",
        )
    # Lenient decoders fill what is missing with grey and say nothing.
    if b"\xff\xd9" not in frame[-64:]:
        raise UnreadableRefused("", "its compressed pixels are truncated.", "Copy it again.")


def decode(
    frame: bytes, stream: Stream, shape: Layout, plugin: str | None = None
) -> tuple[NDArray[np.integer[Any]], str]:
    """Decode one frame.

    Args:
        stream: what the frame says of itself.
        plugin: one of `plugins(syntax)`; None takes the first that can.

    Returns:
        (H, W) or (H, W, 3) values as the frame has them, and the plugin that decoded it. RLE
        knows bytes only: its values are the header's containers.

    Raises:
        UnreadableRefused: damaged, truncated, or of another size than the header says.
        UnsupportedRefused: a codec that no installed decoder reads.
    """
    check_frame(frame, stream, shape)
    syntax = CODECS[stream.codec].decoded_as
    name = plugin or _choose(syntax, shape)
    try:
        return _as_array(frame, syntax, _declared(stream, shape), name), name
    except (HilumError, MemoryError):
        raise
    except Exception as error:
        # No second decoder is asked: some fill what is damaged with grey and say nothing.
        raise UnreadableRefused(
            "", "its compressed pixels cannot be decoded.", "Copy or export it again."
        ) from error


def _declared(stream: Stream, shape: Layout) -> Layout:
    """The layout by the frame's own words, so that no decoder corrects towards the header's."""
    if stream.codec == RLE_LOSSLESS:
        return replace(shape, bits_stored=shape.bits_allocated, signed=False)
    return replace(
        shape,
        bits_allocated=8 if stream.bits <= 8 else 16,
        bits_stored=stream.bits,
        signed=bool(stream.signed),
    )


def _choose(syntax: str, shape: Layout) -> str:
    names = [n for n in plugins(syntax) if shape.samples == 1 or n not in (PLUGIN, FALL_BACK)]
    if not names:
        raise UnsupportedRefused(
            "", "no installed decoder reads its transfer syntax.", "Export it uncompressed."
        )
    return names[0]


def _as_array(frame: bytes, syntax: str, shape: Layout, plugin: str) -> NDArray[np.integer[Any]]:
    if plugin == PLUGIN:  # pydicom's way to it copies the pixels twice
        array = _decode_grey(frame, syntax, (shape.rows, shape.columns), shape.bits_allocated)
        return array.view(f"{'i' if shape.signed else 'u'}{array.itemsize}")
    options: dict[str, Any] = {
        "rows": shape.rows,
        "columns": shape.columns,
        "samples_per_pixel": shape.samples,
        "number_of_frames": 1,
        "bits_allocated": shape.bits_allocated,
        "bits_stored": shape.bits_stored,
        "pixel_representation": int(shape.signed),
        "photometric_interpretation": shape.photometric,
        "planar_configuration": 0,
        "pixel_keyword": "PixelData",
    }
    array, _ = decoder_of(syntax).as_array(
        _encapsulated(frame),
        index=0,
        raw=shape.samples == 1,
        validate=False,
        decoding_plugin=plugin,
        **options,
    )
    return array


def _encapsulated(frame: bytes) -> bytes:
    """One frame as one fragment behind an empty offset table."""
    even = frame + b"\0" * (len(frame) % 2)
    return b"\xfe\xff\x00\xe0\0\0\0\0\xfe\xff\x00\xe0" + struct.pack("<I", len(even)) + even
