"""Recipes: frozen, validated settings of one training, read from YAML."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any, Literal, get_args

import yaml
from pydantic import BaseModel, Field, ValidationError

from hilum.core.errors import ConfigError
from hilum.models.options import ModelOptions, OpacityNetOptions, Options


class PreprocessingOptions(Options):
    size: int = Field(default=256, ge=32, multiple_of=32)
    stretch: tuple[float, float] = (0.5, 99.5)


class StageOptions(Options):
    """One stretch of training; `mix` gives each group its share of every batch."""

    steps: int = Field(ge=1)
    learning_rate: float = Field(gt=0)
    encoder_factor: float = Field(default=0.3, ge=0)  # the encoder's rate against the heads'
    warmup: int = Field(default=30, ge=0)
    mix: dict[str, float]


class SplitOptions(Options):
    rsna_test: float = Field(default=0.25, gt=0, lt=1)
    rsna_validation: float = Field(default=0.10, gt=0, lt=1)
    shenzhen_test: float = Field(default=0.20, gt=0, lt=1)
    covid_folds: int = Field(default=5, ge=2)


class Recipe(Options):
    name: str
    version: str = "1"
    seed: int = 7
    batch: int = Field(default=16, ge=1)
    threads: int = Field(default=2, ge=1)
    precision: Literal["fp32", "bf16"] = "bf16"
    augment: str = "default"
    weight_decay: float = Field(default=0.05, ge=0)
    ema: float = Field(default=0.99, ge=0, lt=1)
    clip_norm: float = Field(default=5.0, gt=0)
    save_every: int = Field(default=50, ge=1)
    preprocessing: PreprocessingOptions = PreprocessingOptions()
    model: ModelOptions = OpacityNetOptions()
    split: SplitOptions = SplitOptions()
    stages: dict[str, StageOptions]
    baselines: dict[str, dict[str, Any]] = Field(
        default={}
    )  # name -> settings that differ from this recipe

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

    Raises:
        ConfigError: no such recipe, unknown key (the nearest known one is named), bad value.
    """
    path = Path(name_or_file)
    if not path.is_file():
        path = recipe_folder() / f"{name_or_file}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in recipe_folder().glob("*.yaml")))
        raise ConfigError(f"no recipe {name_or_file!r}; known: {known}; or give a YAML file")
    try:
        raw = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not YAML: {error}") from error
    if not isinstance(raw, dict):
        raise ConfigError(f"{path} holds no mapping of settings")
    for change in changes:
        key, equals, value = change.partition("=")
        if not equals:
            raise ConfigError(f"--set {change!r}: needed key=value, such as stages.base.steps=20")
        nested: Any = yaml.safe_load(value)
        for part in reversed(key.split(".")):
            nested = {part: nested}
        raw = _merge(raw, nested)
    return parse(raw, str(path))


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


def _merge(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        both = isinstance(value, dict) and isinstance(old, dict)
        # Another kind of network has other settings: nothing of the old one is kept.
        same = both and value.get("kind", old.get("kind")) == old.get("kind")  # type: ignore[union-attr]
        merged[key] = _merge(old, value) if same else value  # type: ignore[arg-type]
    return merged
