"""A sheet of what a recipe's augmentation makes of its images: boxes and masks move along."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hilum.augment.policy import policy
from hilum.augment.sample import Sample
from hilum.core.errors import DataError
from hilum.report.drawing import (
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
from hilum.train.loader import Batches
from hilum.train.recipe import Recipe
from hilum.train.samples import LUNGS, PreparedImage, prepare_rows
from hilum.train.sources import open_sources

MASK, LUNG = (255, 176, 0), (120, 170, 230)
LOOKED_AT = 8  # images read for each that is shown, to find some with boxes
SIDE = 256


@dataclass(frozen=True, slots=True)
class Preview:
    png: bytes
    images: int
    boxes: int  # drawn, over all tiles


def preview(
    recipe: Recipe, data: Path, *, images: int = 4, samples: int = 5, seed: int = 0
) -> Preview:
    """Each row: an image as prepared, then `samples` augmented copies of it as training draws.

    Images with boxes or opacity masks come first.

    Raises:
        ConfigError: an augmentation that does not exist.
        DataError: a set is not there, or none of its images can be read.
    """
    change = policy(recipe.augment)
    candidates = _images(recipe, data, images * LOOKED_AT, seed)
    shown = _chosen(candidates, images)
    tiles, boxes = [], 0
    for row, image in enumerate(shown):

        def draw(
            number: int, rng: np.random.Generator, own: PreparedImage = image
        ) -> PreparedImage:
            # A mixture's further parts are any other images.
            return own if number < samples else candidates[int(rng.integers(len(candidates)))]

        batches = Batches(
            draw, change, recipe.spec, recipe.names, batch=1, start=0, batches=1, seed=seed + row
        )
        copies = [batches.sample(number) for number in range(samples)]
        boxes += sum(len(one.boxes_px) for one in copies)
        tiles.append(_tile(image.sample(recipe.names.masks), f"{image.source}, as prepared"))
        tiles += [_tile(one, recipe.augment if not i else "") for i, one in enumerate(copies)]
    return Preview(encoded(sheet(tiles, samples + 1)), len(shown), boxes)


def _images(recipe: Recipe, data: Path, count: int, seed: int) -> list[PreparedImage]:
    """So many random images, from every source of the first stage alike."""
    mix = recipe.mix_of(next(iter(recipe.stages)))
    sources = [
        one for one in open_sources(recipe, data) if mix is None or mix.get(one.group, 0) > 0
    ]
    each, out = -(-count // len(sources)), []
    for source in sources:
        order = np.random.default_rng(seed).permutation(len(source.catalog))
        out += prepare_rows(source, sorted(order[:each].tolist()), recipe.spec).images
    if not out:
        raise DataError(f"recipe {recipe.name}: no image of {data} can be read")
    return out


def _chosen(images: list[PreparedImage], count: int) -> list[PreparedImage]:
    """Those with most to see, and of these one of each group in turn."""
    left, chosen = list(images), list[PreparedImage]()
    while left and len(chosen) < count:
        groups = [one.group for one in chosen]
        best = min(left, key=lambda one: (groups.count(one.group), -_to_see(one)))
        chosen.append(best)
        left = [one for one in left if one is not best]
    return sorted(chosen, key=_to_see, reverse=True)


def _to_see(image: PreparedImage) -> int:
    drawn = [name for name, mask in image.masks.items() if (mask == 1).any()]
    return 2 * bool(set(drawn) - set(LUNGS)) + bool(drawn)


def _tile(sample: Sample, words: str) -> Picture:
    canvas = canvas_of(sample.image.shape, SIDE)
    picture = base(sample.image, canvas)
    for name, mask in sample.masks.items():
        draw_outline(picture, canvas, mask == 1, LUNG if name in LUNGS else MASK)
    for box, label in zip(sample.boxes_px, sample.labels, strict=True):
        draw_box(picture, canvas, box, colour=TRUTH, words=label)
    if words:
        draw_words(picture, words, 5, SIDE - 22, size=12)
    return picture
