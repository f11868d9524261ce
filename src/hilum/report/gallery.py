"""Pictures for the report: best, worst, missed, false alarms; truth and every model side by side.

Puts radiographs into the page: only where the licence of the set allows it. Knows no metric of
its own; which images are shown is decided by the first model.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from hilum.core.geometry import transform_boxes
from hilum.data.catalog import Catalog
from hilum.data.pixels import open_radiograph
from hilum.evaluate.cases import Cases
from hilum.evaluate.challenges.rsna import rsna_per_image
from hilum.report.overlay import Canvas, Colour, Picture, base, draw_box
from hilum.report.plots import Judged

Float = NDArray[np.float64]

SIDE = 300  # px, long side of a picture
QUALITY = 82  # of JPEG
TRUE_INK: Colour = (70, 210, 200)
SAID_INK: Colour = (255, 176, 0)
WORDS = {
    "Best": "Finding there, highest RSNA score of the image.",
    "Worst": "Finding there and boxes shown, lowest RSNA score of the image.",
    "Missed": "Finding there and no box shown, lowest score first.",
    "False alarms": "No finding and boxes shown, highest score first.",
}


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture with its words."""

    words: str
    picture: str  # data URI


@dataclass(frozen=True, slots=True)
class Shot:
    """One image: its truth, then what each model said."""

    image_id: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Gallery:
    """Images of one kind."""

    title: str
    caption: str
    shots: tuple[Shot, ...]


def galleries(catalog: Catalog, models: Sequence[Judged], each: int) -> list[Gallery]:
    """Up to `each` images of each kind; kinds without an image are left out.

    Args:
        catalog: where the pixels are; images without are passed over.
        models: judged on the same images.

    Raises:
        DataError, InputRefused: an image that cannot be read.
    """
    place = dict(zip(catalog.table["image_id"], catalog.table["path"], strict=True))
    ids = models[0].cases.rows["image_id"]
    readable = np.array([bool(place[name]) for name in ids], np.bool_)
    out = []
    for title, rows in chosen(models[0].cases, models[0].judgement.threshold).items():
        shots = tuple(
            _shot(catalog, str(place[ids.iat[row]]), models, row)
            for row in [row for row in rows if readable[row]][:each]
        )
        if shots:
            out.append(Gallery(title, WORDS[title], shots))
    return out


def chosen(cases: Cases, threshold: float) -> dict[str, list[int]]:
    """Rows of each kind, the most telling first."""
    shown = cases.shown(threshold)
    score = rsna_per_image(cases.truth, shown)
    sick = np.array([len(t) > 0 for t in cases.truth], np.bool_)
    marked = np.array([len(s) > 0 for _, s in shown], np.bool_)
    surest = -cases.score

    def ordered(rows: NDArray[np.bool_], *keys: Float) -> list[int]:
        kept = np.flatnonzero(rows & cases.boxed)
        return [int(i) for i in kept[np.lexsort([key[kept] for key in reversed(keys)])]]

    return {
        "Best": ordered(sick & marked & (score > 0), -score, surest),
        "Worst": ordered(sick & marked, score, surest),
        "Missed": ordered(sick & ~marked, cases.score),
        "False alarms": ordered(~sick & marked, surest),
    }


def _shot(catalog: Catalog, path: str, models: Sequence[Judged], row: int) -> Shot:
    radiograph = open_radiograph(catalog.root, path)
    canvas = Canvas(radiograph.width, radiograph.height, (SIDE, SIDE))
    clean = base(radiograph, canvas)
    truth = models[0].cases.truth[row]
    panels = [Panel(_count(len(truth)), _encoded(_drawn(clean, canvas, truth, TRUE_INK)))]
    for model in models:
        boxes, scores = model.cases.predictions[row]
        keep = scores >= model.judgement.threshold
        with_truth = _drawn(clean, canvas, truth, TRUE_INK)
        picture = _encoded(_drawn(with_truth, canvas, boxes[keep], SAID_INK))
        said = ", ".join(f"{s:.2f}" for s in sorted(scores[keep], reverse=True))
        top = f"image {model.cases.score[row]:.2f}"
        panels.append(Panel(f"{model.name}: boxes {said or 'none'}; {top}", picture))
    return Shot(str(models[0].cases.rows["image_id"].iat[row]), tuple(panels))


def _count(boxes: int) -> str:
    return f"Truth: {boxes} box{'' if boxes == 1 else 'es'}"


def _drawn(picture: Picture, canvas: Canvas, boxes: Float, colour: Colour) -> Picture:
    out = picture.copy()
    for box in transform_boxes(boxes, canvas.matrix).reshape(-1, 4):
        draw_box(out, canvas, box.astype(np.float32), colour)
    return out


def _encoded(picture: Picture) -> str:
    bgr = np.ascontiguousarray(picture[:, :, ::-1])
    _, content = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return "data:image/jpeg;base64," + base64.b64encode(content.tobytes()).decode()
