"""Recipes: frozen, validated settings of one training, read from YAML (sections: `options`)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from hilum.augment.policy import policy
from hilum.core.documents import parse_yaml, read_document
from hilum.core.errors import ConfigError
from hilum.core.files import is_file
from hilum.core.manifest import Decoding
from hilum.core.options import MOST_NAME, Options, assignment, faults, replaced, unknown
from hilum.core.prepare import Preprocessing
from hilum.models.model import Targets
from hilum.models.options import ModelOptions, OpacityNetOptions
from hilum.train.options import (
    OptimiserOptions,
    PreprocessingOptions,
    SourceOptions,
    StageOptions,
    TargetOptions,
    TrainOptions,
)


class Recipe(Options):
    """Everything that decides a training: sources, stages, a network. Frozen."""

    name: str
    version: str = "1"
    about: str = ""  # which published experiment, and what differs from it
    seed: int = Field(default=7, ge=0, lt=2**31)
    fold: int | None = Field(default=None, ge=0)  # which fold validates; None: all train
    augment: str = "default"
    preprocessing: PreprocessingOptions = PreprocessingOptions()
    model: ModelOptions = OpacityNetOptions()
    targets: TargetOptions = TargetOptions()
    decoding: Decoding = Decoding(score_floor=0.01, max_boxes=100)  # of boxes, in every evaluation
    train: TrainOptions = TrainOptions()
    optimiser: OptimiserOptions = OptimiserOptions()
    data: tuple[SourceOptions, ...] = Field(min_length=1)
    stages: dict[str, StageOptions] = Field(min_length=1)

    @field_validator("data", mode="before")
    @classmethod
    def _one_source(cls, value: Any) -> Any:
        return [value] if isinstance(value, dict) else value

    @field_validator("stages", mode="before")
    @classmethod
    def _left_out(cls, value: Any) -> Any:
        """`--set stages.NAME=null` leaves one out, as in sweeps and pipelines."""
        if not isinstance(value, dict):
            return value
        return {name: stage for name, stage in value.items() if stage is not None}

    @field_validator("augment")
    @classmethod
    def _known_policy(cls, name: str) -> str:
        policy(name)
        return name

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if problems := list(self._problems()):
            raise ValueError("; ".join(problems))
        return self

    def _problems(self) -> Iterator[str]:
        names = [one.own_name for one in self.data]
        for name in {n for n in names if names.count(n) > 1}:
            yield f"data: two sources are called {name!r}; give one a name"
        groups = {one.own_group for one in self.data}
        for name, stage in self.stages.items():
            for group in (stage.mix or {}).keys() - groups:
                yield f"stages.{name}.mix: {unknown('group', group, groups)}"
        first, last = next(iter(self.stages.values())), list(self.stages.values())[-1]
        if first.continues:
            yield "stages: the first has nothing that it continues"
        if last.size not in (None, self.preprocessing.size):
            yield (
                f"stages: the last trains at {last.size} px; needed: preprocessing.size, which is "
                f"{self.preprocessing.size}"
            )
        for name in self.train.average.stages:
            if name not in self.stages:
                yield f"train.average.stages: {unknown('stage', name, self.stages)}"
        yield from self._clashes()
        weighted = [one.weight is not None for one in self.data]
        if any(weighted) and not all(weighted):
            yield "data: needed: a weight for every source, or for none"
        folds = [one.folds for one in self.data if one.folds]
        if self.fold is not None and folds and not any(self.fold < count for count in folds):
            yield f"fold: {self.fold}; no source has so many folds"

    def _clashes(self) -> Iterator[str]:
        """Stages that name two ways to draw their images, of which one would be forgotten."""
        for name, stage in self.stages.items():
            mix = self.mix_of(name) is not None
            share = stage.positives or self.train.positives
            if mix and share:
                yield (
                    f"positives: {share}: stage {name} draws its images by a mix or by weights, "
                    "positive two times in five; needed: one of them (positives: null, or no mix "
                    "and no weight)"
                )
            if self.train.oversample is not None and (mix or share):
                yield (
                    f"train.oversample: stage {name} draws its images by a mix, by weights or by a "
                    "share of positives; needed: one of them (positives: null, no weight, no mix)"
                )

    @property
    def spec(self) -> Preprocessing:
        """What decides the tensor that the finished network sees."""
        return self.spec_at(self.preprocessing.size)

    def spec_at(self, size: int) -> Preprocessing:
        """The same at the size of another stage, px."""
        own = self.preprocessing
        return Preprocessing(size, stretch=own.stretch, window=own.window)

    def size_of(self, stage: str) -> int:
        """The side of the square that a stage trains at, px."""
        return self.stages[stage].size or self.preprocessing.size

    def mix_of(self, stage: str) -> dict[str, float] | None:
        """Group -> its share of every batch; None: every image once an epoch."""
        own = self.stages[stage].mix
        if own is not None:
            return own
        shares: dict[str, float] = {}
        for one in self.data:
            if one.weight is None:
                return None
            shares[one.own_group] = shares.get(one.own_group, 0.0) + one.weight
        return shares

    @property
    def names(self) -> Targets:
        """What the network is to tell apart."""
        return Targets(**self.targets.model_dump())


MOST_PARENTS = 4  # that a recipe extends, and how deep: 4 ** 4 files are read at most


def recipe_folder() -> Path:
    """Where the named recipes lie: in the wheel, or at the top of a checkout."""
    packaged = Path(__file__).resolve().parents[1] / "recipes"
    return packaged if packaged.is_dir() else Path(__file__).resolve().parents[3] / "recipes"


SUM = "loss"  # its terms are added up, so whoever names some names all


def load_recipe(name_or_file: str, changes: tuple[str, ...] = ()) -> Recipe:
    """A recipe by name or by file, with `key.sub=value` changes applied.

    A file may begin from others: `extends: NAME`, or a list of which later ones win. A section
    `stages` and the terms of a `loss` replace those of the others, everything else is merged.

    Raises:
        ConfigError: no such recipe, unknown key (the nearest known one is named), bad value.
    """
    raw, source = _read(name_or_file)
    for change in changes:
        key, nested = assignment(change)
        if key.endswith(f".{SUM}"):
            raw = replaced(raw, key, None)
        for part in reversed(key.split(".")):
            nested = {part: nested}
        raw = _merge(raw, nested)
    return parse(raw, source)


def _read(name_or_file: str, below: tuple[Path, ...] = ()) -> tuple[dict[str, Any], str]:
    """Settings of a file after those it extends, and where they come from."""
    path = Path(name_or_file)
    if not is_file(path):
        path = recipe_folder() / f"{name_or_file}.yaml"
    if not is_file(path):
        raise ConfigError(f"{unknown('recipe', name_or_file, recipe_names())} Or give a YAML file.")
    path = path.resolve() if below else path
    if path.resolve() in below:
        raise ConfigError(f"recipe {path} extends itself")
    if len(below) >= MOST_PARENTS:
        raise ConfigError(f"recipe {path} extends recipes {len(below)} deep; needed: less")
    own = read_document(path, parse_yaml, ConfigError)
    if not isinstance(own, dict):
        raise ConfigError(f"{path} holds no mapping of settings")
    parents = own.pop("extends", [])
    parents = [parents] if isinstance(parents, str) else parents
    if not isinstance(parents, list) or not all(isinstance(name, str) for name in parents):
        raise ConfigError(
            f"{path}: extends: {parents!r}; needed: a recipe's name, or a list of them"
        )
    if len(parents) > MOST_PARENTS or len(set(parents)) < len(parents):
        raise ConfigError(
            f"{path}: extends {len(parents)} recipes; needed: each once, at most {MOST_PARENTS}"
        )
    raw: dict[str, Any] = {}
    for parent in parents:
        beside = path.parent / parent  # a file's own neighbours come first
        place = str(beside) if is_file(beside) else parent
        raw = _merge(raw, _read(place, (*below, path.resolve()))[0], whole=True)
    return _merge(raw, own, whole=True), str(path)


def recipe_names() -> list[str]:
    """The named recipes; files that begin with _ are parts of others."""
    return sorted(p.stem for p in recipe_folder().glob("*.yaml") if p.stem[0] != "_")


SHOWN = 5  # problems of one recipe in a message


def parse(raw: dict[str, Any], source: str) -> Recipe:
    """Settings, checked."""
    try:
        return Recipe.model_validate(raw)
    except ValidationError as error:
        wrong = faults(error)
        lines = [_explain(item) for item in wrong[:SHOWN]]
        if len(wrong) > SHOWN:
            lines.append(f"and {len(wrong) - SHOWN} more")
        raise ConfigError(f"recipe {source}: " + "; ".join(lines)) from error


def _explain(item: Any) -> str:
    where = ".".join(str(part) for part in item["loc"])
    message = item["msg"].removeprefix("Value error, ").replace("valid tuple", "list, [A, B]")
    came = "" if isinstance(item["input"], dict) else f" (got {repr(item['input'])[:MOST_NAME]})"
    return f"{where + ': ' if where else ''}{message}{came}"


def _merge(base: dict[str, Any], changes: dict[str, Any], *, whole: bool = False) -> dict[str, Any]:
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        if key == "data" and isinstance(value, dict):
            merged[key] = _merge_data(old, value)
            continue
        both = isinstance(value, dict) and isinstance(old, dict)
        # Stages are an order of events, a loss a sum: a file's own replace those it extends.
        both = both and not (whole and key in ("stages", SUM))
        # Another kind of network has other settings: nothing of the old one is kept.
        same = both and value.get("kind", old.get("kind")) == old.get("kind")  # type: ignore[union-attr]
        merged[key] = _merge(old, value, whole=whole) if same else value  # type: ignore[arg-type]
    return merged


def _merge_data(old: Any, changes: dict[str, Any]) -> Any:
    """Settings of the one source; of several, those under a source's name or its number. A new name
    with a set is one source more."""
    if not isinstance(old, list):
        return _merge(old, changes) if isinstance(old, dict) else changes
    if not all(isinstance(one, dict) for one in old):
        raise ConfigError("data: needed: sources, each a mapping with a set")
    names = [str(one.get("name") or Path(str(one.get("set"))).stem) for one in old]
    if len(old) == 1 and not changes.keys() & {*names, "0"}:
        return [_merge(old[0], changes)]
    out = list(old)
    for key, own in changes.items():
        place = (
            names.index(key)
            if key in names
            else int(key)
            if key.isdecimal() and len(key) < 5
            else len(old)
        )
        if place < len(old) and isinstance(own, dict):
            out[place] = _merge(out[place], own)
        elif isinstance(own, dict) and "set" in own and not key.isdecimal():
            out.append({**own, "name": key})
        else:
            raise ConfigError(f"data.{key}: {unknown('source', key, names)}")
    return out
