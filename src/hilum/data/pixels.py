"""A catalog's references -> radiographs and masks. Decoding itself is hilum.dicom's."""

from __future__ import annotations

from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hilum.core.errors import DataError
from hilum.core.orientation import turn
from hilum.core.radiograph import Radiograph, Window
from hilum.data.formats.runs import union_of
from hilum.data.frames import resized, same_shape
from hilum.data.references import archive_and_member
from hilum.dicom.read import read

Bool = NDArray[np.bool_]

ORIENTATION = 0x0112  # EXIF
BLURRED = ("JPEG", "WEBP")  # formats that may lose sharp edges
DAMAGE = (OSError, ValueError, SyntaxError, RuntimeError, Image.DecompressionBombError)
FAINT = 16  # of 255: what is darker all over is an empty mask and noise


@lru_cache(maxsize=16)
def _archive(path: Path) -> ZipFile:
    return ZipFile(path)


def reference_bytes(root: Path, reference: str) -> bytes:
    """The bytes of "file" or "archive.zip!member" below `root`.

    Raises:
        DataError: no such file or member.
    """
    archive, member = archive_and_member(reference)
    try:
        if archive:
            return _archive(root / archive).read(member)
        return (root / member).read_bytes()
    except (OSError, KeyError, BadZipFile, RuntimeError, NotImplementedError) as error:
        hint = "" if root.is_dir() else ", which is not there: were the images moved?"
        raise DataError(f"{reference!r} is not below {root}{hint or f': {error}'}") from error


def open_radiograph(root: Path, reference: str, window: Window | None = None) -> Radiograph:
    """The radiograph of a catalog row, through the one reading path."""
    return read((reference, reference_bytes(root, reference)), window=window)


def open_mask(root: Path, reference: str, height: int, width: int) -> Bool:
    """(height, width) mask; "" is an annotated empty one, "rle:..." holds it as text.

    A mask stored smaller or larger than its image (some sets do) is resized, nearest neighbour.

    Raises:
        DataError: unreadable, or of another shape than the image.
    """
    if not reference:
        return np.zeros((height, width), bool)
    mask = union_of(reference) if reference.startswith("rle:") else read_mask(root, reference)
    if mask.shape == (height, width):
        return mask
    rows, columns = mask.shape
    if not same_shape((columns, rows), (width, height)):
        raise DataError(
            f"mask {reference[:60]!r} is {columns}×{rows} px, its image {width}×{height}: of "
            "another shape; needed: one of the image's own size, or a copy of the same shape"
        )
    return resized(mask, height, width)


def mask_levels(root: Path, reference: str) -> NDArray[Any]:
    """The grey values of a mask's image as they are stored; (0,) where it has none of its own:
    run lengths, palettes, alpha, and formats of which half of the brightest counts anyway.

    Raises:
        DataError: no readable image.
    """
    if not reference or reference.startswith("rle:"):
        return np.zeros(0)
    try:
        with Image.open(BytesIO(reference_bytes(root, reference))) as image:
            own = image.mode in ("L", "F", "RGB") or image.mode.startswith("I")
            levels = np.asarray(image) if own and image.format not in BLURRED else np.zeros(0)
    except DAMAGE as error:
        raise DataError(f"mask {reference!r} is not a readable image: {error}") from error
    return levels.max(axis=2) if levels.ndim == 3 else levels


def read_mask(root: Path, reference: str) -> Bool:
    """The (height, width) mask of an image: what is not background, the image upright.

    Background is 0 (black); grey, 16 bit, palette, colour and alpha are read alike. A channel of
    alpha that varies says what is drawn. JPEG and WebP blur, so there half of the brightest counts.

    Raises:
        DataError: no readable image, or one without any background to tell from what is drawn.
    """
    content = reference_bytes(root, reference)
    try:
        with Image.open(BytesIO(content)) as image:
            turned = int(image.getexif().get(ORIENTATION, 1))
            image.load()
            mask = _foreground(image, content)
    except DAMAGE as error:
        raise DataError(f"mask {reference!r} is not a readable image: {error}") from error
    return turn(mask, turned)


def _foreground(image: Image.Image, content: bytes) -> Bool:
    if image.mode == "P" and "transparency" not in image.info:
        return _drawn(_of_palette(image))
    if image.mode in ("P", "PA", "RGBa", "La"):
        image = image.convert("LA" if image.mode == "La" else "RGBA")
    if image.format == "PNG" and content[24] == 16:
        array = np.asarray(imagecodecs.png_decode(content))  # Pillow cuts 16-bit colour to 8
    else:
        array = np.asarray(image)
    array = array.reshape(*array.shape[:2], -1)
    if array.shape[2] in (2, 4) and image.mode != "CMYK":
        colour, alpha = array[..., :-1], array[..., -1]
        if alpha.min() != alpha.max():
            return _shown(colour, alpha > 0)
        array = colour
    return _blurred(array) if image.format in BLURRED else _drawn(array)


def _shown(colour: NDArray[Any], shown: Bool) -> Bool:
    """What is not transparent, without the black in it if it has several colours."""
    lit = (colour != 0).any(axis=2)
    flat = (colour[shown] == colour[shown][0]).all()
    return shown if flat else shown & lit


def _of_palette(image: Image.Image) -> NDArray[Any]:
    """Brightness of each pixel's colour where black is one of them, else its number."""
    colours = np.asarray(image.convert("RGB")).max(axis=2)
    has_black = colours.min() == 0 and any(image.getpalette() or ())
    return (colours if has_black else np.asarray(image))[..., None]


def _drawn(array: NDArray[Any]) -> Bool:
    """(H, W) where any channel of (H, W, channels) is not 0.

    Raises:
        ValueError: nowhere is 0, and there are several values: nobody knows which is background.
    """
    mask = np.asarray((array != 0).any(axis=2))
    if mask.all() and (array != array[0, 0]).any():
        raise ValueError(
            f"no pixel is 0 (background); values go from {array.min()} to {array.max()}"
        )
    return mask


def _blurred(array: NDArray[Any]) -> Bool:
    grey = array.max(axis=2)
    top = int(grey.max())
    mask = np.asarray(grey > top / 2) if top >= FAINT else np.zeros(grey.shape, bool)
    spread = (array.max(axis=(0, 1)) - array.min(axis=(0, 1))).max()
    if mask.all() and spread > 4 * FAINT:
        raise ValueError("it is bright all over, in several colours: which one is background?")
    return mask
