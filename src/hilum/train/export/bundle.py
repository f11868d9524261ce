"""A finished run -> its bundle: graphs, settings, numbers, card. What is evaluated here is the
graph that ships, in ONNX Runtime, decoded as `hilum predict` decodes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from safetensors.torch import load_file

from hilum.core.bundle import Bundle, load_bundle, need_new, open_bundle, write_bundle
from hilum.core.csv_cells import plain
from hilum.core.errors import ConfigError, DataError
from hilum.core.manifest import Decoding, Figure, Manifest
from hilum.core.options import checked
from hilum.core.progress import doing, say, spoken
from hilum.evaluate.metrics.names import higher_is_better
from hilum.inference.session import RawOutputs
from hilum.models.model import Model
from hilum.models.registry import bare_model
from hilum.train.export.card import Evidence, card, licence_text
from hilum.train.export.figures import (
    figures_beside,
    figures_of,
    shortcuts_of,
    subgroups_of,
    tensors,
)
from hilum.train.export.int8 import to_int8
from hilum.train.export.licences import licences
from hilum.train.export.manifest import draft, manifest_of
from hilum.train.export.onnx import answers, check_export, to_onnx
from hilum.train.export.settings import settle
from hilum.train.folder import RunFolder, commit
from hilum.train.heads import heads_of
from hilum.train.images import Images, RunData
from hilum.train.options import PreprocessingOptions
from hilum.train.recipe import Recipe

CALIBRATION_IMAGES, CHECKED_IMAGES = 64, 8
PRECISIONS = {"model.onnx": "fp32", "model.int8.onnx": "int8"}


@dataclass(frozen=True, slots=True)
class Choice:
    """What of a run is exported, and how it decodes; None: as the run has it."""

    epoch: int | None = None  # instead of the weights that the run chose
    size: int | None = None  # px, of the square the bundle sees
    nms_iou: float | None = None
    score_floor: float | None = None
    fp32: bool = True  # False: int8 alone ships
    int8: bool = True
    precision: str | None = None  # what runs where nobody asks for one; None: fp32
    sweep: Path | None = None  # its variants go on the card
    beside: Path | None = None  # another bundle, evaluated on the same held-out images

    def __post_init__(self) -> None:
        if not (self.fp32 or self.int8):
            raise ConfigError("neither fp32 nor int8 is to be written; needed: one of them")

    def recipe(self, recipe: Recipe) -> Recipe:
        """The run's recipe with these changes."""
        given = {"nms_iou": self.nms_iou, "score_floor": self.score_floor}
        changes = {name: value for name, value in given.items() if value is not None}
        decoding = checked(
            Decoding, recipe.decoding.model_dump() | changes, "the bundle's decoding"
        )
        size = {"size": self.size} if self.size is not None else {}
        preprocessing = checked(
            PreprocessingOptions, recipe.preprocessing.model_dump() | size, "the bundle's square"
        )
        return recipe.model_copy(update={"decoding": decoding, "preprocessing": preprocessing})


def export(
    run: Path, target: Path, data: Path | None = None, choice: Choice | None = None
) -> Bundle:
    """Write the bundle of a finished run.

    Args:
        data: where the run's data lies now; the folder it was trained from if None.

    Raises:
        ConfigError: no finished run, an epoch it has not kept, settings that cannot be.
        DataError: the data is not there, or not what the run was trained on.
        ModelOutputError: the graph's numbers are not PyTorch's.
    """
    choice = choice or Choice()
    folder = RunFolder.of(run)
    recipe = choice.recipe(folder.recipe)
    need_new(target)
    with spoken():
        net = _network(recipe, run, choice.epoch)
        trained = _Trained(
            recipe=recipe, folder=folder, net=net, images=images_of(folder, recipe, data)
        )
        return _write(trained, target, choice)


def network_of(run: Path) -> tuple[Model, Recipe]:
    """The network of a finished run, for looking into.

    Raises:
        ConfigError: no finished run.
    """
    recipe = RunFolder.of(run).recipe
    return _network(recipe, run, None), recipe


def export_best(
    run: Path,
    folder: Path,
    *,
    count: int,
    data: Path | None = None,
    choice: Choice | None = None,
) -> list[Bundle]:
    """A bundle of each of the best kept epochs, best first: folder/epoch-013.zip ...

    Raises:
        ConfigError: the run has kept fewer epochs, or as `export`.
        DataError, ModelOutputError: as `export`.
    """
    choice, files = choice or Choice(), RunFolder.of(run)
    recipe, epochs = choice.recipe(files.recipe), best_epochs(files, count)
    need_new(folder / "epoch.zip")
    with spoken():
        images, out = images_of(files, recipe, data), list[Bundle]()
        for epoch in epochs:
            net = _network(recipe, run, epoch)
            trained = _Trained(recipe=recipe, folder=files, net=net, images=images)
            target = folder / f"epoch-{epoch:03d}.zip"
            out.append(_write(trained, target, replace(choice, epoch=epoch)))
        return out


def best_epochs(folder: RunFolder, count: int) -> list[int]:
    """The best of the epochs whose weights are kept, by train.watch, best first.

    Raises:
        ConfigError: not so many are kept.
    """
    kept, watch = _kept(folder.path), folder.recipe.train.watch
    rows = folder.metrics()
    rows = rows[rows["epoch"].isin(kept)] if len(rows) else rows
    if count < 1 or len(rows) < count:
        raise ConfigError(
            f"{folder.path} has kept {len(kept)} epochs; needed: {count}, at least 1. "
            "train.keep_best decides how many are kept."
        )
    if watch not in rows:
        raise ConfigError(f"{folder.path}: {watch} is undefined in every epoch: none is the best")
    ranked = rows.sort_values(watch, ascending=not higher_is_better(watch), kind="stable")
    return [int(epoch) for epoch in ranked["epoch"][:count]]


def _network(recipe: Recipe, run: Path, epoch: int | None) -> Model:
    weights, size = load_file(_weights(run, epoch)), recipe.preprocessing.size
    net = bare_model(recipe.model, size, recipe.names, seed=recipe.seed, weights=weights)
    return net.eval()


def _weights(run: Path, epoch: int | None) -> Path:
    if epoch is None:
        file = run / "weights.safetensors"
        if not file.is_file():
            raise ConfigError(
                f"{run} is not finished (no weights.safetensors); the same `hilum train` goes on"
            )
        return file
    kept = _kept(run)
    if epoch not in kept:
        known = ", ".join(map(str, sorted(kept))) or "none"
        raise ConfigError(
            f"{run} has not kept epoch {epoch}; it has {known}. "
            "train.keep_best and train.average.epochs decide which are kept."
        )
    return kept[epoch]


def _kept(run: Path) -> dict[int, Path]:
    """Epoch -> its weights."""
    files = run.glob("*/epoch-*.safetensors")
    return {int(file.stem.removeprefix("epoch-")): file for file in files}


def images_of(folder: RunFolder, recipe: Recipe, data: Path | None) -> Images:
    """The held-out images of a run, and a few that it learnt from.

    Raises:
        DataError: the data is not there, or not what the run was trained on.
    """
    place = data or Path(folder.data["folder"])
    if not place.exists():
        raise DataError(f"{place} is not there; give the run's data with --data")
    whole = RunData.read(recipe, place, cache=folder.cache, split=folder.split)
    rng = np.random.default_rng(recipe.seed)
    each = max(1, CALIBRATION_IMAGES // len(whole.sources))
    few = {  # of every source
        name: sorted(own[i] for i in rng.permutation(len(own))[:each])
        for name, own in whole.rows["train"].items()
    }
    return replace(whole, rows={**whole.rows, "train": few}).images(recipe.preprocessing.size)


@dataclass(frozen=True, slots=True, eq=False)
class _Trained:
    """What is exported: a network of a run, and the images that it is evaluated on."""

    recipe: Recipe  # with the changes that were asked for
    folder: RunFolder
    net: Model
    images: Images


def _write(trained: _Trained, target: Path, choice: Choice) -> Bundle:
    recipe, folder, images = trained.recipe, trained.folder, trained.images
    spec = recipe.spec
    doing(f"{recipe.name}: writing the graph, and comparing it with PyTorch")
    files, difference = _graphs(trained, choice)
    doing(f"{recipe.name}: evaluating what ships")
    raw = {
        file: {
            part: answers(graph, tensors(one.images, spec)) for part, one in images.held_out.items()
        }
        for file, graph in files.items()
    }
    heads = heads_of(answers(files["model.onnx"], tensors(images.train[:1], spec))[0])
    plain = draft(recipe, trained.net, heads, spec)
    held_out, test = images.held_out["validation"], images.held_out["test"]
    settings = settle(held_out, raw["model.onnx"]["validation"], plain, nms_iou=choice.nms_iou)
    final = plain.model_copy(update=settings.fields())
    shipped = list(files)[-1]
    evidence = Evidence(
        figures=_figures(trained, final, raw, choice),
        subgroups=subgroups_of(final, test, raw[shipped]["test"]),
        shortcuts=shortcuts_of(final, test, raw[shipped]["test"], files[shipped]),
        data=folder.data,
        cpu_minutes=_cpu_minutes(folder.path),
        difference=difference,
        sweep=_sweep(choice.sweep),
        watched=_watched(choice.sweep),
    )
    if not choice.fp32:
        del files["model.onnx"]
    manifest = manifest_of(
        recipe,
        trained.net,
        heads,
        files=list(files),
        data=folder.data,
        licences=licences(folder),
        commit=commit(),
        settings={**settings.fields(), "figures": evidence.leading(), **_runs(choice, files)},
    )
    files["card.md"] = card(recipe, manifest, evidence).encode()
    files["LICENSE.md"] = licence_text(manifest.data_licences).encode()
    say("writing %s", target)
    write_bundle(target, manifest.to_json(), files)
    return load_bundle(target)


def _graphs(trained: _Trained, choice: Choice) -> tuple[dict[str, bytes], float]:
    """The graphs by file name, and how far the first one's numbers are from PyTorch's."""
    recipe, net, images = trained.recipe, trained.net, trained.images
    graph = to_onnx(net, recipe.spec.size)
    few = images.held_out["validation"].images[:CHECKED_IMAGES] or images.train[:CHECKED_IMAGES]
    difference = check_export(net, graph, tensors(few, recipe.spec))
    say("ONNX against PyTorch on %d images: %.1e", len(few), difference)
    files = {"model.onnx": graph}
    if choice.int8:
        doing(f"{recipe.name}: calibrating int8")
        files["model.int8.onnx"] = to_int8(graph, tensors(images.train, recipe.spec))
    return files, difference


def _figures(
    trained: _Trained,
    manifest: Manifest,
    raw: Mapping[str, Mapping[str, Sequence[RawOutputs]]],
    choice: Choice,
) -> dict[str, dict[str, Figure]]:
    """Of every graph (file -> part -> its answers), and of the bundle beside it."""
    recipe, held_out = trained.recipe, trained.images.held_out
    figures: dict[str, dict[str, Figure]] = {}
    for file, parts in raw.items():
        figures |= figures_of(manifest, held_out, parts, recipe=recipe, by=PRECISIONS[file])
    if choice.beside is not None:
        figures |= figures_beside(open_bundle(choice.beside), held_out, recipe)
    return figures


def _runs(choice: Choice, files: Mapping[str, bytes]) -> dict[str, str]:
    """Which graph runs by default.

    Raises:
        ConfigError: it is not there.
    """
    if choice.precision is None:
        return {} if choice.fp32 else {"default_precision": "int8"}
    if choice.precision not in [PRECISIONS[file] for file in files]:
        raise ConfigError(f"precision {choice.precision!r}; needed: fp32, or int8 where it is made")
    return {"default_precision": choice.precision}


def _cpu_minutes(run: Path) -> float:
    files = sorted(run.glob("*/cost.json"))
    return float(sum(json.loads(file.read_text())["cpu_minutes"] for file in files))


def _sweep(folder: Path | None) -> pd.DataFrame | None:
    if folder is None:
        return None
    file = folder / "sweep.csv"
    if not file.is_file():
        raise ConfigError(f"{folder} holds no sweep (no sweep.csv)")
    return pd.read_csv(file, converters={"variant": plain})


def _watched(folder: Path | None) -> str:
    if folder is None:
        return ""
    return str(json.loads((folder / "sweep.json").read_text())["metric"])
