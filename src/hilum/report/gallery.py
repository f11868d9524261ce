"""Pictures for the report: best, worst, missed, false alarms; truth and every model side by side.

Puts radiographs into the page: only where the licence of the set allows it. Knows no metric of
its own; which images are shown is decided by the first model that gives boxes, or masks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from hilum.core.errors import DataError, InputRefused
from hilum.core.radiograph import Radiograph
from hilum.data.catalog import Catalog
from hilum.data.pixels import open_radiograph
from hilum.evaluate.cases import Cases
from hilum.evaluate.challenges.rsna import rsna_per_image
from hilum.evaluate.models import EvaluatedModel
from hilum.evaluate.segmentation import MaskEvaluation
from hilum.report.drawing import (
    PREDICTION,
    TRUTH,
    Canvas,
    Picture,
    base,
    data_uri,
    draw_boxes,
    draw_outline,
)

Float = NDArray[np.float64]

SIDE = 380  # px, long side of a picture
TRIED = 3  # images looked at for each that is shown: some may be unreadable
WORDS = {
    "Best": "Finding there, highest RSNA score of the image.",
    "Worst": "Finding there and boxes shown, lowest RSNA score of the image.",
    "Missed": "Finding there and no box shown, lowest score first.",
    "False alarms": "No finding and boxes shown, highest score first.",
}
OUTLINED = {
    "Best outlines": "Finding there, highest Dice of the image.",
    "Worst outlines": "Finding there and something outlined, lowest Dice of the image.",
    "Nothing outlined": "Finding there and an empty mask, the largest finding first.",
    "Outlined without finding": "No finding and something outlined, the largest outline first.",
}


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture with its words."""

    words: str
    picture: str  # data URI


# The panels of one row of the cases.
Draw: TypeAlias = Callable[[Radiograph, int], Iterable[Panel]]


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
    place = dict(zip(catalog.table["image_id"], map(str, catalog.table["path"]), strict=True))
    ids = models[0].cases.rows["image_id"].tolist()
    finding = models[0].cases.finding

    def gallery(title: str, caption: str, rows: Sequence[int], draw: Draw) -> Iterator[Gallery]:
        shots: list[Shot] = []
        unreadable = 0
        for row in [row for row in rows if place[ids[row]]][: TRIED * each]:
            if len(shots) == each:
                break
            try:
                radiograph = open_radiograph(catalog.root, place[ids[row]])
                shots.append(Shot(ids[row], tuple(draw(radiograph, row))))
            except (DataError, InputRefused):
                unreadable += 1
        if shots:
            yield Gallery(title, caption, tuple(shots), unreadable)

    out: list[Gallery] = []
    first = next((model for model in models if model.cases.detects), models[0])
    for title, rows in chosen(first.cases, first.evaluation.threshold).items():
        out += gallery(title, WORDS[title], rows, partial(_boxes, models))
    masks = {model.name: one for model in models for one in model.masks if one.name == finding}
    if masks:
        for title, names in outlined(next(iter(masks.values()))).items():
            rows = [ids.index(name) for name in names if name in ids]
            out += gallery(title, OUTLINED[title], rows, partial(_outlines, masks, ids))
    return out


def outlined(masks: MaskEvaluation) -> dict[str, list[str]]:
    """Images of each kind, the most telling first."""
    areas = {name: [int(one.sum()) for one in case.both()] for name, case in masks.cases.items()}

    def ordered(true: bool, drawn: bool, key: Callable[[str], float]) -> list[str]:
        kept = [n for n, (a, b) in areas.items() if (a > 0, b > 0) == (true, drawn)]
        return sorted(kept, key=key)

    hits = ordered(True, True, lambda name: masks.each[name]["dice"])
    return {
        "Best outlines": [name for name in reversed(hits) if masks.each[name]["dice"] > 0],
        "Worst outlines": hits,
        "Nothing outlined": ordered(True, False, lambda name: -areas[name][0]),
        "Outlined without finding": ordered(False, True, lambda name: -areas[name][1]),
    }


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


def _boxes(models: Sequence[EvaluatedModel], radiograph: Radiograph, row: int) -> Iterator[Panel]:
    record = models[0].cases.rows.iloc[row]
    canvas = _canvas(radiograph, int(record["width"]), int(record["height"]))
    truth = models[0].cases.truth[row]
    clean = base(radiograph, canvas)
    draw_boxes(clean, canvas, truth, TRUTH)
    yield _panel(clean, _count(len(truth)))
    for model in models:
        boxes, scores = model.cases.predictions[row]
        keep = scores >= model.evaluation.threshold
        picture = clean.copy()
        draw_boxes(picture, canvas, boxes[keep], PREDICTION)
        values = ", ".join(f"{s:.2f}" for s in sorted(scores[keep], reverse=True))
        top = f"image {model.cases.score[row]:.2f}"
        text = f"boxes {values or 'none'}" if model.cases.detects else "gives no boxes"
        yield _panel(picture, f"{model.name}: {text}; {top}")


def _outlines(
    masks: Mapping[str, MaskEvaluation], ids: Sequence[str], radiograph: Radiograph, row: int
) -> Iterator[Panel]:
    """Of the models that have a mask of the image."""
    name = ids[row]
    cases = {model: one.cases[name] for model, one in masks.items() if name in one.cases}
    first = next(iter(cases.values()))
    canvas = _canvas(radiograph, first.width, first.height)
    clean = base(radiograph, canvas)
    draw_outline(clean, canvas, first.both()[0], TRUTH)
    yield _panel(clean, "Truth")
    for model, case in cases.items():
        picture, mask = clean.copy(), case.both()[1]
        draw_outline(picture, canvas, mask, PREDICTION)
        dice = f"Dice {masks[model].each[name]['dice']:.2f}"
        yield _panel(picture, f"{model}: {dice if mask.any() else f'empty; {dice}'}")


def _canvas(radiograph: Radiograph, width: int, height: int) -> Canvas:
    """Of the catalog's frame, which may be another size than the file, or unknown."""
    if min(width, height) <= 0:
        width, height = radiograph.width, radiograph.height
    return Canvas(width=width, height=height, sides=(SIDE, SIDE))


def _panel(picture: Picture, words: str) -> Panel:
    return Panel(words, data_uri(picture))


def _count(boxes: int) -> str:
    return f"Truth: {boxes} box{'' if boxes == 1 else 'es'}"
