"""A sheet of what a recipe's augmentation makes of its images: boxes and masks move along."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hilum.augment.policy import policy
from hilum.augment.sample import Sample
from hilum.core.errors import DataError
from hilum.data.catalog import Catalog
from hilum.train.feed import Feed
from hilum.train.loop import spec_of, targets_of
from hilum.train.recipe import Recipe
from hilum.train.run import catalog_of
from hilum.train.samples import SIDE, outline, rectangle, sheet, text, tile
from hilum.train.store import LUNGS, Item, load_catalogs, prepare_items

BOX, MASK, LUNG, WORD = (80, 220, 80), (60, 140, 255), (230, 180, 90), (255, 255, 255)  # BGR
LOOKED_AT = 8  # images read for each that is shown, to find some with boxes
GAP = 3


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
        DataError: the set is not there, or empty.
    """
    spec, targets, change = spec_of(recipe), targets_of(recipe), policy(recipe.augment)
    items = _items(recipe, data, images * LOOKED_AT, seed)
    shown = _chosen(items, images)
    tiles, boxes = [], 0
    for row, item in enumerate(shown):

        def draw(number: int, rng: np.random.Generator, own: Item = item) -> Item:
            # A mixture's further parts are any other images.
            return own if number < samples else items[int(rng.integers(len(items)))]

        feed = Feed(draw, change, spec, targets, batch=1, start=0, batches=1, seed=seed + row)
        made = [feed.sample(number) for number in range(samples)]
        boxes += sum(len(one.boxes_px) for one in made)
        tiles.append(_tile(item.sample(targets.masks), f"{item.group}, as prepared"))
        tiles += [_tile(one, recipe.augment if not i else "") for i, one in enumerate(made)]
    return Preview(sheet(tiles, samples + 1), len(shown), boxes)


def _items(recipe: Recipe, data: Path, count: int, seed: int) -> list[Item]:
    """So many random images, from every group of the first stage alike."""
    if recipe.data is not None:
        catalog = catalog_of(recipe.data, data)
        groups = {catalog.name: catalog}
    else:
        mix = next(iter(recipe.stages.values())).mix or {}
        groups = {name: one for name, one in load_catalogs(data).items() if name in mix}
    groups = {name: catalog for name, catalog in groups.items() if len(catalog)}
    if not groups:
        raise DataError(f"recipe {recipe.name} finds no image in {data}")
    each = -(-count // len(groups))
    spec, targets = spec_of(recipe), targets_of(recipe)
    return [
        item
        for name, catalog in groups.items()
        for item in prepare_items(name, _some(catalog, each, seed), spec, targets)
    ]


def _some(catalog: Catalog, count: int, seed: int) -> Catalog:
    order = np.random.default_rng(seed).permutation(len(catalog))
    keep = np.zeros(len(catalog), bool)
    keep[order[:count]] = True
    return catalog.where(keep)


def _chosen(items: list[Item], images: int) -> list[Item]:
    """Those with most to see, and of these one of each group in turn."""
    left, chosen = list(items), list[Item]()
    while left and len(chosen) < images:
        groups = [item.group for item in chosen]
        best = min(left, key=lambda item: (groups.count(item.group), -_to_see(item)))
        chosen.append(best)
        left = [item for item in left if item is not best]
    return sorted(chosen, key=_to_see, reverse=True)


def _to_see(item: Item) -> int:
    drawn = [name for name, mask in item.masks.items() if (mask == 1).any()]
    return 2 * bool(set(drawn) - set(LUNGS)) + bool(drawn)


def _tile(sample: Sample, words: str) -> NDArray[np.uint8]:
    picture = tile(sample.image)
    for name, mask in sample.masks.items():
        outline(picture, mask == 1, LUNG if name in LUNGS else MASK)
    scale = SIDE / sample.image.shape[0]
    for box, label in zip(sample.boxes_px * scale, sample.labels, strict=True):
        rectangle(picture, box, BOX)
        text(picture, label, int(box[0]) + 3, int(box[1]) + 13, BOX)
    if words:
        text(picture, words, 5, SIDE - 8, WORD)
    picture[:, -GAP:] = picture[-GAP:] = 0
    return picture
