"""Annotations of images that their EXIF data turns -> the frame in which hilum shows images.

Some tools annotate an image as it is stored, others as a viewer shows it, and a file of
annotations does not say which. Its width and height tell that the stored one was meant only if the
boxes agree: where they fit one of the two frames alone, that is it, for the whole set.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hilum.core.orientation import SIDEWAYS, turn_boxes
from hilum.data.adapters import headers
from hilum.data.adapters.boxes import CORNERS, group_boxes
from hilum.data.adapters.source import Source
from hilum.data.frames import Size, same_shape

SLACK_PX = 0.5  # rounded corners may leave the frame by so much


@dataclass(frozen=True, slots=True, eq=False)
class Upright:
    """Annotations in the frame of the upright image."""

    sizes: pd.DataFrame  # width, height of each image
    boxes: pd.DataFrame
    turns: pd.Series[int]  # EXIF orientation that masks must still be turned by, 1 for none
    unclear: pd.Series[bool]  # images whose annotations fit either frame


class Shown(NamedTuple):
    """Images as hilum shows them."""

    images: pd.DataFrame  # with their sizes and headers
    boxes: pd.DataFrame  # columns boxes and box_labels, as a catalog has them
    frame: Upright


def upright_boxes(
    images: pd.DataFrame, boxes: pd.DataFrame, annotated: pd.Series[bool], source: Source
) -> Shown:
    """Sizes and headers of the files, and the boxes in what these show.

    Images whose annotations fit either frame have unknown boxes.
    """
    facts = headers.read_headers(images["path"], source)
    frame = upright(images, facts, boxes, source)
    sized = images.assign(width=frame.sizes["width"], height=frame.sizes["height"])
    table = headers.fill(sized, facts)
    drawn = group_boxes(frame.boxes, table["image_id"], source, annotated)
    drawn[frame.unclear] = None
    return Shown(table, drawn, frame)


def upright(
    images: pd.DataFrame, facts: pd.DataFrame, boxes: pd.DataFrame, source: Source
) -> Upright:
    """Boxes of images that were annotated as they are stored, turned; the others as they are.

    Args:
        images: image_id, and width and height as the annotations state them (NaN or 0 unknown).
        facts: of their files, width, height (as shown) and turned.
        boxes: image_id, x1, y1, x2, y2.
    """
    stated = images[["width", "height"]].apply(pd.to_numeric, errors="coerce").fillna(0)
    shown = facts[["width", "height"]].fillna(0)
    known = (stated > 0).all(axis=1)
    sizes = stated.where(known, shown, axis=0)
    orientation = facts["turned"].fillna(1).astype(int)
    own = dict(tuple(boxes.groupby("image_id")[list(CORNERS)]))
    ids = images["image_id"].tolist()
    sideways: dict[int, bool | None] = {}  # row -> whether drawn as stored, None: fits both
    for i in np.flatnonzero(known & orientation.isin(SIDEWAYS)).tolist():
        frame, seen = _size(stated, i), _size(shown, i)
        if same_shape(frame, seen) or not same_shape(frame, seen[::-1]):
            continue
        sideways[i] = _drawn_as_stored(frame, own.get(ids[i]))
        sizes.iloc[i] = frame[::-1]
    other = [
        ids[i]
        for i in np.flatnonzero(known & (shown > 0).all(axis=1)).tolist()
        if i not in sideways and not same_shape(_size(stated, i), _size(shown, i))
    ]
    text = "images were annotated in another shape than their files have: boxes will be refused"
    source.skip("wrong-shape", len(other), text, next(iter(other), ""))
    votes = {v for v in sideways.values() if v is not None}
    rule = votes.pop() if len(votes) == 1 else None
    as_stored = {i for i, v in sideways.items() if (rule if v is None else v)}
    unclear = {i for i, v in sideways.items() if v is None and rule is None and ids[i] in own}
    _say(source, orientation, sideways, as_stored=as_stored, unclear=[ids[i] for i in unclear])
    turns = pd.Series(1, index=images.index)
    turns.iloc[list(as_stored)] = orientation.iloc[list(as_stored)]
    frames = {ids[i]: (_size(stated, i), int(turns.iloc[[i]].item())) for i in as_stored}
    lost = pd.Series(False, index=images.index)
    lost.iloc[list(unclear)] = True
    return Upright(sizes=sizes, boxes=_turned(boxes, frames), turns=turns, unclear=lost)


def _drawn_as_stored(frame: Size, corners: pd.DataFrame | None) -> bool | None:
    if corners is None:
        return None
    far = corners[["x2", "y2"]].max().to_numpy(np.float64)
    stored, shown = _holds(frame, far), _holds(frame[::-1], far)
    return stored if stored != shown else None


def _holds(frame: Size, far: NDArray[np.float64]) -> bool:
    return bool((far <= np.array(frame) + SLACK_PX).all())


def _size(sizes: pd.DataFrame, row: int) -> Size:
    width, height = sizes[["width", "height"]].iloc[row].tolist()
    return int(width), int(height)


def _turned(boxes: pd.DataFrame, frames: dict[str, tuple[Size, int]]) -> pd.DataFrame:
    out = boxes.copy()
    for image, (frame, orientation) in frames.items():
        rows = out["image_id"] == image
        corners = out.loc[rows, list(CORNERS)].to_numpy(np.float64)
        out.loc[rows, list(CORNERS)] = turn_boxes(corners, orientation, frame)
    return out


def _say(
    source: Source,
    orientation: pd.Series[int],
    sideways: dict[int, bool | None],
    as_stored: set[int],
    unclear: list[str],
) -> None:
    taken = int((orientation != 1).sum()) - len(sideways)
    source.note(taken, "images are turned by EXIF: annotated as they are shown")
    text = "images are turned by EXIF, their annotations were drawn unturned and are turned along"
    source.note(len(as_stored), text)
    text = "images are turned by EXIF and their boxes fit either way: unknown; save them upright"
    source.skip("turn-unclear", len(unclear), text, next(iter(unclear), ""))
