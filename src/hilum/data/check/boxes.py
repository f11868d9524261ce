"""What is wrong with the boxes of a catalog, each alone and all of a set together.

Knows the catalog, no file. Rules of a set rest on where findings of chests lie; none of them
holds for one of nine sets or of the 21 labels of NIH and ChestX-Det; of their 26,600 boxes three
lie in a corner.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from hilum.data.catalog import Catalog

Float = NDArray[np.float64]
Problem = tuple[str, str, str]

MANY_BOXES = 12  # from which on what all boxes share is no chance
MANY_CENTRES = 50
MIDLINE = (0.41, 0.6)  # of the width; the centres of real sets and labels have means of .45 to .58
CORNER = 0.55  # of an image: both lungs reach beyond it
NOWHERE = 0.2  # of width and height: no finding lies so far up and to the left
LARGER = 1.1  # than the image: no hasty hand
WHOLE = 0.95  # of the image
TOLERANCE_PX = 0.5  # label tables hold rounded corners
TWICE = 0.9  # IoU of boxes that two readers hardly draw


def box_problems(catalog: Catalog) -> Iterator[Problem]:
    """image_id, code, text of each problem."""
    table = catalog.table
    columns = (table[c] for c in ("image_id", "boxes", "box_labels", "width", "height"))
    for image, flat, labels, width, height in zip(*columns, strict=True):
        if flat is not None and len(flat):
            boxes = np.reshape(flat, (-1, 4)).astype(np.float64)
            for code, text in _of_image(boxes, list(labels), (width, height)):
                yield str(image), code, text
    yield from _of_set(catalog)


def _of_image(boxes: Float, labels: list[str], size: tuple[int, int]) -> Iterator[tuple[str, str]]:
    known = min(size) > 0
    limits = np.array(size * 2, np.float64) if known else np.full(4, np.inf)
    inside = boxes.clip(0, limits)
    empty = ((inside[:, 2:] - inside[:, :2]) <= 0).any(axis=1)
    outside = (np.abs(boxes - inside) > TOLERANCE_PX).any(axis=1)
    for box in boxes[empty]:
        yield "box-empty", f"box {box.tolist()} has no area in the image{_hint(box, limits)}"
    for box in boxes[outside & ~empty]:
        yield "box-outside", f"box {box.tolist()} leaves the image{_hint(box, limits)}"
    sides = boxes[:, 2:] - boxes[:, :2]
    tiny = ~empty & (sides <= 1).all(axis=1)
    if tiny.any():
        yield "box-tiny", f"{tiny.sum()} of {len(boxes)} boxes are no larger than a pixel"
    if known:
        yield from _of_frame(boxes[~empty & ~tiny], limits)
    for first, second in _twins(boxes, labels):
        yield "box-twice", f"boxes {first.tolist()} and {second.tolist()} of one label are the same"


def _of_frame(boxes: Float, limits: Float) -> Iterator[tuple[str, str]]:
    """Boxes where no finding lies, and such as hold everything."""
    parts = boxes / limits
    for box in boxes[(parts[:, 2:] <= NOWHERE).all(axis=1)]:
        yield (
            "box-in-corner",
            f"box {box.tolist()} lies in the first {NOWHERE:.0%} of width and height",
        )
    sides = parts[:, 2:].clip(0, 1) - parts[:, :2].clip(0, 1)
    for box in boxes[(sides >= WHOLE).all(axis=1)]:
        yield "box-whole", f"box {box.tolist()} holds the whole image"


def _twins(boxes: Float, labels: list[str]) -> Iterator[tuple[Float, Float]]:
    """Pairs of one label that cover each other."""
    for second in range(1, len(boxes)):
        near, far = boxes[second, :2], boxes[second, 2:]
        before = boxes[:second]
        overlap = (np.minimum(far, before[:, 2:]) - np.maximum(near, before[:, :2])).clip(0)
        areas = (before[:, 2:] - before[:, :2]).prod(axis=1) + (far - near).prod()
        covered = overlap.prod(axis=1) > TWICE * (areas - overlap.prod(axis=1))
        same = (before == boxes[second]).all(axis=1) | covered
        for first in np.flatnonzero(same).tolist():
            if labels[first] == labels[second]:
                yield boxes[first], boxes[second]
                break


def _hint(box: Float, limits: Float) -> str:
    """Which other convention puts a box that leaves its image inside."""
    (x, y), far = box[:2], box[2:]
    sides = far - box[:2]
    readings = {
        "its width and height were corners (x2, y2)": (x, y, *sides),
        "x and y changed places": (y, x, far[1], far[0]),
        "its first two numbers were its centre": (*(box[:2] - sides / 2), *(far - sides / 2)),
        "its centre were its corner": (*(box[:2] + sides / 2), *(far + sides / 2)),
    }
    for words, (x1, y1, x2, y2) in readings.items():
        if 0 <= x1 < x2 <= limits[0] and 0 <= y1 < y2 <= limits[1]:
            return f"; it would not if {words}: is it so?"
    larger = np.isfinite(limits[2:]).all() and (far > LARGER * limits[2:]).any()
    return "; was it drawn on a larger copy?" if larger else ""


def _of_set(catalog: Catalog) -> Iterator[Problem]:
    """What no box alone shows, and all of a set do."""
    drawn = [(row, catalog.exact_boxes(row)) for row in range(len(catalog))]
    own = [(row, known[0]) for row, known in drawn if known is not None and len(known[0])]
    if not own:
        return
    boxes = np.concatenate([part for _, part in own])
    frames = np.concatenate(
        [np.tile(np.array(catalog.frame(r), float), (len(p), 2)) for r, p in own]
    )
    code, text = shared(boxes, frames, "boxes")
    images = catalog.table["image_id"].iloc[[row for row, _ in own]].map(str)
    yield from ((image, code, text) for image in images if code)


def shared(boxes: Float, frames: Float, what: str) -> tuple[str, str]:
    """Code and words of what all boxes, or what masks lie in, have in common; or blanks."""
    count = f"{len(boxes)} {what}"
    if len(boxes) < MANY_BOXES:
        return "", ""
    if (boxes[:, 2:] > 2 * boxes[:, :2]).all() and (boxes[:, :2] > 0).all():
        return "boxes-as-corners", f"{count}: each is wider than its x and higher than its y"
    if frames.min() <= 0:
        return "", ""
    parts = boxes / frames
    reach = parts[:, 2:].max(axis=0)
    if reach.min() <= CORNER / 2 or reach.max() <= CORNER:
        return "boxes-in-a-corner", f"{count} lie in the first {reach[0]:.0%} of width, " + (
            f"{reach[1]:.0%} of height"
        )
    if _transposed(boxes, parts):
        text = f"{count} lie on the midline, above and below the middle"
        return "boxes-transposed", f"{text}, as if x and y had changed places"
    return _off_midline(parts, count)


def _off_midline(parts: Float, count: str) -> tuple[str, str]:
    """Lungs are symmetrical: where boxes are not, a corner may be read as a centre."""
    left, right = parts[:, [0, 2]].mean(axis=0)
    centre = (left + right) / 2
    if len(parts) < MANY_CENTRES or MIDLINE[0] <= centre <= MIDLINE[1]:
        return "", ""
    text = f"{count} have centres that lie at {centre:.0%} of the width in the mean"
    near = {"right edges: are these": right, "left edges: are those": left}
    words, edge = min(near.items(), key=lambda pair: abs(pair[1] - 0.5))
    hint = f", their {words} the centres" if abs(edge - 0.5) < 0.05 else ""
    return "boxes-off-midline", f"{text}{hint}?" if hint else text


def _transposed(boxes: Float, parts: Float) -> bool:
    """Lungs lie beside the midline, findings of them are high rather than wide; here above and
    below the middle, and wide. Hearts are wide and on the midline, and half-way down."""
    centres = (parts[:, :2] + parts[:, 2:]) / 2
    on_midline, half_way = (np.abs(centres - 0.5) < 0.1).mean(axis=0)
    above, below = (centres[:, 1] < 0.42).mean(), (centres[:, 1] > 0.58).mean()
    sides = boxes[:, 2:] - boxes[:, :2]
    wide = (sides[:, 0] > sides[:, 1]).mean()
    return bool(wide > 0.6 and on_midline > 0.35 and half_way < 0.15 and min(above, below) > 0.2)
