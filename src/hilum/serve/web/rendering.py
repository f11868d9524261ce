"""Pictures by DICOMweb (PS3.18 10.4.1.1.3 and 10.4.1.1.4): objects as displayed, and thumbnails.

Images and secondary captures are rendered, reports, segmentations and presentation states are not.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from typing import Annotated

import cv2
import numpy as np
from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.exceptions import HTTPException
from numpy.typing import NDArray
from pydicom import dcmread

from hilum.core.errors import ConfigError, InputRefused
from hilum.core.radiograph import Window, check_window
from hilum.report.writers.picture import picture, shrunk
from hilum.serve.web.held import Held, of_each
from hilum.serve.web.images import previews_of
from hilum.serve.web.media import (
    INSTANCE,
    JPEG,
    PNG,
    PREFIX,
    RELATED,
    Accept,
    Accepted,
    Media,
    responses,
)
from hilum.serve.web.multipart import related
from hilum.serve.web.wado import Frames, OfInstance, OfSeries, OfStudy, listed, no_frame

router = APIRouter(prefix=PREFIX, tags=["dicomweb"])
SIDE, SMALL = 2048, 256  # px, of the longer side, where no viewport is named
_RENDERED, _THUMBNAIL = responses(JPEG, PNG, RELATED), responses(JPEG, PNG)
_NUMBER = r"-?[0-9]{1,9}(\.[0-9]{1,9})?"
_VIEWPORT = re.compile(r"([1-9][0-9]{0,3}),([1-9][0-9]{0,3})")
_WINDOW = re.compile(rf"({_NUMBER}),({_NUMBER}),linear")


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """How a picture is to look (PS3.18 8.3.5)."""

    viewport: tuple[int, int] | None  # width and height that it fits into, px
    window: Window | None  # None: as the image says, stretched
    quality: int

    def picture(self, held: Held, side: int) -> NDArray[np.uint8]:
        """(h, w) or (h, w, BGR) of 8 bit, never enlarged.

        Raises:
            InputRefused: the image cannot be read.
        """
        if held.result is not None:  # our own capture, which is in colour
            pixels = np.asarray(dcmread(BytesIO(held.content)).pixel_array, np.uint8)
            return shrunk(pixels[..., ::-1], self._side(pixels.shape, side))
        radiograph = held.stored.radiograph(window=self.window)
        side = self._side(radiograph.pixels.shape, side)
        if self.window is None:
            return picture(radiograph, side)
        return shrunk(np.rint(radiograph.pixels * 255).astype(np.uint8), side)

    def _side(self, shape: tuple[int, ...], side: int) -> int:
        """Of the longer side, so that it fits into the viewport."""
        if self.viewport is None:
            return side
        scale = min(self.viewport[0] / shape[1], self.viewport[1] / shape[0])
        return max(1, int(scale * max(shape[:2])))

    def encoded(self, pixels: NDArray[np.uint8], kind: str) -> bytes:
        options = [cv2.IMWRITE_JPEG_QUALITY, self.quality] if kind == JPEG else []
        return cv2.imencode(".jpg" if kind == JPEG else ".png", pixels, options)[1].tobytes()


def look_of(
    viewport: Annotated[str | None, Query(description="WIDTH,HEIGHT in px")] = None,
    window: Annotated[str | None, Query(description="CENTRE,WIDTH,linear")] = None,
    quality: Annotated[int, Query(ge=1, le=100, description="Of JPEG.")] = 85,
) -> Look:
    """
    Raises:
        HTTPException: 400, in words.
    """
    size = _VIEWPORT.fullmatch(viewport or "")
    if viewport is not None and size is None:
        raise HTTPException(400, "viewport: needed: width,height in px; no part of the image")
    values = _WINDOW.fullmatch(window or "")
    if window is not None and values is None:
        raise HTTPException(400, "window: needed: centre,width,linear")
    shown = (float(values[1]), float(values[3])) if values else None
    try:
        if shown is not None:
            check_window(shown)
    except ConfigError as error:
        raise HTTPException(400, str(error)) from error
    fits = (int(size[1]), int(size[2])) if size else None
    return Look(viewport=fits, window=shown, quality=quality)


Looks = Annotated[Look, Depends(look_of)]


def _of_frames(held: OfInstance, numbers: Frames) -> list[Held]:
    """
    Raises:
        HTTPException: 404, there is no such frame.
    """
    count = max(held[0].stored.header.integer("NumberOfFrames", 1), 1)
    for number in listed(numbers):
        if not 1 <= number <= count:
            raise no_frame(number)
    return held


OfFrames = Annotated[list[Held], Depends(_of_frames)]


# --- Rendered -----------------------------------------------------------------------------------


@router.get("/studies/{study}/rendered", response_class=Response, responses=_RENDERED)
def rendered_study(request: Request, held: OfStudy, look: Looks, accept: Accepted) -> Response:
    """The images of a study as displayed; a header `Warning` counts those that cannot be read."""
    return _rendered(request, held, look, accept)


@router.get(
    "/studies/{study}/series/{series}/rendered", response_class=Response, responses=_RENDERED
)
def rendered_series(request: Request, held: OfSeries, look: Looks, accept: Accepted) -> Response:
    """The images of a series as displayed."""
    return _rendered(request, held, look, accept)


@router.get(f"{INSTANCE}/rendered", response_class=Response, responses=_RENDERED)
def rendered_instance(
    request: Request, held: OfInstance, look: Looks, accept: Accepted
) -> Response:
    """One image as displayed."""
    return _rendered(request, held, look, accept)


@router.get(f"{INSTANCE}/frames/{{numbers}}/rendered", response_class=Response, responses=_RENDERED)
def rendered_frames(request: Request, held: OfFrames, look: Looks, accept: Accepted) -> Response:
    """The frame of an image as displayed: images of several frames are refused, as in reading."""
    return _rendered(request, held, look, accept)


def _rendered(request: Request, held: Sequence[Held], look: Look, accept: Accept) -> Response:
    images = list(filter(_is_image, held))
    alone = [Media(kind=kind) for kind in (JPEG, PNG)] if len(images) == 1 else []
    many = [Media(kind=kind, parts=True) for kind in (JPEG, PNG)] if images else []
    way = accept.choose([*alone, *many])
    previews = previews_of(request)

    def body(image: Held) -> bytes:
        pixels = previews.read(image.id, partial(look.picture, image, SIDE))
        return look.encoded(pixels, way.kind)

    bodies, counted = of_each(images, body)  # before an answer is begun, which tells of them
    if not way.parts:
        return Response(bodies[0], media_type=way.kind)
    return related([(way.kind, body) for body in bodies], way.kind, headers=counted)


# --- Thumbnails ---------------------------------------------------------------------------------


@router.get("/studies/{study}/thumbnail", response_class=Response, responses=_THUMBNAIL)
def thumbnail_of_study(request: Request, held: OfStudy, look: Looks, accept: Accepted) -> Response:
    """A small picture of the newest image of a study."""
    return _thumbnail(request, held, look, accept)


@router.get(
    "/studies/{study}/series/{series}/thumbnail", response_class=Response, responses=_THUMBNAIL
)
def thumbnail_of_series(
    request: Request, held: OfSeries, look: Looks, accept: Accepted
) -> Response:
    """A small picture of the newest image of a series."""
    return _thumbnail(request, held, look, accept)


@router.get(f"{INSTANCE}/thumbnail", response_class=Response, responses=_THUMBNAIL)
def thumbnail_of_instance(
    request: Request, held: OfInstance, look: Looks, accept: Accepted
) -> Response:
    """A small picture of an image."""
    return _thumbnail(request, held, look, accept)


@router.get(
    f"{INSTANCE}/frames/{{numbers}}/thumbnail", response_class=Response, responses=_THUMBNAIL
)
def thumbnail_of_frames(
    request: Request, held: OfFrames, look: Looks, accept: Accepted
) -> Response:
    """A small picture of a frame."""
    return _thumbnail(request, held, look, accept)


def _thumbnail(request: Request, held: Sequence[Held], look: Look, accept: Accept) -> Response:
    images = sorted(filter(_is_image, held), key=lambda one: one.result is not None)
    way = accept.choose([Media(kind=kind) for kind in (JPEG, PNG)] if images else [])
    previews, last = previews_of(request), None
    for image in images:  # images as received come first; one that cannot be read hides no other
        make = partial(_small, image, look, way.kind)
        try:
            plain = way.kind == JPEG and look == _PLAIN
            content = previews.picture(image.id, SMALL, make) if plain else make()
            return Response(content, media_type=way.kind)
        except InputRefused as error:
            last = error
    assert last is not None  # an image was there, or nothing would be accepted
    raise last


def _small(image: Held, look: Look, kind: str) -> bytes:
    return look.encoded(look.picture(image, SMALL), kind)


_PLAIN = look_of(None, None, 85)


# --- Objects ------------------------------------------------------------------------------------


def _is_image(held: Held) -> bool:
    return held.kind in ("image", "sc")
