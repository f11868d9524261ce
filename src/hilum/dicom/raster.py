"""PNG, JPEG and WebP -> grey pixels in [0, 1]. Knows nothing of DICOM.

Sixteen bits stay sixteen, EXIF orientation is honoured, colour becomes luma (Rec. 601), alpha is
ignored. Grey images stored as colour give exactly the grey image.
"""

from __future__ import annotations

from io import BytesIO
from typing import Any, BinaryIO, NamedTuple

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hilum.core.errors import LimitRefused, UnreadableRefused, UnsupportedRefused
from hilum.core.orientation import SIDEWAYS, turn
from hilum.dicom.limits import Limits
from hilum.dicom.pixels import look_up
from hilum.dicom.stream import describe
from hilum.dicom.syntaxes import LS

Float32 = NDArray[np.float32]

_MAKE, _MODEL = 0x010F, 0x0110
COARSE = 115.0  # mean of the 64 steps of luminance, that of quality 25
_ORIENTATION, _EXIF_MARK = 0x0112, b"Exif\0\0"
SCREEN = 1 / 2.2  # gamma of a PNG for an ordinary screen
TINT = 0.125  # of the range: how far the channels of a grey pixel may differ
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
LONGEST_SIDE = 65535  # px, as in DICOM; what looks at line after line must end
_OTHERS = {
    b"II*\0": "a TIFF",
    b"MM\0*": "a TIFF",
    b"GIF8": "a GIF",
    b"BM": "a BMP",
    b"\0\0\0\x0cjP  ": "a JPEG 2000 file",
    b"\xff\x4f\xff\x51": "a bare JPEG 2000 stream",
    b"%PDF": "a PDF",
    b"\x1f\x8b": "packed by gzip",
    b"PK\3\4": "a zip",
}


def sniff(data: bytes) -> str | None:
    """The format by its first bytes: "png", "jpeg", "webp" or None."""
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return "png"
    if data[:3] == b"\xff\xd8\xff":
        return "jpeg"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    return None


def other_format(data: bytes) -> str | None:
    """The name of a known format that is not read here."""
    return next((name for start, name in _OTHERS.items() if data.startswith(start)), None)


class Raster(NamedTuple):
    """A decoded image."""

    pixels: Float32  # (H, W) in [0, 1]
    bits: int  # they were stored with
    warnings: tuple[str, ...]  # what is odd about them


class ShownSize(NamedTuple):
    """Of an image as `read_raster` gives it."""

    width: int
    height: int
    orientation: int  # of EXIF, 1 to 8


def read_raster(data: bytes, kind: str, limits: Limits) -> Raster:
    """Decode a PNG, JPEG or WebP.

    Raises:
        UnreadableRefused: damaged or truncated.
        LimitRefused: more pixels than allowed.
        UnsupportedRefused: an animation.
    """
    stream = describe(data) if kind == "jpeg" else None
    if stream is not None and stream.codec == LS:
        raise UnsupportedRefused("", "it is a bare JPEG-LS stream.", "Export it as DICOM or PNG.")
    if stream is not None and stream.bits > 8:
        _check_size(stream.rows, stream.columns, limits)
        array: NDArray[Any] = _deep_jpeg(data)
        bits, orientation = stream.bits, _jpeg_orientation(data)
        grey = turn(_grey(array, bits), orientation)
        return Raster(grey, bits, _colour_warnings(array, bits))
    with _open(data, kind) as image:
        width, height = image.size
        _check_size(height, width, limits)
        frames = getattr(image, "n_frames", 1)
        if frames > 1 and kind != "jpeg":
            raise UnsupportedRefused("", "it is an animation.", "Send single images.")
        orientation = int(image.getexif().get(_ORIENTATION, 1))
        deep = kind == "png" and data[24] == 16
        array = _png_16(data) if deep else _eight_bit(image)
        warnings = _transparency(image) + _history(image) + _gamma(image)
        if frames > 1:  # a camera's, with its preview or depth: viewers show the first
            warnings += (f"it holds {frames} images, the first is read",)
    bits = 8 * array.itemsize
    if deep and (used := _bits_used(array)) < bits:
        warnings += (f"its 16 bits hold values up to {int(array.max())}: read as {used} bits",)
        bits = used
    warnings += _colour_warnings(array, bits)
    return Raster(turn(_grey(array, bits), orientation), bits, warnings)


def _bits_used(array: NDArray[Any]) -> int:
    """The depth of a detector that holds the values, where they leave most of 16 bits empty."""
    return next((bits for bits in (8, 10, 12) if int(array.max()) < 2**bits), 16)


def _history(image: Image.Image) -> tuple[str, ...]:
    """What a JPEG tells of its making: steps so coarse that detail is lost, a camera."""
    tables = getattr(image, "quantization", None) or {}
    steps = sum(tables[0]) / len(tables[0]) if tables.get(0) else 0.0
    warnings: tuple[str, ...] = ()
    if steps > COARSE:
        warnings += (
            f"its JPEG is of low quality (steps of {steps:.0f} in the mean): detail is lost",
        )
    exif = image.getexif()
    camera = " ".join(str(exif[tag]).strip("\0 ")[:40] for tag in (_MAKE, _MODEL) if exif.get(tag))
    if camera:
        warnings += (f"it was made by a camera ({camera}): is it a photograph of a radiograph?",)
    return warnings


def _gamma(image: Image.Image) -> tuple[str, ...]:
    """A PNG's values are read as they are stored; another gamma than a screen's is shown so."""
    gamma = float(image.info.get("gamma") or SCREEN)
    if abs(gamma - SCREEN) < 0.1:
        return ()
    return (f"its gamma is {gamma:.3g}: viewers show it otherwise than its values, which are read",)


def _transparency(image: Image.Image) -> tuple[str, ...]:
    """Alpha is ignored, so what a viewer does not show is read."""
    if "A" not in image.getbands():
        return ()
    share = float((np.asarray(image.getchannel("A")) == 0).mean())
    return (f"{share:.1%} of its pixels are transparent; what lies there is read",) if share else ()


def shown_size(stream: BinaryIO) -> ShownSize:
    """Size and orientation, from the header alone.

    Pillow's and others' errors pass: the caller knows what it opened.
    """
    head = stream.read(1 << 16)
    deep = describe(head) if sniff(head) == "jpeg" else None
    if deep is not None and deep.bits > 8:
        width, height, orientation = deep.columns, deep.rows, _jpeg_orientation(head)
    else:
        stream.seek(0)
        with Image.open(stream) as image:
            (width, height), orientation = image.size, int(image.getexif().get(_ORIENTATION, 1))
    turned = orientation in SIDEWAYS
    wide, high = (height, width) if turned else (width, height)
    return ShownSize(wide, high, orientation)


def _check_size(height: int, width: int, limits: Limits) -> None:
    if max(width, height) > LONGEST_SIDE:
        raise LimitRefused("", f"a side of {max(width, height)} px is no radiograph's.")
    if width * height > limits.pixels:
        raise LimitRefused(
            "", f"{height} x {width} pixels are more than the limit of {limits.pixels}."
        )


def _open(data: bytes, kind: str) -> Image.Image:
    try:
        return Image.open(BytesIO(data), formats=(kind.upper(),))
    except Image.DecompressionBombError as error:
        raise LimitRefused("", "it has more pixels than any radiograph.") from error


def _png_16(data: bytes) -> NDArray[np.uint16]:
    # Pillow turns 16-bit colour into 8 bits; OpenCV reserves as much as a chunk claims to hold.
    array = imagecodecs.png_decode(data)
    if array.dtype != np.uint16:
        raise UnreadableRefused("", "its 16-bit PNG data is damaged.", "Copy it again.")
    if array.ndim == 2:
        return np.asarray(array)
    return np.asarray(array[..., :3] if array.shape[2] >= 3 else array[..., 0])


def _deep_jpeg(data: bytes) -> NDArray[np.uint16]:
    # Pillow knows no JPEG of 12 bits, nor lossless ones of 16.
    if b"\xff\xd9" not in data[-64:]:  # the decoder fills what is missing with grey
        raise UnreadableRefused("", "it is truncated.", "Copy it again.")
    array: NDArray[np.uint16] = imagecodecs.jpeg8_decode(data)
    return array


def _jpeg_orientation(data: bytes) -> int:
    start = data.find(_EXIF_MARK, 0, 1 << 16)
    exif = Image.Exif()
    exif.load(data[start : start + (1 << 16)] if start > 0 else b"")
    return int(exif.get(_ORIENTATION, 1))


def _eight_bit(image: Image.Image) -> NDArray[np.uint8]:
    if image.mode == "1":
        image = image.convert("L")
    elif image.mode in ("LA", "La"):
        image = image.getchannel(0)
    elif image.mode not in ("L", "RGB"):
        image = image.convert("RGBA" if "A" in image.mode else "RGB")
    array: NDArray[np.uint8] = np.asarray(image)
    return array if array.ndim == 2 else array[..., :3]


def _grey(array: NDArray[Any], bits: int) -> Float32:
    top = 2**bits - 1
    codes = np.arange(2 ** (8 * array.itemsize), dtype=np.float64)
    table = np.minimum(codes / top, 1).astype(np.float32)
    if array.ndim == 3:
        first = array[..., 0]
        if not (np.array_equal(first, array[..., 1]) and np.array_equal(first, array[..., 2])):
            luma: Float32 = (array.astype(np.float32) @ _LUMA) / np.float32(top)
            return np.clip(luma, 0, 1)
        array = np.ascontiguousarray(first)
    return look_up(np.ascontiguousarray(array), table)


def _colour_warnings(array: NDArray[Any], bits: int) -> tuple[str, ...]:
    """Arrows, heat maps and photographs; compression tints a grey image a little."""
    if array.ndim == 2:
        return ()
    a, b, c = (array[..., i] for i in range(3))  # far faster than a maximum over the last axis
    spread = np.maximum(np.maximum(a, b), c) - np.minimum(np.minimum(a, b), c)
    share = float((spread > TINT * (2**bits - 1)).mean())
    if not share:
        return ()
    return (f"{max(share, 0.001):.1%} of its pixels are in colour; their brightness is read",)
