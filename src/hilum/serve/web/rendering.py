"""Pictures by DICOMweb (PS3.18 10.4.1.1.3 and 10.4.1.1.4): objects as displayed, and thumbnails.

Images and secondary captures are rendered, reports, segmentations and presentation states are not.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
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
from hilum.dicom.several import count_of
from hilum.dicom.stored import StoredImage
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


@dataclass(frozen=True, slots=True)
class Shown:
    """What a picture shows."""

    held: Held
    frame: int | None = None  # by its number; None: all of an object of one frame

    @property
    def id(self) -> str:
        return self.held.id if self.frame is None else f"{self.held.id}/{self.frame}"

    @property
    def stored(self) -> StoredImage:
        return self.held.stored if self.frame is None else self.held.frame(self.frame)


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """How a picture is to look (PS3.18 8.3.5)."""

    viewport: tuple[int, int] | None  # width and height that it fits into, px
    window: Window | None  # None: as the image says, stretched
    quality: int

    def picture(self, shown: Shown, side: int) -> NDArray[np.uint8]:
        """(h, w) or (h, w, BGR) of 8 bit, never enlarged.

        Raises:
            InputRefused: the image cannot be read.
        """
        if shown.held.result is not None:  # our own capture, which is in colour
            pixels = np.asarray(dcmread(BytesIO(shown.held.content)).pixel_array, np.uint8)
            return shrunk(pixels[..., ::-1], self._side(pixels.shape, side))
        radiograph = shown.stored.radiograph(window=self.window)
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


def _whole(held: Sequence[Held]) -> list[Shown]:
    """Images and secondary captures, each as one."""
    return [Shown(one) for one in held if one.kind in ("image", "sc")]


def _of_frames(held: OfInstance, numbers: Frames) -> list[Shown]:
    """
    Raises:
        HTTPException: 404, there is no such frame.
    """
    count = count_of(held[0].stored.header)
    for number in listed(numbers):
        if not 1 <= number <= count:
            raise no_frame(number)
    return [replace(one, frame=number) for one in _whole(held) for number in listed(numbers)]


OfFrames = Annotated[list[Shown], Depends(_of_frames)]


# --- Rendered -----------------------------------------------------------------------------------


@router.get("/studies/{study}/rendered", response_class=Response, responses=_RENDERED)
def rendered_study(request: Request, held: OfStudy, look: Looks, accept: Accepted) -> Response:
    """The images of a study as displayed; a header `Warning` counts those that cannot be read."""
    return _rendered(request, _whole(held), look, accept)


@router.get(
    "/studies/{study}/series/{series}/rendered", response_class=Response, responses=_RENDERED
)
def rendered_series(request: Request, held: OfSeries, look: Looks, accept: Accepted) -> Response:
    """The images of a series as displayed."""
    return _rendered(request, _whole(held), look, accept)


@router.get(f"{INSTANCE}/rendered", response_class=Response, responses=_RENDERED)
def rendered_instance(
    request: Request, held: OfInstance, look: Looks, accept: Accepted
) -> Response:
    """One image as displayed."""
    return _rendered(request, _whole(held), look, accept)


@router.get(f"{INSTANCE}/frames/{{numbers}}/rendered", response_class=Response, responses=_RENDERED)
def rendered_frames(request: Request, shown: OfFrames, look: Looks, accept: Accepted) -> Response:
    """Frames of an image as displayed."""
    return _rendered(request, shown, look, accept)


def _rendered(request: Request, images: list[Shown], look: Look, accept: Accept) -> Response:
    alone = [Media(kind=kind) for kind in (JPEG, PNG)] if len(images) == 1 else []
    many = [Media(kind=kind, parts=True) for kind in (JPEG, PNG)] if images else []
    way = accept.choose([*alone, *many])
    previews = previews_of(request)

    def body(image: Shown) -> bytes:
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
    return _thumbnail(request, _whole(held), look, accept)


@router.get(
    "/studies/{study}/series/{series}/thumbnail", response_class=Response, responses=_THUMBNAIL
)
def thumbnail_of_series(
    request: Request, held: OfSeries, look: Looks, accept: Accepted
) -> Response:
    """A small picture of the newest image of a series."""
    return _thumbnail(request, _whole(held), look, accept)


@router.get(f"{INSTANCE}/thumbnail", response_class=Response, responses=_THUMBNAIL)
def thumbnail_of_instance(
    request: Request, held: OfInstance, look: Looks, accept: Accepted
) -> Response:
    """A small picture of an image."""
    return _thumbnail(request, _whole(held), look, accept)


@router.get(
    f"{INSTANCE}/frames/{{numbers}}/thumbnail", response_class=Response, responses=_THUMBNAIL
)
def thumbnail_of_frames(
    request: Request, shown: OfFrames, look: Looks, accept: Accepted
) -> Response:
    """A small picture of a frame."""
    return _thumbnail(request, shown, look, accept)


def _thumbnail(request: Request, images: list[Shown], look: Look, accept: Accept) -> Response:
    images = sorted(images, key=lambda one: one.held.result is not None)
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


def _small(image: Shown, look: Look, kind: str) -> bytes:
    return look.encoded(look.picture(image, SMALL), kind)


_PLAIN = look_of(None, None, 85)
