"""The images of a run: its sources split by patient, prepared at one size, counted.

Knows no network and no folder of a run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hilum.core.errors import DataError
from hilum.core.progress import doing, say
from hilum.train.cache import cached_rows
from hilum.train.evaluation import HeldOut, hold
from hilum.train.recipe import Recipe
from hilum.train.samples import Prepared, PreparedImage, without_copies
from hilum.train.sources import Source, open_sources
from hilum.train.splits import PARTS, Parts, split_sources

SHOWN = 20  # names in a message


@dataclass(slots=True)
class Images:
    """The images of a run at one size, and what was left out of them."""

    train: list[PreparedImage]
    held_out: dict[str, HeldOut]  # "validation", "test"
    unreadable: dict[str, str] = field(default_factory=dict)  # source/image -> reason
    copies: int = 0  # training images that show a held-out image


@dataclass(frozen=True, slots=True, eq=False)
class RunData:
    """The sources of a run, and which of their rows are in which part."""

    recipe: Recipe
    folder: Path  # that the sources lie in, or a catalog file
    sources: Sequence[Source]
    parts: Parts
    rows: Mapping[str, Mapping[str, list[int]]]  # part -> source -> rows
    cache: Path

    @classmethod
    def read(cls, recipe: Recipe, folder: Path, *, cache: Path, split: Path | None) -> RunData:
        """Catalogs read and split; no image is opened.

        Raises:
            ConfigError, DataError: as `open_sources` and `split_sources`.
        """
        doing(f"{recipe.name}: reading catalogs")
        sources = open_sources(recipe, folder)
        parts = split_sources(recipe, sources, split)
        return cls(
            recipe=recipe,
            folder=folder,
            sources=sources,
            parts=parts,
            rows=parts.rows(sources, recipe.fold),
            cache=cache,
        )

    def images(self, size: int) -> Images:
        """Every part prepared at one size; copies of held-out images are not trained on."""
        spec, ready = self.recipe.spec_at(size), dict[str, dict[str, Prepared]]()
        for part in PARTS:
            for one in self.sources:
                own = self.rows[part][one.name]
                if part == "train":  # what is not trusted may be all that is known of an image
                    own = [row for row in own if one.teaching[row]]
                kept = self.cache if one.options.cache else None
                ready.setdefault(part, {})[one.name] = cached_rows(one, own, spec, kept)
        held_out = {part: hold(self.sources, ready[part]) for part in PARTS if part != "train"}
        train = [image for one in self.sources for image in ready["train"][one.name].images]
        away = [image for part in held_out.values() for image in part.images]
        images = without_copies(train, away)
        lost = {
            k: v
            for part in ready.values()
            for one in part.values()
            for k, v in one.unreadable.items()
        }
        for name, reason in list(lost.items())[:SHOWN]:
            say("left out, cannot be read: %s: %s", name, reason)
        if len(lost) > SHOWN:
            say("and %d more, see data.json", len(lost) - SHOWN)
        counts = {"train": len(images), **{part: len(one) for part, one in held_out.items()}}
        say(
            "%s at %d px; %d copies of held-out images left out",
            ", ".join(f"{part} {count}" for part, count in counts.items()),
            size,
            len(train) - len(images),
        )
        return Images(
            train=images, held_out=held_out, unreadable=lost, copies=len(train) - len(images)
        )

    def account(self, images: Images) -> dict[str, Any]:
        """What data.json says: where from, how many, what was left out and why."""
        counts = {"train": len(images.train), **{p: len(one) for p, one in images.held_out.items()}}
        filtered = {
            f"{one.name}: {reason}": n for one in self.sources for reason, n in one.left_out.items()
        }
        return {
            "set": ", ".join(one.name for one in self.sources),
            "folder": str(self.folder.resolve()),
            "images": counts,
            "sources": {
                one.name: {
                    "set": one.catalog.name,
                    "licence": one.catalog.licence,
                    "train": sum(image.source == one.name for image in images.train),
                    **{
                        part: len(held_out.of(one.name))
                        for part, held_out in images.held_out.items()
                    },
                }
                for one in self.sources
            },
            "left_out": {
                **filtered,
                **self.parts.left_out,
                "copies of held-out images": images.copies,
                "unreadable": len(images.unreadable),
            },
            "unreadable": images.unreadable,
            "notes": [note for one in self.sources for note in one.catalog.notes],
        }

    @property
    def content(self) -> str:
        """All that tells one data set and split from another."""
        tables = {
            one.name: one.lessons.table.to_json(orient="records", default_handler=str)
            for one in self.sources
        }
        return f"{tables}{self.rows}"


def check_images(recipe: Recipe, images: Images) -> None:
    """Raises DataError where there is nothing to train on, or to choose the best epoch by."""
    if not images.train:
        raise DataError(f"recipe {recipe.name}: no image is left to train on")
    if not images.held_out["validation"].images and _validates(recipe):
        raise DataError(
            f"recipe {recipe.name}: no validation image is left; a larger share of "
            "hold_out.validation, or more images, are needed"
        )


def _validates(recipe: Recipe) -> bool:
    shares = [one.hold_out.validation for one in recipe.data if one.hold_out is not None]
    return recipe.fold is not None or any(shares)
