"""Recipes: frozen, validated settings of one training, read from YAML."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any, Literal, Self, get_args

import yaml
from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from hilum.augment.policy import policy
from hilum.core.errors import ConfigError
from hilum.core.options import load_yaml, unknown
from hilum.data.sets import NIH_FINDINGS
from hilum.models.options import ModelOptions, OpacityNetOptions, Options


class PreprocessingOptions(Options):
    size: int = Field(default=256, ge=64, multiple_of=32)
    stretch: tuple[float, float] = (0.5, 99.5)


class OptimiserOptions(Options):
    kind: Literal["adamw", "adam", "sgd"] = "adamw"
    weight_decay: float = Field(default=0.05, ge=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)  # of SGD
    nesterov: bool = False
    encoder_factor: float = Field(default=0.3, ge=0)  # the encoder's rate against the heads'


class ScheduleOptions(Options):
    """Plateau is stepped by epochs on `watch`, without warm-up; the others by steps."""

    kind: Literal["cosine", "cosine-floor", "plateau", "constant"] = "cosine"
    warmup: int = Field(default=30, ge=0)  # steps
    every: int = Field(default=1, ge=1)  # cosine-floor moves after so many epochs; 1: each step
    watch: str = "val_loss"
    patience: int = Field(default=4, ge=0)
    factor: float = Field(default=0.2, gt=0, lt=1)


class StageOptions(Options):
    """One stretch of training, of so many steps or epochs.

    `mix` gives each group its share of every batch; without it an epoch passes over every
    training image once.
    """

    steps: int | None = Field(default=None, ge=1)
    epochs: int | None = Field(default=None, ge=1)
    learning_rate: float = Field(gt=0)
    schedule: ScheduleOptions = ScheduleOptions()
    # stem: the encoder up to stride 4, so that three of its stages learn
    freeze: Literal["none", "encoder", "stem", "first-half"] = "none"
    frozen_batch_norm: bool = False
    positives: float | None = Field(default=None, gt=0, le=1)  # instead of train.positives
    mix: dict[str, float] | None = None

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("needed: either steps or epochs")
        return self


class AverageOptions(Options):
    """Stochastic weight averaging (E5): over the named epochs, or over the best few."""

    epochs: tuple[int, ...] = ()  # counted from 1 over all stages
    best: int = Field(default=0, ge=0)


class TrainOptions(Options):
    batch: int = Field(default=16, ge=1)
    accumulate: int = Field(default=1, ge=1)  # batches a step
    epochs: int | None = Field(default=None, ge=1)  # stop every stage after so many
    start: str | None = None  # weights, or the run, of a network of this kind to go on from
    threads: int = Field(default=2, ge=1)
    workers: int = Field(default=0, ge=0)  # processes that prepare batches, beside the training
    precision: Literal["fp32", "bf16", "fp16"] = "bf16"
    ema: float = Field(default=0.99, ge=0, lt=1)  # 0: no average
    clip_norm: float = Field(default=5.0, gt=0)
    save_every: int = Field(default=50, ge=1)  # steps, where a stage has no epochs of its own
    # An epoch shows all images with a finding, and others until these are so large a share.
    positives: float | None = Field(default=None, gt=0, le=1)
    watch: str = "val_loss"  # what the best epoch is best at; val_... is minimised, else maximised
    patience: int | None = Field(default=None, ge=1)  # epochs without a better one, then stop
    keep_best: int = Field(default=1, ge=1)
    average: AverageOptions = AverageOptions()


class DataOptions(Options):
    """Which images of which set a run learns from."""

    set: str
    options: dict[str, Any] = Field(default={})  # what the set's reader offers
    known: tuple[str, ...] = ()  # catalog columns that must be annotated
    adults: bool = False
    sample: int | None = Field(default=None, ge=1)  # whole patients, classes in proportion
    fractions: tuple[float, float, float] = (0.7, 0.15, 0.15)  # training, validation, test
    folds: int | None = Field(default=None, ge=2)
    fold: int = Field(default=0, ge=0)  # the fold that validates
    cache: bool = False  # prepared images on disk, memory-mapped


class TargetOptions(Options):
    """Names of box labels, of catalog columns label_<name>, and of masks."""

    labels: tuple[str, ...] = ("opacity",)
    classes: tuple[str, ...] = ("normal", "not-normal", "opacity")
    findings: tuple[str, ...] = tuple(f"nih_{name}" for name in NIH_FINDINGS)
    masks: tuple[str, ...] = ("opacity", "lungs", "lungs_full")
    # The exclusive classes that say "there is a finding": AUC, operating point, share of positives.
    positive: tuple[str, ...] = ("opacity",)

    @model_validator(mode="after")
    def _known_positive(self) -> Self:
        known = set(self.positive) <= set(self.classes)
        if self.classes and not (
            self.positive and known and len(self.positive) < len(self.classes)
        ):
            raise ValueError(
                f"positive: {', '.join(self.positive) or 'nothing'}; needed: which of the classes "
                f"{', '.join(self.classes)} say that there is a finding, and not all of them"
            )
        return self


class SplitOptions(Options):
    rsna_test: float = Field(default=0.25, gt=0, lt=1)
    rsna_validation: float = Field(default=0.10, gt=0, lt=1)
    shenzhen_test: float = Field(default=0.20, gt=0, lt=1)
    covid_folds: int = Field(default=5, ge=2)


class Recipe(Options):
    """Everything that decides a training.

    With `data` it is a run on one set. Without, it is the training of the shipped bundle: stages
    mix the groups of `train.store.load_catalogs`, and the last is cross-validated.
    """

    name: str
    version: str = "1"
    about: str = ""  # which published experiment, and what differs from it
    seed: int = Field(default=7, ge=0, lt=2**31)
    augment: str = "default"
    preprocessing: PreprocessingOptions = PreprocessingOptions()
    model: ModelOptions = OpacityNetOptions()
    targets: TargetOptions = TargetOptions()
    train: TrainOptions = TrainOptions()
    optimiser: OptimiserOptions = OptimiserOptions()
    data: DataOptions | None = None
    split: SplitOptions = SplitOptions()
    stages: dict[str, StageOptions] = Field(min_length=1)
    # name -> settings that differ from this recipe
    baselines: dict[str, dict[str, Any]] = Field(default={})

    @field_validator("augment")
    @classmethod
    def _known_policy(cls, name: str) -> str:
        policy(name)
        return name

    def baseline(self, name: str) -> Recipe:
        """The recipe of one baseline arm: this one with its few differences."""
        changed = _merge(self.model_dump(), self.baselines[name])
        return parse({**changed, "name": f"{self.name}-{name}", "baselines": {}}, name)


def recipe_folder() -> Path:
    """Where the named recipes lie: in the wheel, or at the top of a checkout."""
    packaged = Path(__file__).resolve().parents[1] / "recipes"
    return packaged if packaged.is_dir() else Path(__file__).resolve().parents[3] / "recipes"


def load_recipe(name_or_file: str, changes: tuple[str, ...] = ()) -> Recipe:
    """A recipe by name or by file, with `key.sub=value` changes applied.

    A file may begin from others: `extends: NAME`, or a list of which later ones win. A section
    `stages` replaces that of the others, everything else is merged.

    Raises:
        ConfigError: no such recipe, unknown key (the nearest known one is named), bad value.
    """
    raw, source = _read(name_or_file)
    for change in changes:
        key, equals, value = change.partition("=")
        if not equals:
            raise ConfigError(f"--set {change!r}: needed key=value, such as stages.base.steps=20")
        try:
            nested: Any = load_yaml(value)
        except yaml.YAMLError as error:
            raise ConfigError(f"--set {change!r}: the value is not YAML: {error}") from error
        for part in reversed(key.split(".")):
            nested = {part: nested}
        raw = _merge(raw, nested)
    return parse(raw, source)


def _read(name_or_file: str, below: tuple[str, ...] = ()) -> tuple[dict[str, Any], str]:
    """Settings of a file after those it extends, and where they come from."""
    path = Path(name_or_file)
    if not path.is_file():
        path = recipe_folder() / f"{name_or_file}.yaml"
    if not path.is_file():
        raise ConfigError(f"{unknown('recipe', name_or_file, recipe_names())} Or give a YAML file.")
    if str(path) in below:
        raise ConfigError(f"recipe {path} extends itself")
    try:
        own = load_yaml(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not YAML: {error}") from error
    if not isinstance(own, dict):
        raise ConfigError(f"{path} holds no mapping of settings")
    parents = own.pop("extends", [])
    parents = [parents] if isinstance(parents, str) else parents
    if not isinstance(parents, list) or not all(isinstance(name, str) for name in parents):
        raise ConfigError(
            f"{path}: extends: {parents!r}; needed: a recipe's name, or a list of them"
        )
    raw: dict[str, Any] = {}
    for parent in parents:
        beside = path.parent / parent  # a file's own neighbours come first
        found = str(beside) if beside.is_file() else parent
        raw = _merge(raw, _read(found, (*below, str(path)))[0], whole=True)
    return _merge(raw, own, whole=True), str(path)


def recipe_names() -> list[str]:
    """The named recipes; files that begin with _ are parts of others."""
    return sorted(p.stem for p in recipe_folder().glob("*.yaml") if p.stem[0] != "_")


def parse(raw: dict[str, Any], source: str) -> Recipe:
    """Validate settings."""
    try:
        return Recipe.model_validate(raw)
    except ValidationError as error:
        lines = [_explain(item) for item in error.errors()]
        raise ConfigError(f"recipe {source}: " + "; ".join(lines)) from error


def _explain(item: Any) -> str:
    where = ".".join(str(part) for part in item["loc"])
    if item["type"] != "extra_forbidden":
        return f"{where}: {item['msg']} (got {item['input']!r})"
    close = difflib.get_close_matches(str(item["loc"][-1]), _known_keys(), n=1, cutoff=0)
    return f"unknown key {where!r}; the nearest known one is {close[0]!r}"


def _known_keys() -> list[str]:
    """Every key that a recipe may hold, whichever section and kind of network it belongs to."""
    waiting: list[Any] = [Recipe]
    keys: dict[str, None] = {}
    while waiting:
        part = waiting.pop()
        if isinstance(part, type) and issubclass(part, BaseModel):
            keys |= dict.fromkeys(part.model_fields)
            waiting += [field.annotation for field in part.model_fields.values()]
        else:
            waiting += get_args(part)
    return list(keys)


def _merge(base: dict[str, Any], changes: dict[str, Any], *, whole: bool = False) -> dict[str, Any]:
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        both = isinstance(value, dict) and isinstance(old, dict)
        # Stages are an order of events: a file's own replace those it extends.
        both = both and not (whole and key == "stages")
        # Another kind of network has other settings: nothing of the old one is kept.
        same = both and value.get("kind", old.get("kind")) == old.get("kind")  # type: ignore[union-attr]
        merged[key] = _merge(old, value) if same else value  # type: ignore[arg-type]
    return merged
