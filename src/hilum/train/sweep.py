"""One recipe, a few things changed, several seeds or folds: runs, one table with intervals, one
figure.

Every run is a folder of `hilum train`, so a sweep that is killed goes on where it was, and a run of
it can be looked at, exported and repeated by itself.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from pydantic import Field, model_validator

from hilum.core.documents import parse_yaml, read_document
from hilum.core.errors import ConfigError
from hilum.core.files import atomic_path, write_text
from hilum.core.options import Options, assignment, checked, unknown
from hilum.core.progress import say
from hilum.data.cells import to_csv
from hilum.evaluate.metrics.names import higher_is_better, is_allowed
from hilum.report.run import sweep_figures, sweep_page
from hilum.train.comparison import ByPatients, compare
from hilum.train.evaluation import metric_of
from hilum.train.folder import SWEEP, RunFolder, locked, metrics
from hilum.train.recipe import Recipe, load_recipe
from hilum.train.run import run

CHANGE = "change"  # group_by


class SearchOptions(Options):
    """An Optuna search (D8). A range is [low, high], or [low, high, "log"]; a list of other things
    is a choice."""

    trials: int = Field(ge=1)
    space: dict[str, list[Any]]


class Grid(Options):
    """What a sweep runs: every combination of `grid` and the named `variants` after it, or a
    `search`, whose table begins with the best trial.

    `group_by` names a setting, whose values are drawn in a figure each; `change` draws the variants
    that change one setting beside the first. `metric` is compared on the
    test part, with `folds` or in a search on validation; variants are compared with the first.
    """

    recipe: str
    grid: dict[str, list[Any]] = Field(default={})  # setting -> its values
    variants: dict[str, dict[str, Any]] = Field(default={})  # name -> settings that differ
    search: SearchOptions | None = None
    common: dict[str, Any] = Field(default={})  # settings of every run
    seeds: tuple[int, ...] = Field(default=(1, 2, 3), min_length=1)
    folds: int | None = Field(default=None, ge=2)  # k-fold training: a run a seed and fold
    metric: str = "ap50"
    group_by: str = ""

    @model_validator(mode="after")
    def _one_kind(self) -> Grid:
        if bool(self.grid or self.variants) == bool(self.search):
            raise ValueError("needed: either grid, variants or both, or a search")
        return self

    @property
    def part(self) -> str:
        """The part whose numbers are compared."""
        return "validation" if self.folds or self.search else "test"

    @property
    def repeats(self) -> dict[str, dict[str, Any]]:
        """Name -> settings of each repetition of a variant."""
        if self.folds is None:
            return {f"seed-{seed}": {"seed": seed} for seed in self.seeds}
        return {
            f"seed-{seed}-fold-{fold}": {"seed": seed, "fold": fold}
            for seed in self.seeds
            for fold in range(self.folds)
        }

    def cut(self, recipe: str) -> dict[str, Any]:
        """What makes `folds` of a recipe of one source that has none, or not so many."""
        sources = load_recipe(recipe).data
        if self.folds is None or any(one.folds == self.folds for one in sources):
            return {}
        if len(sources) > 1:
            raise ConfigError(
                f"folds: {self.folds}; needed: a source of {recipe} with so many folds of its own"
            )
        return {"data.hold_out": None, "data.folds": self.folds}

    def named(self) -> dict[str, dict[str, Any]]:
        """Variants by name, in order.

        Raises:
            ConfigError: two variants have one name, or one folder.
        """
        keys = list(self.grid)
        out = {}
        for values in itertools.product(*self.grid.values()) if keys else ():
            changes = dict(zip(keys, values, strict=True))
            out[_combination(changes)] = changes
        if twins := out.keys() & self.variants.keys():
            raise ConfigError(f"variants: {min(twins)!r} is a combination of the grid, too")
        out |= self.variants
        folders: dict[str, str] = {}
        for name in out:
            if (other := folders.setdefault(folder_name(name), name)) != name:
                raise ConfigError(f"variants: {other!r} and {name!r} would share one folder")
        return out

    def groups(self) -> dict[str, dict[str, str]] | None:
        """Value of `group_by` -> its variants and how each is called beside the others of its
        figure; None: all belong together."""
        if not self.group_by or self.search is not None:
            return None
        if self.group_by == CHANGE:
            return self._changes()
        out: dict[str, dict[str, str]] = {}
        for name, changes in self.named().items():
            value = _setting(recipe_of(self, changes, next(iter(self.repeats))), self.group_by)
            out.setdefault(str(value), {})[name] = self._called(name, changes)
        return out

    def _changes(self) -> dict[str, dict[str, str]]:
        """Setting -> the first variant and those that change it; the first named one counts."""
        first, *others = self.named().items()
        out: dict[str, dict[str, str]] = {}
        for name, changes in others:
            key = next(iter(changes), "").split(".")[-1].replace("_", " ")
            out.setdefault(key, {first[0]: first[0]})[name] = name
        return out

    def _called(self, name: str, changes: Mapping[str, Any]) -> str:
        """A combination of the grid without what its figure already says; other names stay."""
        rest = [k for k in self.grid if k != self.group_by]
        if name in self.variants or not rest:
            return name
        if len(rest) == 1:
            return str(changes[rest[0]])
        return _combination({k: changes[k] for k in rest})


def _combination(changes: Mapping[str, Any]) -> str:
    return ",".join(f"{k.split('.')[-1]}={v}" for k, v in changes.items())


def _tried(values: Mapping[str, Any]) -> str:
    """A trial's settings, numbers as a table shows them; its recipe.yaml has all digits."""
    shown = {k: f"{v:.3g}" if isinstance(v, float) else v for k, v in values.items()}
    return ", ".join(f"{k.split('.')[-1]} {v}" for k, v in shown.items())


def load_grid(path: Path, changes: tuple[str, ...] = ()) -> Grid:
    """A sweep's description, with `key=value` changes applied.

    Of a section only what follows its first dot is replaced, or left out where the value is null:
    `seeds=[1]`, `common.train.epochs=1`, `variants.xception=null`.

    Raises:
        ConfigError: not YAML, or settings that no sweep has.
    """
    raw = read_document(path, parse_yaml, ConfigError)
    for change in changes:
        key, value = assignment(change)
        section, _, rest = key.partition(".")
        raw = _with(raw, section, _with(raw.get(section, {}), rest, value) if rest else value)
    return checked(Grid, raw, f"sweep {path}")


def _with(settings: Mapping[str, Any], key: str, value: Any) -> dict[str, Any]:
    """The same with another value of one key; None leaves it out."""
    return {k: v for k, v in {**settings, key: value}.items() if k != key or v is not None}


def recipe_of(grid: Grid, changes: dict[str, Any], repeat: str) -> Recipe:
    """One run's recipe: the grid's with its common, its own and its repetition's settings."""
    settings = {**grid.common, **grid.cut(grid.recipe), **grid.repeats[repeat], **changes}
    return load_recipe(grid.recipe, tuple(f"{k}={json.dumps(v)}" for k, v in settings.items()))


def _setting(recipe: Recipe, key: str) -> Any:
    """A recipe's value by its dotted name.

    Raises:
        ConfigError: there is no such setting.
    """
    value: Any = recipe.model_dump()
    for part in key.split("."):
        if not isinstance(value, dict) or part not in value:
            raise ConfigError(f"group_by: {key!r} is no setting of recipe {recipe.name}")
        value = value[part]
    return value


def sweep(grid: Grid, data: Path, out: Path, *, split: Path | None = None) -> pd.DataFrame:
    """Run what is not there yet; the table of all variants, also in `out` with the figure.

    Files: sweep.csv, sweep.parquet (every run's numbers), sweep.json, index.html and its figures.

    Args:
        split: of every run; otherwise each makes its own.
    """
    with locked(out):
        return _sweep(_Task(grid=grid, data=data, split=split), out)


@dataclass(frozen=True, slots=True)
class _Task:
    """What every run of a sweep has in common."""

    grid: Grid
    data: Path
    split: Path | None

    def numbers(self, recipe: Recipe, out: Path) -> dict[str, float]:
        """Metric -> value of one run, which is trained if it is not there."""
        folder, part = RunFolder(out, recipe), self.grid.part
        folder.check()  # numbers of other settings are not taken for these
        if not (out / "weights.safetensors").is_file():
            run(recipe, self.data, out, split=self.split)
        numbers = folder.results.get(part, {})
        if not numbers:
            raise ConfigError(f"{out} has no {part} part; change data.hold_out or use folds")
        return numbers


class _Run(NamedTuple):
    """One run of a sweep."""

    variant: str
    repeat: str
    changes: dict[str, Any]
    folder: Path


def _sweep(task: _Task, out: Path) -> pd.DataFrame:
    grid = task.grid
    plan = [
        _Run(variant, repeat, changes, out / folder_name(variant) / repeat)
        for variant, changes in (grid.named() if grid.search is None else {}).items()
        for repeat in grid.repeats
    ]
    for one in plan:  # every recipe is checked before the first run begins
        recipe_of(grid, one.changes, one.repeat)
    groups = grid.groups()
    write_text(out / SWEEP, grid.model_dump_json(indent=1))
    if grid.search is not None:
        plan = list(_search(task, grid.search, out))
    rows, curves = [], {}
    # One run a variant: no spread of trainings, but patients that all answered for.
    by_patients = grid.search is None and len(grid.repeats) == 1
    compared = ByPatients(len(plan))
    seen: dict[str, float] = {}  # numbers that some variant has
    for done, one in enumerate(plan):
        if grid.search is None:
            say("run %d of %d: %s, %s", done + 1, len(plan), one.variant, one.repeat)
        recipe = recipe_of(grid, one.changes, one.repeat)
        numbers = task.numbers(recipe, one.folder)
        seen |= numbers
        _known(seen, grid.metric)
        undefined = {grid.metric: float("nan")}
        rows.append({"variant": one.variant, "repeat": one.repeat, **undefined, **numbers})
        curves[one.variant, one.repeat] = metrics(recipe.stages, one.folder)
        runs = pd.DataFrame(rows)
        if grid.search is not None:  # best first: the others are compared with it
            rising = not higher_is_better(grid.metric)
            runs = runs.sort_values(grid.metric, ascending=rising, kind="stable")
        table = compare(runs, grid.metric)
        if by_patients:
            measure = partial(metric_of, name=grid.metric, recipe=recipe)
            answers = RunFolder(one.folder, recipe).answers(grid.part)
            compared.add(one.variant, answers, measure)
            table = compared.table(table)
        with atomic_path(out / "sweep.parquet") as temporary:
            runs.to_parquet(temporary)
        write_text(out / "sweep.csv", to_csv(table))
        if grid.search is not None:  # what a trial tried stands in the table
            groups = {"": {v: v.partition(":")[0] for v, _ in curves}}
        figures = sweep_figures(grid.metric, curves, groups)
        for figure in figures:
            figure.save(out)
        page = sweep_page(
            grid.recipe,
            table,
            figures,
            watched=grid.metric,
            part=grid.part,
            same_parts=task.split is not None,
            by_patients=by_patients and bool(table["low"].notna().any()),
            search=grid.search is not None,
        )
        write_text(out / "index.html", page)
    return table


def _search(task: _Task, search: SearchOptions, out: Path) -> Iterator[_Run]:
    """Optuna's trials, by their numbers on validation; kept in a file, so that a search goes on."""
    import optuna

    grid = task.grid
    direction = "maximize" if higher_is_better(grid.metric) else "minimize"
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        storage=f"sqlite:///{out / 'search.db'}",
        study_name=grid.recipe,
        direction=direction,
        sampler=optuna.samplers.TPESampler(seed=grid.seeds[0]),
        load_if_exists=True,
    )
    repeat = next(iter(grid.repeats))
    params = {t.number: dict(t.params) for t in study.trials}
    for number in range(search.trials):
        if number not in params:
            new = study.ask()
            params[number] = {key: _suggest(new, key, v) for key, v in search.space.items()}
        name = f"trial {number}: {_tried(params[number])}"
        trial = _Run(name, repeat, params[number], out / f"trial-{number}")
        say("%s, of %d trials", name, search.trials)
        numbers = task.numbers(recipe_of(grid, trial.changes, repeat), trial.folder)
        if study.trials[number].state == optuna.trial.TrialState.RUNNING:  # new, or killed in it
            value = _known(numbers, grid.metric)
            failed = None if value == value else optuna.trial.TrialState.FAIL
            study.tell(number, None if failed else value, failed)
        yield trial


def _known(numbers: Mapping[str, Any], metric: str) -> Any:
    """NaN where it is undefined; raises ConfigError where there is no such number."""
    if not is_allowed(metric, numbers):
        raise ConfigError(f"metric: {unknown('number', metric, numbers)}")
    return numbers.get(metric, float("nan"))


def folder_name(variant: str) -> str:
    """A variant's folder, one below the sweep's: `augment=replication/light` has a slash."""
    return re.sub(r"[^\w.,=+-]+", "-", variant)


def _suggest(trial: Any, key: str, values: Sequence[Any]) -> Any:
    numbers = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
    log_scale = values[-1] == "log"
    if len(numbers) == 2 and len(values) == 2 + log_scale:
        if all(isinstance(v, int) for v in numbers):
            return trial.suggest_int(key, *numbers, log=log_scale)
        return trial.suggest_float(key, *map(float, numbers), log=log_scale)
    return trial.suggest_categorical(key, list(values))
