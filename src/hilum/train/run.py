"""A recipe on one data set -> a run: a folder that can be trusted, resumed, compared, exported.

recipe.yaml        the resolved settings     environment.json  what it ran on
split.json         who is in which part      data.json         fingerprint of catalog and split
STAGE/             weights, metrics.parquet, TensorBoard events, best epochs
metrics.parquet    every epoch of every stage
samples/, index.html   predictions against the truth as they grew, and the curves
weights.safetensors    what `hilum export` takes
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import platform
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from safetensors.torch import load_file

from hilum.core.errors import ConfigError, DataError
from hilum.core.files import atomic_path, write_text
from hilum.core.options import unknown
from hilum.data.catalog import Catalog
from hilum.data.registry import load
from hilum.data.sets import SETS
from hilum.data.split import Split, folds, hold_out, open_split, sample
from hilum.models.model import Model
from hilum.models.options import ClassifierOptions, SegmenterOptions
from hilum.models.registry import build_model
from hilum.report.run import run_page
from hilum.train.cache import cached_items
from hilum.train.feed import Draw, enriched, passes
from hilum.train.loop import epochs, fit, save_weights, spec_of, targets_of
from hilum.train.recipe import DataOptions, Recipe, parse
from hilum.train.samples import draw_samples
from hilum.train.store import Item, without_copies
from hilum.train.validate import validate

log = logging.getLogger("hilum.train")

PARTS = ("train", "validation", "test")
WITHOUT_EFFECT = {"train.workers", "data.cache"}  # settings that change no number


def run(recipe: Recipe, data: Path, out: Path, *, split: Path | None = None) -> Path:
    """Train, or go on with, the recipe in `out`.

    Args:
        data: the set's own folder, or the folder that holds it under its name.
        split: a file of `hilum data split`; otherwise the recipe's fractions or folds.

    Raises:
        ConfigError: `out` holds a run of other settings.
        DataError: the set is not there, or has none of what the recipe needs.
    """
    open_run(recipe, out)
    catalog, parts = catalog_rows(recipe, data, split, out)
    spec, targets = spec_of(recipe), targets_of(recipe)
    store = out.parent / "cache" if recipe.data and recipe.data.cache else None
    items = {name: cached_items(catalog, parts[name], spec, targets, store) for name in PARTS}
    held = items["validation"] + items["test"]
    items["train"] = without_copies(items["train"], held)
    for name in PARTS:
        log.info("%s: %d images", name, len(items[name]))
    if not items["train"] or not items["validation"]:
        raise DataError(f"{catalog.name}: no image is left to train or to validate with")
    _check_annotated(recipe, items["train"])
    net = build_model(recipe.model, recipe.preprocessing.size, targets, recipe.seed)

    if recipe.train.start:
        go_on_from(net, Path(recipe.train.start))

    results = {"untrained": validate(net, items["validation"], spec, targets, recipe.train.batch)}
    _check_watched(recipe, results["untrained"])

    def evaluate(one: Model) -> dict[str, float]:
        return validate(one, items["validation"], spec, targets, recipe.train.batch)

    def epoch_end(one: Model, epoch: int) -> None:
        draw_samples(one, items["validation"], spec, targets, out / "samples", epoch)
        write_page(recipe, out)

    first = 0
    for name in recipe.stages:
        draw, images = _draw(items["train"], recipe, name)
        fit(
            net,
            name,
            recipe,
            draw,
            out / name,
            seed=recipe.seed + first,
            images=images,
            evaluate=evaluate,
            first=first,
            epoch_end=epoch_end,
        )
        first += epochs(recipe, name, images)
    save_weights(net.state_dict(), out / "weights.safetensors")
    for part in ("validation", "test"):
        if items[part]:
            results[part] = validate(net, items[part], spec, targets, recipe.train.batch)
    write_text(out / "results.json", json.dumps(results, indent=1))
    write_page(recipe, out)
    return out


def go_on_from(net: Model, path: Path) -> None:
    """Load what fits of another network's weights: heads for other labels stay new.

    Raises:
        ConfigError: no weights there, or none that fits.
    """
    file = path / "weights.safetensors" if path.is_dir() else path
    if not file.is_file():
        raise ConfigError(f"train.start: {file} is not there; train it first, or set it to null")
    own, found = net.state_dict(), load_file(file)
    fits = {k: v for k, v in found.items() if k in own and own[k].shape == v.shape}
    if not fits:
        raise ConfigError(f"train.start: nothing in {file} fits a {type(net).__name__}")
    net.load_state_dict(fits, strict=False)
    log.info("%d of %d tensors begin as in %s", len(fits), len(own), file)


def _check_annotated(recipe: Recipe, items: list[Item]) -> None:
    """Raises DataError where nothing is annotated that the network could learn from."""
    kind, names = recipe.model.kind, recipe.targets
    if isinstance(recipe.model, ClassifierOptions):
        wanted, said = getattr(names, recipe.model.target), recipe.model.target
        rows = [item.label if said == "classes" else item.findings for item in items]
        known = any(not np.isnan(row).all() for row in rows)
    elif isinstance(recipe.model, SegmenterOptions):
        wanted, known = names.masks, any(item.masks for item in items)
    else:
        wanted, known = names.labels, any(item.boxes is not None for item in items)
    if not known:
        raise DataError(
            f"recipe {recipe.name}: no training image says anything of {', '.join(wanted)}, which "
            f"a {kind} learns; look at the columns of `hilum data explore`, or set `targets`"
        )


def _check_watched(recipe: Recipe, numbers: Mapping[str, float]) -> None:
    """Raises ConfigError where a number is watched that these validation images do not give."""
    plateaus = {n: s.schedule for n, s in recipe.stages.items() if s.schedule.kind == "plateau"}
    watched = {"train.watch": recipe.train.watch} | {
        f"stages.{name}.schedule.watch": schedule.watch for name, schedule in plateaus.items()
    }
    for place, name in watched.items():
        if name not in numbers:
            raise ConfigError(
                f"{place}: {unknown('number', name, numbers)} These are what the validation images "
                "allow: without a finding among them there is no ap50, auc or mcc."
            )


def _draw(items: list[Item], recipe: Recipe, stage: str) -> tuple[Draw, int]:
    """What a stage's samples are drawn by, and how many make an epoch."""
    share = recipe.stages[stage].positives or recipe.train.positives
    if share is None:
        return passes(items, recipe.seed), len(items)
    return enriched(items, share, recipe.seed)


def open_run(recipe: Recipe, out: Path) -> None:
    """Make the folder of the run, or make sure that it is this recipe's.

    Raises:
        ConfigError: it holds a run of other settings.
    """
    told = recipe.model_dump(mode="json")
    there = out / "recipe.yaml"
    if there.is_file():
        # Through the schema: a setting that is newer than the run has its default.
        before = parse(yaml.safe_load(there.read_text()), str(there)).model_dump(mode="json")
        differ = sorted(_differences(before, told) - WITHOUT_EFFECT)
        if differ:
            raise ConfigError(
                f"{out} holds a run of other settings ({', '.join(differ)}); choose another "
                "folder, or give the same settings to go on"
            )
        return
    out.mkdir(parents=True, exist_ok=True)
    write_text(there, yaml.safe_dump(told, sort_keys=False))
    write_text(out / "environment.json", json.dumps(environment(), indent=1))


def _differences(a: Any, b: Any, at: str = "") -> set[str]:
    if isinstance(a, dict) and isinstance(b, dict):
        parts = [_differences(a.get(k), b.get(k), f"{at}.{k}".strip(".")) for k in {*a, *b}]
        return set().union(*parts) if parts else set()
    return set() if a == b else {at}


def environment() -> dict[str, Any]:
    """What a number may depend on beside the recipe."""
    names = ("hilum", "torch", "torchvision", "timm", "pytorch-lightning", "numpy")
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "commit": commit(),
        "libraries": {name: version(name) for name in names},
    }


def commit() -> str:
    """Of the checkout; an installed package has none."""
    command = ["git", "rev-parse", "HEAD"]
    try:
        found = subprocess.run(
            command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return found.stdout.strip()


def catalog_of(options: DataOptions, data: Path) -> Catalog:
    """The images that a recipe may learn from."""
    own = data / options.set
    folder = own if own.is_dir() and options.set not in SETS else data
    catalog = load(options.set, folder, **options.options)
    keep = catalog.table["path"] != ""
    for column in options.known:
        if column not in catalog.table:
            raise DataError(
                f"{catalog.name} has no column {column!r}; it has "
                f"{', '.join(map(str, catalog.table.columns))}"
            )
        keep &= catalog.table[column].notna()
    if options.adults:
        keep &= ~(catalog.table["age"] < 18)  # an unknown age is no child's
    chosen = catalog.where(keep)
    return sample(chosen, options.sample) if options.sample else chosen


def catalog_rows(
    recipe: Recipe, data: Path, split: Path | None, out: Path
) -> tuple[Catalog, dict[str, list[int]]]:
    """The catalog and the rows of each part; written down on the first call, then kept."""
    options = recipe.data
    if options is None:
        raise ConfigError(f"recipe {recipe.name} names no data set")
    catalog = catalog_of(options, data)
    kept = out / "split.json"
    if kept.is_file():
        made = open_split(kept)
    else:
        made = open_split(split) if split else _made(catalog, options, recipe.seed)
        made.save(kept)
    part = made.table.set_index("image_id")["part"]
    named = catalog.table["image_id"].map(part)
    if options.folds or any(str(p).startswith("fold-") for p in part.unique()):
        numbers = {int(str(p).removeprefix("fold-")): p for p in part.unique()}
        own = numbers.get(options.fold)  # fold-3, or fold-03 of more than ten
        if own is None:
            raise ConfigError(f"fold {options.fold} is not in the split: {sorted(set(part))}")
        named = named.where(named.isna(), named.eq(own).map({True: "validation", False: "train"}))
    if named.isna().any():
        log.warning("%d of %d images are in no part of the split", named.isna().sum(), len(named))
    rows = {p: [int(i) for i in (named == p).to_numpy().nonzero()[0]] for p in PARTS}
    text = catalog.table.assign(part=named).to_json(orient="records", default_handler=str)
    images = {p: len(rows[p]) for p in PARTS}
    record_data(out, data, catalog.name, images, text, catalog.notes)
    return catalog, rows


def record_data(
    out: Path,
    data: Path,
    name: str,
    images: Mapping[str, int],
    text: str,
    notes: Sequence[str] = (),
) -> None:
    """Write data.json, or make sure that the run began with the same data.

    Args:
        images: part -> how many.
        text: all that tells one data set and split from another.

    Raises:
        DataError: it began with other data.
    """
    content = {
        "set": name,
        "folder": str(data.resolve()),
        "images": dict(images),
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
        "notes": list(notes),
    }
    before = out / "data.json"
    if before.is_file() and json.loads(before.read_text())["sha256"] != content["sha256"]:
        raise DataError(f"{data} is not the data that {out} began with; choose a new folder")
    write_text(before, json.dumps(content, indent=1))


def _made(catalog: Catalog, options: DataOptions, seed: int) -> Split:
    if options.folds:
        return folds(catalog, options.folds, seed)
    return hold_out(catalog, options.fractions, seed)


def metrics(stages: Iterable[str], out: Path) -> pd.DataFrame:
    """Every judged epoch so far of the stages in `out`."""
    found = []
    for name in stages:
        file = out / name / "metrics.parquet"
        if file.is_file():
            found.append(pd.read_parquet(file).assign(stage=name))
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame()


def write_page(recipe: Recipe, out: Path, stages: Iterable[str] | None = None) -> None:
    """metrics.parquet and index.html of what the run has so far.

    Args:
        stages: folders of the stages in order, if they are not named as in the recipe.
    """
    rows = metrics(recipe.stages if stages is None else stages, out)
    with atomic_path(out / "metrics.parquet") as temporary:
        rows.to_parquet(temporary)
    results = out / "results.json"
    write_text(
        out / "index.html",
        run_page(
            recipe.name,
            recipe.about,
            rows,
            yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False),
            json.loads((out / "data.json").read_text()),
            json.loads(results.read_text()) if results.is_file() else {},
            sorted((out / "samples").glob("*.png")),
        ),
    )
