"""Augmented copies of the smaller class, written beside the images of a catalog (E3).

Of the training part only: a copy in another part would be evaluated as an image that nobody took.
Training balances without copies (`sampling`); this is for those who want files. An image of no
square shape has square copies, padded with black, as augmentation wants it.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hilum.augment.policy import Policy, policy
from hilum.augment.sample import Sample, Step
from hilum.core.errors import ConfigError, DataError
from hilum.core.files import write_bytes
from hilum.core.geometry import Letterbox
from hilum.data.catalog import Catalog
from hilum.data.columns import COPIES
from hilum.data.formats.file_names import file_names
from hilum.data.images import ImageFormat, image_bytes, mask_bytes
from hilum.data.pixels import open_mask, open_radiograph
from hilum.data.resume import Facts, each_file
from hilum.data.sampling import enrichment

TRAIN = "train"
NO_MAP = tuple(name for name in COPIES if name != "original")  # a copy has no scale and no spacing


@dataclass(frozen=True, slots=True)
class Enrichment:
    """What to make copies by.

    Args:
        policy: name of an augmentation policy; each copy is made by one of its augmentations.
        label: image-level label of which positives and negatives are made equal.

    Raises:
        ConfigError: an unknown policy, or one without augmentations of a single image.
    """

    policy: str
    label: str
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.steps:
            raise ConfigError(f"policy {self.policy!r} changes nothing, so makes no copies")

    @property
    def steps(self) -> tuple[Step, ...]:
        return policy(self.policy).augmentations()

    def check(self, catalog: Catalog) -> None:
        """Whether the catalog can be enriched.

        Raises:
            DataError: no training part, no such label, one class only, or copies already.
        """
        self.plan(catalog)

    def plan(self, catalog: Catalog) -> list[tuple[int, int]]:
        """Row and number of the augmentation of each copy."""
        if "copy_of" in catalog.table:
            raise DataError(f"catalog {catalog.name!r} holds augmented copies already")
        train = np.flatnonzero(catalog.table["split"] == TRAIN)
        if not len(train):
            raise DataError(
                f"catalog {catalog.name!r} has no part {TRAIN!r}: only that is enriched; "
                "split it first (hilum data split) and name the file with --split"
            )
        part = catalog.where(catalog.table["split"] == TRAIN)
        rows = enrichment(part, self.label, len(self.steps), self.seed)
        return [(int(train[row]), n) for n, own in enumerate(rows) for row in own]

    def name(self, number: int) -> str:
        return f"{self.policy}: {number + 1} {type(self.steps[number]).__name__}"


def enrich(catalog: Catalog, wanted: Enrichment, files: ImageFormat, workers: int = 2) -> Catalog:
    """Write the copies below the catalog's root; its rows, then theirs (`catalog.ENRICHED`).

    The catalog is one of `images.finish`. A rerun writes only what is missing; each copy follows
    from the seed and its place in the plan alone.

    Raises:
        ConfigError: the folder holds copies of another enrichment.
        DataError: as `Enrichment.check`.
    """
    plan = wanted.plan(catalog)
    words = f"{wanted.policy}-{wanted.label}-{wanted.seed}"
    memory = catalog.root / f"copies-{file_names([words])[words]}.jsonl"
    others = set(catalog.root.glob("copies-*.jsonl")) - {memory}
    if others:
        raise ConfigError(f"{others.pop()} is of copies by other options; take a new folder")
    out = _with_copies(catalog, plan, wanted)
    stems = file_names(out["image_id"])
    rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for place, (row, number) in enumerate(plan):
        new = {str(k): v for k, v in out.iloc[len(catalog) + place].items()}
        rows[str(catalog.table["path"].iat[row])].append(new | {"place": place, "step": number})

    places = {path: i for i, path in enumerate(catalog.table["path"])}

    def work(path: str) -> Facts:
        own = _sample(catalog, places[path])
        return {
            "of": _drawn_on(catalog, places[path]),
            "copies": [
                _write(
                    own, new, wanted, files=files, root=catalog.root, stem=stems[new["image_id"]]
                )
                for new in rows[path]
            ],
        }

    def holds(facts: Facts) -> bool:
        steps = [(copy["place"], copy["step"]) for copy in facts["copies"]]
        names = [n for copy in facts["copies"] for n in (copy["path"], *copy["masks"].values())]
        wanted_ones = [(new["place"], new["step"]) for new in rows[facts["path"]]]
        same = facts.get("of") == _drawn_on(catalog, places[facts["path"]])
        there = all((catalog.root / name).is_file() for name in names)
        return same and there and steps == wanted_ones

    facts = each_file(catalog.root, rows, work, memory=memory, workers=workers, holds=holds)
    for copy in (copy for one in facts for copy in one["copies"]):
        at = len(catalog) + copy["place"]
        for column in ("path", "width", "height", "boxes", "box_labels"):
            out.at[at, column] = copy[column]
        for column, name in copy["masks"].items():
            out.at[at, column] = name
    note = f"enriched by {wanted.policy} for {wanted.label}: {len(plan)} augmented copies"
    return replace(catalog, table=out, notes=(*catalog.notes, note))


def _drawn_on(catalog: Catalog, row: int) -> str:
    """What is drawn on an image, as text: copies of an earlier run count while it is the same."""
    columns = [c for c in map(str, catalog.table) if c.startswith("mask_")]
    boxes = catalog.boxes(row)
    drawn = None if boxes is None else (boxes[0].tolist(), boxes[1])
    return repr([drawn, [catalog.table[c].iat[row] for c in columns]])


def _with_copies(catalog: Catalog, plan: list[tuple[int, int]], wanted: Enrichment) -> pd.DataFrame:
    """The table with a row for each copy at its end, so far like the row it is made from."""
    count = len(catalog)
    out = catalog.table.iloc[[*range(count), *(row for row, _ in plan)]].reset_index(drop=True)
    copies = out.index >= count
    out["copy_of"] = out["image_id"].where(copies, "")
    out["augment"] = [""] * count + [wanted.name(number) for _, number in plan]
    names = [f"{i}+{place}" for place, i in enumerate(out["image_id"][count:])]
    out["image_id"] = [*out["image_id"][:count], *names]
    for column in NO_MAP:
        if column in out:
            out[column] = out[column].mask(copies)
    return out


def _sample(catalog: Catalog, place: int) -> Sample:
    """The image of a row as it is, padded to a square, and what is drawn on it."""
    row = {str(k): v for k, v in catalog.table.iloc[place].items()}
    radiograph = open_radiograph(catalog.root, row["path"])
    width, height = radiograph.width, radiograph.height
    square = Letterbox(width, height, max(width, height))
    drawn = catalog.boxes_in(place, width, height)
    boxes, labels = (np.zeros((0, 4)), []) if drawn is None else drawn
    masks = {
        name: square.apply(open_mask(catalog.root, reference, height, width).astype(np.uint8))
        for name, reference in row.items()
        if name.startswith("mask_") and reference
    }
    return Sample(
        square.apply(radiograph.pixels),
        square.boxes_to_square(boxes.astype(np.float32)),
        tuple(labels),
        masks,
        boxed=drawn is not None,
    )


def _write(
    own: Sample, new: dict[str, Any], wanted: Enrichment, files: ImageFormat, root: Path, stem: str
) -> Facts:
    rng = np.random.default_rng([wanted.seed, new["place"]])
    copy = Policy((wanted.steps[new["step"]],))(own, rng)
    image = f"images/{stem}.{files.form}"
    write_bytes(root / image, image_bytes(copy.image, files))
    masks = {}
    for name, mask in copy.masks.items():
        masks[name] = f"masks/{name.removeprefix('mask_')}/{stem}.png"
        write_bytes(root / masks[name], mask_bytes(mask == 1))
    side = copy.image.shape[0]
    return {
        **{"place": new["place"], "step": new["step"], "path": image},
        **{"width": side, "height": side, "masks": masks},
        "boxes": copy.boxes_px.ravel().tolist() if copy.boxed else None,
        "box_labels": list(copy.labels) if copy.boxed else None,
    }
