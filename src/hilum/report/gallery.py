"""Pictures for the report: best, worst, missed, false alarms; truth and every model side by side.

Puts radiographs into the page: only where the licence of the set allows it. Knows no metric of
its own; which images are shown is decided by the first model that gives boxes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hilum.core.errors import DataError, InputRefused
from hilum.data.catalog import Catalog
from hilum.data.pixels import open_radiograph
from hilum.evaluate.cases import Cases
from hilum.evaluate.challenges.rsna import rsna_per_image
from hilum.evaluate.models import EvaluatedModel
from hilum.report.drawing import PREDICTION, TRUTH, Canvas, base, data_uri, draw_boxes

Float = NDArray[np.float64]

SIDE = 380  # px, long side of a picture
TRIED = 3  # images looked at for each that is shown: some may be unreadable
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
    """One image: its truth, then what each model predicts."""

    image_id: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Gallery:
    """Images of one kind."""

    title: str
    caption: str
    shots: tuple[Shot, ...]
    unreadable: int  # images passed over


def galleries(catalog: Catalog, models: Sequence[EvaluatedModel], each: int) -> list[Gallery]:
    """Up to `each` images of each kind; kinds without an image are left out.

    Args:
        catalog: where the pixels are; images without, or that cannot be read, are passed over.
        models: evaluated on the same images.
    """
    place = dict(zip(catalog.table["image_id"], catalog.table["path"], strict=True))
    ids = models[0].cases.rows["image_id"]
    readable = np.array([bool(place[name]) for name in ids], np.bool_)
    out = []
    first = next((model for model in models if model.cases.detects), models[0])
    for title, rows in chosen(first.cases, first.evaluation.threshold).items():
        shots: list[Shot] = []
        unreadable = 0
        for row in [row for row in rows if readable[row]][: TRIED * each]:
            if len(shots) == each:
                break
            try:
                shots.append(_shot(catalog, str(place[ids.iat[row]]), models, row))
            except (DataError, InputRefused):
                unreadable += 1
        if shots:
            out.append(Gallery(title, WORDS[title], tuple(shots), unreadable))
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


def _shot(catalog: Catalog, path: str, models: Sequence[EvaluatedModel], row: int) -> Shot:
    radiograph = open_radiograph(catalog.root, path)
    record = models[0].cases.rows.iloc[row]
    # Boxes are of the catalog's frame, which may be another size than the file.
    frame = (int(record["width"]), int(record["height"]))
    width, height = frame if min(frame) > 0 else (radiograph.width, radiograph.height)
    canvas = Canvas(width=width, height=height, sides=(SIDE, SIDE))
    truth = models[0].cases.truth[row]
    clean = base(radiograph, canvas)
    draw_boxes(clean, canvas, truth, TRUTH)
    panels = [Panel(_count(len(truth)), data_uri(clean))]
    for model in models:
        boxes, scores = model.cases.predictions[row]
        keep = scores >= model.evaluation.threshold
        picture = clean.copy()
        draw_boxes(picture, canvas, boxes[keep], PREDICTION)
        values = ", ".join(f"{s:.2f}" for s in sorted(scores[keep], reverse=True))
        top = f"image {model.cases.score[row]:.2f}"
        said = f"boxes {values or 'none'}" if model.cases.detects else "gives no boxes"
        panels.append(Panel(f"{model.name}: {said}; {top}", data_uri(picture)))
    return Shot(str(record["image_id"]), tuple(panels))


def _count(boxes: int) -> str:
    return f"Truth: {boxes} box{'' if boxes == 1 else 'es'}"
