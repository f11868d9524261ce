"""A sheet of validation images, what a network says of them beside the truth."""

from __future__ import annotations

from pathlib import Path

from hilum.core.files import write_bytes
from hilum.core.findings import Findings
from hilum.core.prepare import Preprocessing
from hilum.models.model import Model
from hilum.report.drawing import (
    PREDICTION,
    TRUTH,
    Picture,
    base,
    canvas_of,
    draw_box,
    draw_outline,
    draw_words,
    encoded,
    sheet,
)
from hilum.train.evaluation import HeldOut, predictions
from hilum.train.recipe import Recipe
from hilum.train.samples import LUNGS, PreparedImage, drawn_masks

EVERY, MOST, COLUMNS, SIDE = 5, 8, 4, 256
FLOOR = 0.3  # boxes below this score are not drawn


def shows(epoch: int) -> bool:
    """Whether an epoch is drawn: the first and every fifth."""
    return epoch == 1 or epoch % EVERY == 0


def draw_samples(
    net: Model, held_out: HeldOut, recipe: Recipe, spec: Preprocessing, *, file: Path
) -> None:
    """Some validation images, positives first."""
    chosen = sorted(held_out.images, key=lambda one: not one.positive)[: MOST // 2]
    chosen += [one for one in held_out.images if not one.positive][: MOST - len(chosen)]
    answers = predictions(net, chosen, recipe, spec)
    tiles = [_tile(one, own, recipe) for one, own in zip(chosen, answers, strict=True)]
    file.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(file, encoded(sheet(tiles, COLUMNS)))


def _tile(image: PreparedImage, findings: Findings, recipe: Recipe) -> Picture:
    """In the square, which is what the network sees."""
    canvas = canvas_of(image.image.shape, SIDE)
    picture = base(image.image, canvas)
    for name, mask in drawn_masks(image).items():
        if name not in LUNGS:
            draw_outline(picture, canvas, mask == 1, TRUTH)
    for name, own in findings.masks.items():
        if name not in LUNGS:
            draw_outline(picture, canvas, image.frame.apply(own.astype("f4")) >= 0.5, PREDICTION)
    for box in image.boxes if image.boxes is not None else ():
        draw_box(picture, canvas, box, TRUTH)
    places = image.frame.boxes_to_square(findings.boxes_px)
    for box, score in zip(places, findings.scores, strict=True):
        if score >= FLOOR:
            draw_box(picture, canvas, box, colour=PREDICTION, words=f"{score:.2f}")
    classes = {
        n: findings.image_scores[n] for n in recipe.names.classes if n in findings.image_scores
    }
    if classes:
        best = max(classes, key=lambda name: classes[name])
        draw_words(picture, f"{best} {classes[best]:.2f}", 4, SIDE - 20, size=12)
    return picture
