"""Radiographs as pictures, and what is drawn on them: boxes, outlines, heat, words, sheets.

The one place that draws on pixels: overlays, galleries, samples of a training, previews and
explanations use it. Boxes come in source pixels, the canvas knows where they lie. Knows arrays
only; no file, no page. Pictures are RGB uint8 (H, W, 3).
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw, ImageFont

from hilum.core.geometry import transform_boxes
from hilum.core.percentiles import percentiles
from hilum.core.radiograph import Radiograph

Picture = NDArray[np.uint8]  # (H, W, 3) RGB
Colour = tuple[int, int, int]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
Kind = Literal["png", "jpg"]

TRUTH: Colour = (70, 210, 200)  # what a reader drew
PREDICTION: Colour = (255, 176, 0)  # what a network says
PLATE, INK, HALO = (16, 20, 26), (255, 255, 255), (0, 0, 0)
MIN_SIDE, MAX_SIDE = 768, 1600  # px, where nothing else is asked for
STRETCH = (0.5, 99.5)  # percentiles of valid pixels shown as black and white
SAMPLE = 256  # px, long side of the grid that contrast is taken from
SUBPIXEL = 6  # bits of fraction that OpenCV's drawing takes
GAP = 4  # px between the pictures of a sheet
HEAT = 0.45  # share of a heat-map where it is strongest


@dataclass(frozen=True, slots=True)
class Canvas:
    """Where a radiograph of (width, height) lies in its picture: at the top left, scaled.

    Small radiographs are enlarged, or their letters could not be read; large ones shrink.
    """

    width: int
    height: int
    sides: tuple[int, int] = (MIN_SIDE, MAX_SIDE)  # smallest and largest long side, px

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the picture, px."""
        longest = max(self.width, self.height)
        scale = min(max(longest, self.sides[0]), self.sides[1]) / longest
        return max(1, round(self.width * scale)), max(1, round(self.height * scale))

    @property
    def matrix(self) -> NDArray[np.float64]:
        """(3, 3) from source to picture pixels."""
        w, h = self.size
        return np.diag([w / self.width, h / self.height, 1.0])

    @property
    def unit(self) -> float:
        """Letter height, px; lines are a fraction of it."""
        return max(11.0, max(self.size) * 0.0185)

    @property
    def line(self) -> int:
        return max(1, round(self.unit / 11))

    def resize(self, image: NDArray[Any]) -> NDArray[Any]:
        """(height, width) to picture size."""
        shrinks = self.size[0] < image.shape[1]
        how = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
        resized: NDArray[Any] = cv2.resize(image, self.size, interpolation=how)
        return resized


def canvas_of(shape: tuple[int, ...], side: int) -> Canvas:
    """A picture whose long side is `side` px, of an image of (height, width)."""
    return Canvas(width=shape[1], height=shape[0], sides=(side, side))


def base(image: Radiograph | NDArray[np.floating[Any]], canvas: Canvas) -> Picture:
    """The image at canvas size; a radiograph is stretched between percentiles of valid pixels.

    Args:
        image: a radiograph, or (height, width) in [0, 1] shown as it is.
    """
    if isinstance(image, Radiograph):
        pixels, (low, high) = image.pixels, contrast(image)
    else:
        pixels, (low, high) = np.asarray(image, np.float32), (0.0, 1.0)
    gain = 255 / max(high - low, 1e-6)
    grey = canvas.resize(pixels)
    levels = np.clip((grey - np.float32(low)) * np.float32(gain) + np.float32(0.5), 0, 255)
    return np.repeat(levels.astype(np.uint8)[:, :, None], 3, axis=2)


def contrast(radiograph: Radiograph) -> tuple[float, float]:
    """The values shown as black and as white: percentiles of valid pixels."""
    step = -(-max(radiograph.width, radiograph.height) // SAMPLE)
    sample = np.ascontiguousarray(radiograph.pixels[::step, ::step])
    if radiograph.valid is not None:
        sample = sample[radiograph.valid[::step, ::step]]
    return percentiles(sample.reshape(-1), STRETCH) if sample.size else (0.0, 1.0)


def draw_boxes(picture: Picture, canvas: Canvas, boxes_px: ArrayLike, colour: Colour) -> None:
    """Boxes (n, 4) in source pixels, into `picture`."""
    for box in np.asarray(boxes_px, np.float64).reshape(-1, 4):
        draw_box(picture, canvas, box, colour)


def draw_box(
    picture: Picture, canvas: Canvas, box_px: ArrayLike, colour: Colour, words: str = ""
) -> None:
    """One box (4,) in source pixels with a dark halo, into `picture`; words in its corner."""
    corners = _corners(canvas, box_px)
    for ink, width in ((HALO, 2 * canvas.line + 2), (colour, 2 * canvas.line)):
        cv2.polylines(picture, [corners], True, ink, width, cv2.LINE_AA, SUBPIXEL)
    if words:
        left, top = (canvas.matrix[[0, 1], [0, 1]] * np.asarray(box_px)[:2]).tolist()
        draw_words(picture, words, left + 3, top + 3, colour=colour, size=11)


def _corners(canvas: Canvas, box_px: ArrayLike) -> NDArray[np.int32]:
    box = transform_boxes(np.asarray(box_px, np.float64).reshape(-1, 4), canvas.matrix)
    # Our coordinates count pixel edges, OpenCV's drawing counts centres: half a pixel less.
    fixed = np.round((box.reshape(2, 2) - 0.5) * (1 << SUBPIXEL)).astype(int).tolist()
    (x1, y1), (x2, y2) = fixed
    return np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]], np.int32)


def draw_outline(picture: Picture, canvas: Canvas, mask: NDArray[np.bool_], colour: Colour) -> None:
    """The border of an (H, W) mask of the whole image, into `picture`."""
    # Area averaging keeps thin parts; half covered pixels are the border. The steps of enlarged
    # masks are rounded off by less than one source pixel.
    small = canvas.resize(mask.astype(np.uint8) * 255)
    if (scale := canvas.size[0] / mask.shape[1]) > 1.5:
        small = cv2.GaussianBlur(small, (0, 0), scale / 2)
    contours, _ = cv2.findContours(
        (small >= 128).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE
    )
    halo = canvas.line + (2 if canvas.unit > 12 else 1)
    cv2.polylines(picture, contours, True, HALO, halo, cv2.LINE_AA)
    cv2.polylines(picture, contours, True, colour, canvas.line, cv2.LINE_AA)


def draw_heat(picture: Picture, canvas: Canvas, heat: NDArray[np.floating[Any]]) -> None:
    """An (h, w) map in [0, 1] of the whole image as colour; nothing where it is 0."""
    strength = np.clip(canvas.resize(np.asarray(heat, np.float32)), 0, 1)
    colours = cv2.applyColorMap((strength * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)
    share = (HEAT * strength)[:, :, None]
    mixed = picture * (1 - share) + colours[:, :, ::-1] * share
    picture[:] = np.clip(mixed + 0.5, 0, 255).astype(np.uint8)


def heat_scale() -> Picture:
    """(10, 60, 3) the colours of a map, from little to much."""
    levels = np.linspace(64, 255, 60).astype(np.uint8)[None].repeat(10, axis=0)
    return np.ascontiguousarray(cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO)[:, :, ::-1])


def draw_words(
    picture: Picture,
    words: str,
    x: float,
    y: float,
    *,
    colour: Colour = INK,
    size: float = 12,
) -> None:
    """Words on a dark plate, top left at (x, y) px of the picture, moved so that all is seen."""
    letters = font(size)
    width, height = round(letters.getlength(words) + size * 0.6), round(size * 1.4)
    left = int(np.clip(x, 0, max(0, picture.shape[1] - width)))
    top = int(np.clip(y, 0, max(0, picture.shape[0] - height)))
    image = Image.fromarray(picture)
    pen = ImageDraw.Draw(image)
    pen.rectangle((left, top, left + width - 1, top + height - 1), fill=PLATE)
    centre = left + width / 2, top + height / 2
    pen.text(centre, words, fill=colour, font=letters, anchor="mm")
    picture[:] = np.asarray(image)


def sheet(pictures: Sequence[Picture], columns: int) -> Picture:
    """Pictures in rows on black; each cell is as large as the largest."""
    height = max(picture.shape[0] for picture in pictures) + GAP
    width = max(picture.shape[1] for picture in pictures) + GAP
    rows = -(-len(pictures) // columns)
    out = np.zeros((rows * height - GAP, columns * width - GAP, 3), np.uint8)
    for place, picture in enumerate(pictures):
        top, left = place // columns * height, place % columns * width
        out[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    return out


def encoded(picture: Picture, kind: Kind = "png", quality: int = 85) -> bytes:
    """A PNG or JPEG file."""
    # PNG at level 1 is three times as fast as the default and a tenth larger.
    png, jpg = [cv2.IMWRITE_PNG_COMPRESSION, 1], [cv2.IMWRITE_JPEG_QUALITY, quality]
    bgr = np.ascontiguousarray(picture[:, :, ::-1])
    _, buffer = cv2.imencode(f".{kind}", bgr, png if kind == "png" else jpg)
    return bytes(buffer)


def data_uri(picture: Picture, quality: int = 82) -> str:
    """A JPEG inside a page."""
    content = base64.b64encode(encoded(picture, "jpg", quality)).decode()
    return f"data:image/jpeg;base64,{content}"


@cache
def font(size: float) -> Font:
    """Letters of about `size` px."""
    return ImageFont.load_default(max(10, round(size)))
