"""Who trains, who validates, who is tested: one split of all sources by patient, proved.

The splitting is `data.split`'s. Here patients are joined across sources: whoever is held out of one
is held out of all. Opens no image (`samples.without_copies` looks for copies).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from hilum.core.errors import ConfigError, DataError
from hilum.data.catalog import Catalog
from hilum.data.columns import FIXED, PREFIXES
from hilum.data.split import Split, by_patient, folds, held_patients, hold_out, open_split
from hilum.train.options import HoldOut
from hilum.train.recipe import Recipe
from hilum.train.sources import Source

PARTS = ("train", "validation", "test")
FOLD = "fold-"
ALIASES = {"val": "validation", "valid": "validation", "training": "train", "dev": "validation"}


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """The proved split, and what it left out: reason -> images."""

    split: Split
    left_out: dict[str, int]

    def rows(self, sources: Sequence[Source], fold: int | None) -> dict[str, dict[str, list[int]]]:
        """Part -> source -> its rows. With `fold` that fold validates; without, all folds train.

        Raises:
            ConfigError: there is no such fold.
        """
        part_of = self.split.table.set_index("image_id")["part"]
        roles = {part: _role(str(part), fold) for part in part_of.unique()}
        if fold is not None and "validation" not in {roles[p] for p in roles if _is_fold(str(p))}:
            raise ConfigError(f"fold {fold} is not in the split: {sorted(map(str, roles))}")
        out: dict[str, dict[str, list[int]]] = {part: {} for part in PARTS}
        for source in sources:
            named = _ids(source, sources).map(part_of).map(roles)
            for part in PARTS:
                out[part][source.name] = [int(i) for i in (named == part).to_numpy().nonzero()[0]]
        return out


def split_sources(recipe: Recipe, sources: Sequence[Source], given: Path | None = None) -> Parts:
    """Everyone's part.

    Args:
        given: a file of `hilum data split`, a run's split.json, or a list of the patients that
            are held out; else a catalog's own column `split` where it names a validation part or
            folds; else what the recipe says.

    Raises:
        ConfigError: nobody would be held out, or nobody would train.
        DataError: a patient stands in two parts.
    """
    if given is not None:
        patients = held_patients(given)
        if patients is not None:
            table = pd.concat([_people(one, sources) for one in sources], ignore_index=True)
            return Parts(by_patient(patients, table, recipe.name, recipe.seed), {})
        split = open_split(given)
        return Parts(split, _unnamed(split, sources))
    placed: dict[str, str] = {}  # patient -> part
    tables: list[pd.DataFrame] = []
    left_out: dict[str, int] = {}
    for pool in _pools(sources):
        tables.append(_split_pool(pool, sources, recipe.seed, placed))
    for source in sources:
        if _splits(source):
            continue
        table = _people(source, sources)
        held_out = table["patient"].map(placed).fillna("train") != "train"
        _count(left_out, f"{source.name}: patients held out of another source", held_out.sum())
        tables.append(table[~held_out].assign(part="train"))
    whole = pd.concat(tables, ignore_index=True)
    lost = whole["part"] == ""
    _count(left_out, "patients with another fold in another source", lost.sum())
    return Parts(Split(whole[~lost].reset_index(drop=True), recipe.seed, recipe.name), left_out)


def _pools(sources: Sequence[Source]) -> Iterable[list[Source]]:
    """Sources that are split, by pool; those that hold most out first: a set kept for a test stays
    whole."""
    pools: dict[str, list[Source]] = {}
    for source in filter(_splits, sources):
        pools.setdefault(source.options.pool or source.name, []).append(source)
    for name, members in pools.items():
        ways = {(one.options.hold_out, one.options.folds) for one in members}
        if len(ways) > 1:
            raise ConfigError(f"data: pool {name!r}: needed: the same hold_out or folds for all")
    return sorted(pools.values(), key=lambda members: -_share(members[0].options.hold_out))


def _split_pool(
    members: list[Source], sources: Sequence[Source], seed: int, placed: dict[str, str]
) -> pd.DataFrame:
    """image_id, patient, part of a pool's images; `placed` then knows their patients.

    Patients that an earlier pool placed keep their part; in a fold of another pool they have none.
    """
    people = pd.concat([_people(one, sources) for one in members], ignore_index=True)
    known = people["patient"].isin(placed.keys())
    new = people[~known]
    own = _own_parts(members, sources)
    if own is None:
        own = _made(members[0], new, seed) if len(new) else pd.Series(dtype=object)
    part = people["image_id"].map(own)
    before = people["patient"].map(placed)
    part = part.where(~known, before.where(~before.astype(str).str.startswith(FOLD), ""))
    placed.update({str(p): str(v) for p, v in zip(people["patient"], part, strict=True) if v})
    return people[["image_id", "patient"]].assign(part=part)


def _made(source: Source, people: pd.DataFrame, seed: int) -> pd.Series[Any]:
    """Image -> part, by the recipe."""
    catalog = Catalog(source.catalog.name, people)
    held_out = source.options.hold_out
    if source.options.folds:
        table = folds(catalog, source.options.folds, seed).table
        return table.set_index("image_id")["part"]
    assert held_out is not None
    train = round(1 - held_out.validation - held_out.test, 9)
    shares = {"train": train, "validation": held_out.validation, "test": held_out.test}
    shares = {part: share for part, share in shares.items() if share > 0}
    if len(shares) == 1:
        return pd.Series(next(iter(shares)), index=people["image_id"])
    table = hold_out(catalog, tuple(shares.values()), seed).table
    if len(shares) == 2:  # data.split calls two parts train and test
        table = table.assign(
            part=table["part"].map(dict(zip(("train", "test"), shares, strict=True)))
        )
    return table.set_index("image_id")["part"]


def _own_parts(members: list[Source], sources: Sequence[Source]) -> pd.Series[Any] | None:
    """Image -> part where a catalog brings its own; None where it does not."""
    own = [_people(one, sources).set_index("image_id")["split"] for one in members]
    named: pd.Series[Any] = pd.concat(own).map(lambda part: ALIASES.get(part, part))
    parts = set(named.unique())
    if parts <= {*PARTS, ""} and {"train", "validation"} <= parts:
        return named
    if {part for part in parts if part} and all(_is_fold(part) for part in parts if part):
        return named
    return None


def _splits(source: Source) -> bool:
    """Whether somebody of it is held out: the recipe says so, or the catalog itself."""
    options = source.options
    by_recipe = options.hold_out is not None or options.folds is not None
    return by_recipe or _own_parts([source], [source]) is not None


def _share(held_out: HoldOut | None) -> float:
    return held_out.validation + held_out.test if held_out is not None else 0.0


def _people(source: Source, sources: Sequence[Source]) -> pd.DataFrame:
    """A source's rows as the splitter sees them: what is annotated, ids unique over all."""
    table = source.catalog.table
    columns = [c for c in table if c in FIXED or str(c).startswith(PREFIXES)]
    return table[columns].assign(image_id=_ids(source, sources))


def _ids(source: Source, sources: Sequence[Source]) -> pd.Series[str]:
    own = source.catalog.table["image_id"]
    return own if len(sources) == 1 else f"{source.name}/" + own


def _unnamed(split: Split, sources: Sequence[Source]) -> dict[str, int]:
    """How many images a given split does not name.

    Raises:
        DataError: it names none of them.
    """
    known = set(split.table["image_id"])
    out: dict[str, int] = {}
    for source in sources:
        missing = ~_ids(source, sources).isin(known)
        if missing.all():
            raise DataError(
                f"the split of {split.catalog!r} names no image of source {source.name}; needed: a "
                "split of this catalog, or for several sources the split.json of a run of them"
            )
        _count(out, f"{source.name}: in no part of the split", missing.sum())
    return out


def _role(part: str, fold: int | None) -> str:
    if not _is_fold(part):
        return ALIASES.get(part, part)
    number = int(part.removeprefix(FOLD))  # fold-3, or fold-03 of more than ten
    return "validation" if number == fold else "train"


def _is_fold(part: str) -> bool:
    return part.startswith(FOLD) and part.removeprefix(FOLD).isdigit()


def _count(into: dict[str, int], reason: str, images: int) -> None:
    if images:
        into[reason] = int(images)
