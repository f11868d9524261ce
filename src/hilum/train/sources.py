"""The sources of a recipe: catalogs read and filtered, and what each of them teaches.

Opens no image and splits nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hilum.core.errors import DataError
from hilum.core.options import unknown
from hilum.core.progress import say
from hilum.data.box_masks import with_box_masks
from hilum.data.catalog import FORMS, Catalog, open_catalog
from hilum.data.registry import load
from hilum.data.sets import SETS
from hilum.data.split import sample
from hilum.dicom.plane import LATERAL
from hilum.models.model import Targets
from hilum.train.options import SourceOptions
from hilum.train.recipe import Recipe

Bool = NDArray[np.bool_]
ADULT = 18  # years
CATALOG = ".parquet"


@dataclass(frozen=True)
class Source:
    """One source: the rows of its catalog that are left, as annotated.

    `left_out` says what the filters took away: reason -> images.
    """

    options: SourceOptions
    catalog: Catalog
    targets: Targets
    left_out: Mapping[str, int]

    @property
    def name(self) -> str:
        """Unique among a recipe's sources."""
        return self.options.own_name

    @property
    def group(self) -> str:
        """What stages mix it by."""
        return self.options.own_group

    @cached_property
    def lessons(self) -> Catalog:
        """The same rows with what the source does not teach unknown: what the network learns.

        Evaluation looks at `catalog`: that an annotation is not trusted does not change the truth.
        """
        table = self.catalog.table.copy()
        for what, conditions in self.options.distrust.items():
            _forget(table, self._columns(what), _any_holds(table, conditions, self.name))
        everything = np.ones(len(table), bool)
        for kind in {"boxes", "masks", "classes", "findings"} - {*self.options.teaches}:
            names = ("boxes",) if kind == "boxes" else getattr(self.targets, kind)
            for name in names:
                _forget(table, self._columns(name), everything)
        return Catalog(self.catalog.name, table, self.catalog.root, self.catalog.notes)

    @cached_property
    def teaching(self) -> Bool:
        """(images,) whether the network can learn anything of it."""
        return _annotated(self, self.lessons.table)

    def mask_columns(self, target: str) -> list[str]:
        """The set's masks that make up a target's; none where it has nothing of the kind."""
        return [f"mask_{name}" for name in self.options.masks.get(target, (target,))]

    def target_labels(self, names: Sequence[str]) -> list[str | None]:
        """The set's box labels as the recipe calls them; None for those it does not look for."""
        own = {part: name for name, parts in self.options.box_labels.items() for part in parts}
        called = [own.get(name, name) for name in names]
        return [name if name in self.targets.labels else None for name in called]

    def _columns(self, what: str) -> list[str]:
        if what == "boxes":
            return ["boxes", "box_labels"]
        own = (*label_columns(what), *self.mask_columns(what))
        return _in(self.catalog.table, own)


def open_sources(recipe: Recipe, data: Path) -> list[Source]:
    """Every source of a recipe.

    Args:
        data: the folder that holds the sets; the one set's own; or, for a recipe of one source, a
            catalog file that takes its place.

    Raises:
        DataError: a set is not there, lacks a column, or has nothing of what the recipe is after.
    """
    sources = [_open(one, recipe, data) for one in recipe.data]
    _check_names(recipe, sources)
    return sources


def _open(options: SourceOptions, recipe: Recipe, data: Path) -> Source:
    catalog = read_catalog(options, data, alone=len(recipe.data) == 1)
    if options.box_masks:
        catalog, _ = with_box_masks(catalog)
    if data.suffix == CATALOG and not options.name:  # not the recipe's set: it is called what it is
        name = data.stem if catalog.name in FORMS else catalog.name
        own = {"name": name, "group": options.own_group}
        options = options.model_copy(update=own)
    table, left_out = catalog.table, dict[str, int]()
    keep = np.ones(len(table), bool)

    def only(reason: str, these: Any) -> None:
        lost = int((keep & ~np.asarray(these)).sum())
        if lost:
            left_out[reason] = lost
        keep[:] &= np.asarray(these)

    only("without a file", table["path"] != "")
    for column in options.known:
        only(f"{column} not annotated", _column(catalog, column).notna())
    for column in options.unknown:
        only(f"{column} annotated", _column(catalog, column).isna())
    if options.adults:
        only("under 18 years", ~(table["age"] < ADULT))  # an unknown age is no child's
    if options.frontal:
        only("lateral views", ~table["view"].str.upper().isin(LATERAL))
    draft = Source(options, catalog, recipe.names, left_out)
    only("nothing annotated that the recipe learns", _annotated(draft, table))
    chosen = catalog.where(keep)
    if not len(chosen):
        raise DataError(
            f"source {options.own_name}: none of {len(table)} images is left: "
            + ", ".join(f"{count} {reason}" for reason, count in left_out.items())
            + f". The recipe learns {_wanted(recipe.names)}; the set annotates "
            + f"{', '.join(annotated_names(catalog)) or 'nothing'}."
        )
    chosen = sample(chosen, options.sample) if options.sample else chosen
    return Source(options, chosen, recipe.names, left_out)


def read_catalog(options: SourceOptions, data: Path, *, alone: bool = True) -> Catalog:
    """A source's catalog as it is.

    NAME.parquet in the folder of the sets, a cleaned catalog perhaps, takes the place of set NAME.

    Raises:
        DataError: it is not there, or no catalog.
    """
    if data.suffix == CATALOG:
        if not alone:
            raise DataError(
                f"{data} is one catalog, but the recipe has several sources; give the folder of "
                "its sets, and the catalog as `set` of one of them"
            )
        return open_catalog(data)
    if options.set.endswith(CATALOG):
        beside = data / options.set
        return open_catalog(beside if beside.is_file() else Path(options.set))
    instead = data / f"{options.set}{CATALOG}"
    if instead.is_file():
        return open_catalog(instead)
    own = data / options.set
    folder = own if own.is_dir() and options.set not in SETS else data
    return load(options.set, folder, **options.options)


def label_columns(name: str) -> tuple[str, str]:
    """Of the image, and of its study."""
    return f"label_{name}", f"study_{name}"


def _in(table: pd.DataFrame, columns: Iterable[str]) -> list[str]:
    return [column for column in columns if column in table]


def annotated_names(catalog: Catalog) -> list[str]:
    """What a catalog says anything of: boxes by label, labels, masks."""
    table = catalog.table
    named = {str(n) for names in table["box_labels"].dropna() for n in names}
    columns = [c for c in table if str(c).startswith(("label_", "study_", "mask_"))]
    known = [str(c).replace("_", " ", 1) for c in columns if table[c].notna().any()]
    return [*(f"box {name}" for name in sorted(named)), *known]


def _column(catalog: Catalog, name: str) -> pd.Series[Any]:
    if name not in catalog.table:
        raise DataError(
            f"{catalog.name}: {unknown('column', name, map(str, catalog.table.columns))}"
        )
    return catalog.table[name]


def _annotated(source: Source, table: pd.DataFrame) -> Bool:
    """(images,) whether anything is known of what the recipe is after; the images of a challenge's
    test, which nobody annotated, are left out."""
    targets = source.targets
    out = np.zeros(len(table), bool)
    if targets.labels:
        out |= table["boxes"].notna().to_numpy()
    for name in (*targets.classes, *targets.findings):
        for column in _in(table, label_columns(name)):
            out |= table[column].notna().to_numpy()
    for name in targets.masks:
        columns = source.mask_columns(name)
        if columns and all(column in table for column in columns):
            out |= table[columns].notna().all(axis=1).to_numpy()
    return out


def _check_names(recipe: Recipe, sources: list[Source]) -> None:
    """Raises DataError where no image of any source shows what the network is to find, by name."""
    wanted = learnt(recipe)
    there = {name: sum(_shown(source, what, name) for source in sources) for what, name in wanted}
    if any(there.values()):
        lacking = [name for name, images in there.items() if not images]
        if lacking:
            say("no image shows %s", ", ".join(lacking))
        return
    known = {one.name: ", ".join(annotated_names(one.catalog)) or "nothing" for one in sources}
    raise DataError(
        f"recipe {recipe.name}: no image shows any of {', '.join(n for _, n in wanted)}, which a "
        f"{recipe.model.kind} learns. Annotated: "
        + "; ".join(f"{name}: {text}" for name, text in known.items())
        + ". Set targets, or map the names (data.box_labels.TARGET=NAME, data.masks.TARGET=NAME, "
        "or hilum data catalog --rename NAME=TARGET)."
    )


def learnt(recipe: Recipe) -> list[tuple[str, str]]:
    """(kind of annotation, name) of everything that the recipe's network has a head for."""
    return [(kind, name) for kind in recipe.model.learns for name in getattr(recipe.names, kind)]


def _shown(source: Source, kind: str, name: str) -> int:
    """How many images are known to show it."""
    table = source.lessons.table
    if kind == "labels":
        marked = table["box_labels"].map(
            lambda v: v is not None and name in source.target_labels(v)
        )
        return int(marked.sum())
    if kind == "masks":
        columns = _in(table, source.mask_columns(name))
        drawn = [table[c].map(bool) & table[c].notna() for c in columns]
        return int(np.logical_or.reduce(drawn).sum()) if drawn else 0
    columns = _in(table, label_columns(name))
    return int((table[columns] == 1).any(axis=1).sum()) if columns else 0


def _wanted(targets: Targets) -> str:
    parts = {
        "box": targets.labels,
        "class": targets.classes,
        "finding": targets.findings,
        "mask": targets.masks,
    }
    return ", ".join(f"{kind} {name}" for kind, names in parts.items() for name in names)


def _any_holds(table: pd.DataFrame, conditions: Mapping[str, float | None], source: str) -> Bool:
    out = np.zeros(len(table), bool)
    for column, value in conditions.items():
        if column not in table:
            raise DataError(
                f"source {source}: distrust: {unknown('column', column, map(str, table))}"
            )
        own = table[column]
        out |= (own.isna() if value is None else own == value).to_numpy(bool)
    return out


def _forget(table: pd.DataFrame, columns: list[str], rows: Bool) -> None:
    for column in columns:
        blank = np.nan if column.startswith(("label_", "study_")) else None
        table.loc[rows, column] = blank
